"""Runs the commands of a batch system: off the event loop, with a time limit, one after the other."""

from __future__ import annotations

import asyncio
import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from clusterhub_backends.batch.driver import Command, Output, SystemDown

PATIENCE = 60.0
"""Seconds that a command may take: SLURM's clients wait 9 s for a controller that is down, and busy servers take longer."""

CONFIGURATION = (
    "SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", "SLURM_JWT",
    "PBS_CONF_FILE", "PBS_SERVER", "PBS_DEFAULT", "PBS_EXEC", "PBS_AUTH_METHOD", "PBS_ENCRYPT_METHOD",
)  # fmt: skip
"""Variables by which the commands find their system; the only ones of theirs that they get to see."""
_THEIRS = re.compile(r"(SLURM|SLURMD|SBATCH|SQUEUE|SCANCEL|SCONTROL|SACCT|SACCTMGR|SALLOC|SRUN|SINFO|PBS)_")
KEPT = ("HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "KRB5CCNAME", *CONFIGURATION)
"""Of our environment, what says who and where we are, and how the batch system is reached."""
PLACES = ("/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin")


def user() -> str:
    """Who we are to the batch system, whatever the environment says."""
    return pwd.getpwuid(os.getuid()).pw_name


def _bare(program: str) -> dict[str, str]:
    found = shutil.which(program)
    path = [*([str(Path(found).parent)] if found else []), *PLACES]
    return {name: os.environ[name] for name in KEPT if name in os.environ} | {
        "PATH": os.pathsep.join(dict.fromkeys(path))
    }


Runner = Callable[[Command], Output]


def surroundings(environ: Mapping[str, str]) -> dict[str, str]:
    """``environ`` without what would make the commands do something else than they are told.

    ``SBATCH_PARTITION`` overrides what a script says, ``SQUEUE_PARTITION`` hides jobs from a listing, and inside an allocation
    variables tell of that one: of its memory, its nodes, its cluster (sbatch(1), squeue(1): "input environment variables").
    """
    return {name: value for name, value in environ.items() if name in CONFIGURATION or not _THEIRS.match(name)}


def run(command: Command, patience: float = PATIENCE) -> Output:
    """What ``command`` left. Raises SystemDown where it does not end in time, or is not there to be run."""
    try:
        ended = subprocess.run(
            command.argv,
            input=command.stdin.encode(errors="surrogateescape") if command.stdin is not None else b"",
            capture_output=True,
            env=_environment(command),
            timeout=patience,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        said = " ".join((late.stderr or b"").decode(errors="replace").split())
        raise SystemDown(f"{command.argv[0]} did not end within {patience:g} s{f': {said}' if said else ''}") from None
    except OSError as error:
        raise SystemDown(f"{command.argv[0]} cannot be run: {error.strerror}") from None
    return Output(ended.returncode, ended.stdout.decode(errors="replace"), ended.stderr.decode(errors="replace"))


def _environment(command: Command) -> dict[str, str]:
    seen = _bare(command.argv[0]) if command.bare else surroundings(os.environ)
    return {**seen, "LC_ALL": "C", **command.environment}


class Commands:
    """The one line to a batch system: its commands run in turn, so that a busy server is not made busier."""

    def __init__(self, runner: Runner = run) -> None:
        self._runner = runner
        self._turn = asyncio.Lock()
        self.count = 0
        """Commands run so far."""

    async def run(self, command: Command) -> Output:
        """What ``command`` left. Cancelling the wait does not undo it: a submission is found again by its name."""
        async with self._turn:
            self.count += 1
            return await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, self._runner, command))
