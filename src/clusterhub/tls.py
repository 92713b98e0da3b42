"""Where the TLS keys of one cluster lie: paths, so that a plan or a record can name them and holds no secret itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clusterhub.spec import Frozen

if TYPE_CHECKING:
    from distributed import Security


class TlsFiles(Frozen):
    """The files that let their owner into one cluster, in any role. Whoever can read the key can run code in it."""

    ca: str
    """The certificate that every certificate of the cluster must be signed by."""
    cert: str
    """The certificate that its scheduler, workers and clients show."""
    key: str
    """The private key of that certificate."""

    def security(self) -> Security:
        """The same for Dask, for every role; nothing unencrypted is accepted with it. The files are read when used."""
        from clusterhub._dask.security import security_of

        return security_of(self)
