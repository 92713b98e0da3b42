"""``up``: a cluster that outlives the command which made it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from clusterhub.display.words import age, counted
from clusterhub.errors import ClusterGone, ClusterhubError

from . import outcome
from .arithmetic import asked_for
from .names import dashboard_line, info_of, place, what_next
from .options import Patience, debug_option, override_options, overrides, profile_argument
from .outcome import INTERRUPTED
from .output import say, say_marked, tell_line

if TYPE_CHECKING:
    from clusterhub.api.connecting import Prepared
    from clusterhub.backend import Plan
    from clusterhub.cluster import Cluster
    from clusterhub.spec import Workers


@click.command(short_help="Start a cluster that lives until it is told to end.")
@profile_argument()
@click.option("--name", metavar="N", help="What it is called. One that lives under this name is taken as it is.")
@override_options
@click.option("--wait", "waits", is_flag=True, help="Wait for its workers, and show what they wait for.")
@click.option("--timeout", metavar="T", type=Patience(), help="How long --wait waits at most, as 30m.")
@debug_option
def up(profile: str, name: str | None, sets: tuple[str, ...], workers: Any, waits: bool, timeout: float | None) -> int:
    """Start a cluster of profile P, and leave it running.

    It lives until `clusterhub down`, its idle timeout or its greatest age. With --name, one that lives already is found
    instead, and has the workers that are asked for here.
    """
    if timeout is not None and not waits:
        raise click.UsageError("--timeout is how long --wait waits; add --wait")
    prepared = _prepared(profile, name, overrides(sets, workers))
    fresh = prepared.elsewhere or info_of(prepared.plan.name) is None
    if fresh:  # said before the start, which may take a while
        _say_head(prepared.plan, prepared.plan.spec.workers, "" if prepared.elsewhere else _this_host())
    try:
        cluster = _started(prepared)
    except KeyboardInterrupt:
        tell_line(f"✘ interrupted; {_left_of(prepared)}")
        return INTERRUPTED
    try:
        return _go_on(cluster, prepared, fresh, waits, timeout)
    except KeyboardInterrupt:
        tell_line(f"✘ interrupted; {cluster.name} was asked to live, and does: {what_next(cluster.name)}")
        return INTERRUPTED
    finally:
        cluster.close()  # which lets go of it


def _prepared(profile: str, name: str | None, given: dict[str, Any]) -> Prepared:
    """Raises whatever can be refused before anything is said or started."""
    from clusterhub.api import prepare
    from clusterhub.api.connecting import refuse_unusable

    prepared = prepare(profile, name, True, given)
    refuse_unusable(prepared.resolved)
    return prepared


def _started(prepared: Prepared) -> Cluster:
    """The cluster, once clients can connect."""
    from clusterhub.cluster import Cluster

    return Cluster(prepared.plan, prepared.opening())


def _left_of(prepared: Prepared) -> str:
    """See to it that nothing is left of a start that was interrupted, and say so."""
    if prepared.elsewhere:  # whoever starts one there leaves nothing, and whoever attaches to one changes nothing
        return "what was being started is ended again"
    return _left_of_keeper(prepared.plan)


def _left_of_keeper(plan: Plan[Any]) -> str:
    from clusterhub.keeper import end
    from clusterhub.keeper.records import Store

    try:
        if Store.here().read(plan.name).uid != plan.uid:
            return f"{plan.name} lives as before: {what_next(plan.name)}"
        end(plan.name)  # its keeper ends by itself, unless it was ready in the same moment
    except (LookupError, ClusterGone):
        pass
    except ClusterhubError as error:
        return str(error)
    return "it was not ready yet, and nothing is left of it"


def _go_on(cluster: Cluster, prepared: Prepared, said: bool, waits: bool, timeout: float | None) -> int:
    """From the moment that clients can connect: say so, wait if that is wanted, say what comes next; the exit code."""
    report = cluster.report()
    if prepared.elsewhere:
        host, ready = "", "cluster ready" if cluster.started_from.uid == prepared.plan.uid else ""
    else:
        host, ready = _in_keeper(cluster, prepared.plan)
    if not said:
        _say_head(prepared.plan, report.target, host)
    ready = ready or f"it lives already, for {age(report.started, report.taken)}"
    say_marked("✔", "green", f"{ready}, scheduler {report.scheduler_address}")
    code = 0
    if waits and 0 < report.target.minimum <= report.connected:  # a wait for what is there shows nothing
        say_marked("✔", "green", f"{report.connected} of {counted(report.asked, 'worker')} connected")
    elif waits:
        code = _awaited(cluster, timeout)
    for line in (
        dashboard_line(report.dashboard_link, host),
        f'attach     clusterhub.attach("{cluster.name}")   or   Client("hub://{cluster.name}")',
    ):
        if line and code == 0:
            say(line)
    return code


def _in_keeper(cluster: Cluster, plan: Plan[Any]) -> tuple[str, str]:
    """The host of its keeper, and that it is ready; nothing of one that lived already."""
    from clusterhub.keeper.records import Store

    record = Store.here().read(cluster.name)
    host = (record.keeper or record.creator).host
    unit = f" as job {record.keeper_unit} on {host}" if record.keeper_unit else ""
    return host, f"keeper ready{unit}" if record.uid == plan.uid else ""


def _awaited(cluster: Cluster, timeout: float | None) -> int:
    """Wait for the workers; of a wait that ends badly the caller learns that the cluster stands all the same."""
    from clusterhub.display.waiting import choose

    try:
        cluster.wait(timeout=timeout, display=choose(bare=True))
    except ClusterGone:
        raise
    except ClusterhubError as error:
        code = outcome.tell(error, debug=False)
        tell_line(f"  {cluster.name} stands all the same: {what_next(cluster.name)}")
        return code
    return 0


def _say_head(plan: Plan[Any], target: Workers, host: str) -> None:
    say(place(plan.name, plan.profile, plan.backend, host))
    say(f"  {asked_for(plan, target)}")


def _this_host() -> str:
    import os

    return os.uname().nodename
