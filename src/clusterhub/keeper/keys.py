"""The TLS keys of one cluster: made for it, and thrown away with its folder."""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from clusterhub.errors import BackendUnavailable
from clusterhub.tls import TlsFiles

CERTIFICATE = "tls-cert.pem"
KEY = "tls-key.pem"

VALID = timedelta(days=400)
"""How long keys are good for, where a cluster has no end of its own."""
BACKDATED = timedelta(days=1)
"""The clocks of nodes differ: one that is behind refuses a certificate that is valid from now on, as
``distributed.Security.temporary`` makes them."""
LONGEST_NAME = 64
"""RFC 5280, ub-common-name."""


def make_keys(folder: Path, name: str, valid: timedelta = VALID) -> TlsFiles:
    """Make the keys of cluster ``name`` in ``folder``: both files are the owner's alone (0600), whatever the umask.

    Nothing is overwritten: keys that are there may be those of a living cluster, so that is a FileExistsError. If a
    file cannot be written (a full quota), none stays behind.
    Raises BackendUnavailable where ``cryptography`` is not installed.
    """
    certificate, key = _pair(f"clusterhub {name}"[:LONGEST_NAME], valid)
    files = TlsFiles(ca=str(folder / CERTIFICATE), cert=str(folder / CERTIFICATE), key=str(folder / KEY))
    with contextlib.ExitStack() as undo:
        for path, content in ((files.key, key), (files.cert, certificate)):
            _write(path, content, undo)
        undo.pop_all()
    return files


def _write(path: str, content: bytes, undo: contextlib.ExitStack) -> None:
    # Private from its first moment on, and never through a link that somebody has put there.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    undo.callback(os.unlink, path)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, 0o600)  # a umask can only take away, and some take the owner's rights
        file.write(content)


def _pair(common_name: str, valid: timedelta) -> tuple[bytes, bytes]:
    """A certificate that is its own authority, as in ``distributed.Security.temporary``, and its key; both PEM."""
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import NameOID
    except ImportError as error:
        raise BackendUnavailable(
            'keys are made with cryptography: pip install "clusterhub[tls]",'
            " or accept an open scheduler with network.tls: false"
        ) from error

    key = ec.generate_private_key(ec.SECP256R1())  # 20 times quicker to make than RSA, and to shake hands with
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, key_agreement=False, key_encipherment=False, data_encipherment=False,
        content_commitment=False, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + valid)
        # Dask checks no host names. The name that its own temporary certificates have, for whoever sets server_hostname.
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("dask-internal")]), critical=False)
        # The rest is what ssl.VERIFY_X509_STRICT wants of an authority, Python's default since 3.13; distributed
        # switches it off, other tools do not.
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(key, hashes.SHA256())
    )
    return (
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
