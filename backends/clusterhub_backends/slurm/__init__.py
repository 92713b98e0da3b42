"""SLURM."""

from clusterhub_backends.slurm.backend import SlurmBackend, SlurmOptions

__all__ = ["SlurmBackend", "SlurmOptions"]
