"""These run on the login host of a SLURM: inside the lab, where test_slurm_lab.py takes them, or on a real one."""

from __future__ import annotations

import os

# Elsewhere there is nothing to run them on; ../test_slurm_lab.py says so, loudly.
collect_ignore_glob = [] if os.environ.get("CLUSTERHUB_ON_SLURM") else ["test_*.py"]
