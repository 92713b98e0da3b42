"""A cluster's record by name, and what is said where there is none."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from clusterhub.errors import ClusterGone, ClusterhubError, ConfigError
from clusterhub.keeper.record import Record
from clusterhub.keeper.records import Store
from clusterhub.keeper.standing import Condition, standing


def living_record(store: Store, name: str) -> Record:
    """The record of a cluster that is not known to be dead. Raises as :func:`attach`."""
    try:
        record = store.read(name)
    except LookupError:
        raise unknown(store, name) from None
    stands = standing(record, store)
    if stands.condition is Condition.DEAD:
        raise ClusterGone(f"cluster {name} is gone: {stands.reason}; clusterhub gc removes what is left")
    return record


def unknown(
    store: Store, name: str, elsewhere: Iterable[str] = (), remarks: Sequence[str] = (), unheard: Sequence[str] = ()
) -> ClusterhubError:
    """The error for a name of which there is no record: what became of it, or which ones there are.

    ``elsewhere`` are the names of clusters that are not written down here, ``remarks`` what could not be looked at,
    and ``unheard`` because of what it may still be that the name is right.
    """
    if ended := [record.end for record in store.ended(name) if record.end is not None]:
        when = ended[0].when.astimezone().strftime("%d %b %H:%M")
        gone = f"there is no cluster {name!r} any more: it ended at {when}, {ended[0].reason}"
        return ClusterGone("; ".join([gone, *remarks]))
    names = sorted({*store.names(), *elsewhere})
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(names) or 'none'}"
    if unheard:
        rest = [remark for remark in remarks if remark not in unheard]
        return ClusterhubError("; ".join([*unheard, f"nobody else knows a cluster {name!r}", hint, *rest, "try again"]))
    said = "; ".join(["there is no cluster of that name", hint, *remarks])
    return ConfigError.of(said, origin="call", path=f"name = {name!r}")
