"""report: a ticket holds what helps, and nothing secret."""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from clusterhub.backend import Document, Leaf
from clusterhub.cli.ticket import Seen, bundle
from clusterhub.errors import Failure
from clusterhub.keeper.identity import Process
from clusterhub.keeper.record import End
from clusterhub.keeper.records import Store
from clusterhub.keeper.standing import Condition, Standing
from clusterhub.keeper.wire import without_secrets

from .attached import PREFIX, hub, plan, record, report


def seen(log: str = "", **changes: Any) -> Seen:
    values = (Leaf("worker.memory", "8 GiB", "~/.clusterhub.yaml:9", False),)
    documents = (Document(title="job script", text="#PBS -q big\n"),)
    made = record(plan=without_secrets(plan(values=values, documents=documents)))
    return Seen(made, Standing(Condition.LIVING, "its keeper lives"), log, **changes)


def test_a_ticket_holds_what_helps() -> None:
    text = bundle(seen("ready at tls://a:1", report=report(), logs={"0": "a worker said this"}))
    for part in ("distributed", "worker.memory", "~/.clusterhub.yaml:9", "#PBS -q big", "2 of 2 workers connected",
                 "ready at tls://a:1", "a worker said this", "its keeper lives"):  # fmt: skip
        assert part in text


def test_a_ticket_holds_no_secret() -> None:
    unknown = "Zm9vYmFyYmF6cXV4MTIzNA"
    log = (
        f"dashboard at: http://127.0.0.1:8787/{PREFIX}/status\ndashboard at: http://10.0.0.1:1/{unknown}/status\n"
        "API_TOKEN=tok-1234567\nhttps://me:hunter2@example.org/x"
    )
    failing = report(0, failure=Failure("x", source="password: opensesame", log_tail=(f"/{PREFIX}/status",)))
    text = bundle(seen(log, report=failing, logs={"0": log}))
    for secret in (PREFIX, unknown, "tok-1234567", "hunter2", "opensesame"):
        assert secret not in text


def test_a_ticket_of_a_dead_cluster_is_made_of_its_files(store: Store, tmp_path: Path) -> None:
    store.claim(record(keeper=Process.this().model_copy(update={"started": "1"})))
    (store.folder("eddies") / "keeper.log").write_text("its last words\n")
    target = tmp_path / "ticket.txt"
    result = hub("report", "eddies", "--output", str(target))
    assert (result.exit_code, result.stderr) == (0, "")
    assert "its last words" in target.read_text()
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    again = hub("report", "eddies", "--output", str(target))
    assert again.exit_code == 2
    assert "not replaced" in again.stderr


def test_a_ticket_of_an_ended_cluster_and_of_none(store: Store) -> None:
    made = record()
    store.claim(made)
    (store.folder("eddies") / "keeper.log").write_text("its last words\n")
    store.retire(made, End(when=datetime.now(UTC), reason="it was idle"))
    text = hub("report", "eddies").stdout
    assert "its last words" in text
    assert "it was idle" in text
    assert hub("report", "tides").exit_code == 2
