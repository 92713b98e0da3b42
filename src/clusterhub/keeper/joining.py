"""What a process does that finds a living cluster where it would else have started one."""

from __future__ import annotations

from typing import TypeVar

from clusterhub.backend import Holdable, Standalone
from clusterhub.spec import Workers

D = TypeVar("D", bound=Standalone)


async def joined(deployment: D, kept: bool, target: Workers | None) -> D:
    """The deployment, held by this process, kept if ``kept``, and told ``target``, if given; let go of where that fails."""
    try:
        if isinstance(deployment, Holdable):
            await deployment.hold()
        if kept and not deployment.kept:
            await deployment.keep()
        if target is not None and target != deployment.target:
            if target.adapts:
                await deployment.adapt(target.minimum, target.maximum)
            else:
                await deployment.scale(target.minimum)
    except BaseException:
        await deployment.close(shutdown=False)
        raise
    return deployment
