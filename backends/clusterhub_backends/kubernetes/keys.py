"""The keys of one cluster: made here, kept in a Secret of the cluster's, never in a file that stays."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clusterhub.keeper.keys import make_keys
from clusterhub_backends.kubernetes.template import CA, CERT, KEY

if TYPE_CHECKING:
    from distributed import Security


@dataclass(frozen=True)
class Keys:
    """What lets its owner into one cluster, in any role; PEM."""

    ca: str
    cert: str
    key: str = field(repr=False)

    @classmethod
    def made(cls, name: str) -> Keys:
        """New ones. Raises BackendUnavailable where ``cryptography`` is not installed."""
        with tempfile.TemporaryDirectory(prefix="clusterhub-keys-") as folder:  # 0700
            files = make_keys(Path(folder), name)
            return cls(*(Path(path).read_text() for path in (files.ca, files.cert, files.key)))

    @classmethod
    def of(cls, secret: Mapping[str, Any]) -> Keys:
        """Those in a Secret."""
        data = secret["data"]
        return cls(*(base64.b64decode(data[name]).decode() for name in (CA, CERT, KEY)))

    def security(self) -> Security:
        """The same for Dask. It takes the text of keys for their files."""
        from distributed import Security

        roles = {f"tls_{role}_{what}": text for role in ("client", "scheduler", "worker") for what, text in self._both}
        return Security(tls_ca_file=self.ca, require_encryption=True, **roles)

    @property
    def _both(self) -> tuple[tuple[str, str], tuple[str, str]]:
        return (("cert", self.cert), ("key", self.key))
