"""PBS Professional and OpenPBS."""

from clusterhub_backends.pbs.backend import PbsBackend, PbsOptions

__all__ = ["PbsBackend", "PbsOptions"]
