"""While the API server is away nothing is known of a cluster, however its scheduler is reached: that is no failure of it."""

from __future__ import annotations

from typing import Any

import pytest

from clusterhub import BackendUnavailable, ClusterGone, ClusterSpec, Workers
from clusterhub_backends.kubernetes.backend import KubernetesBackend
from clusterhub_backends.kubernetes.deployment import KubernetesDeployment
from clusterhub_backends.kubernetes.options import KubernetesOptions
from clusterhub_backends.kubernetes.refusals import Conflict, Forbidden, Unreachable


class Away:
    """As much of an API server's line as a deployment has before it asks anything."""

    place = "context lab"


def deployment() -> KubernetesDeployment:
    spec = ClusterSpec(backend="kubernetes", workers=Workers.exactly(1))
    plan = KubernetesBackend().plan("eddies", spec, KubernetesOptions())
    away: Any = Away()
    return KubernetesDeployment(away, plan, None)


async def refused(error: Exception) -> None:
    raise error


async def test_what_waits_goes_on_waiting_when_the_server_is_away():
    """A wait goes on over what is not final, and ends with any other error."""
    with pytest.raises(
        ClusterGone, match=r"eddies does not answer: context lab cannot be reached; its tasks go on"
    ) as gone:
        await deployment().answered(refused(Unreachable("context lab cannot be reached")))
    assert not gone.value.final


@pytest.mark.parametrize("error", [Conflict("is being changed by somebody else too"), Forbidden("may not list pods")])
async def test_what_the_server_does_say_stays_as_it_is(error: BackendUnavailable):
    with pytest.raises(type(error)) as told:
        await deployment().answered(refused(error))
    assert told.value is error
