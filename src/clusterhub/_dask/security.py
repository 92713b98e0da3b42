"""Dask's security, from files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from distributed import Security


ROLES = ("scheduler", "worker", "client")


class Files(Protocol):
    """The paths of a certificate authority, a certificate and its key, all PEM."""

    @property
    def ca(self) -> str: ...
    @property
    def cert(self) -> str: ...
    @property
    def key(self) -> str: ...


def security_of(files: Files) -> Security:
    """The Security of a cluster whose scheduler, workers and clients all show the one certificate of ``files``.

    Nothing is read here: a missing file is an OSError of whoever starts or connects with it.
    """
    from distributed import Security

    certs = {f"tls_{role}_cert": files.cert for role in ROLES}
    keys = {f"tls_{role}_key": files.key for role in ROLES}
    return Security(require_encryption=True, tls_ca_file=files.ca, **certs, **keys)
