"""What goes wrong on PBS, and what is made of it: on the stand-in, which answers as a recorded OpenPBS does."""

from __future__ import annotations

import subprocess
import time

import pytest

import clusterhub
from clusterhub.display.waiting import silent
from clusterhub.errors import WorkersFailed
from live.faults import SMALL, Faults, come, connected, eventually
from live.pbs.conftest import Pbs


class TestFaults(Faults):
    @pytest.mark.parametrize(
        ("said", "summary", "because"),
        [
            ({"pbs": {"queue": "nope"}}, "no such queue", "pbs.queue"),
            ({"pbs": {"queue": "disabled"}}, "takes no jobs", "pbs.queue"),
            ({"job": {"walltime": "2h"}}, "less walltime", "pbs.queue"),
            ({"pbs": {"resources": {"nosuch": 1}}}, "no such resource", "pbs.resources"),
        ],
        ids=["queue", "disabled", "walltime", "resource"],
    )
    def test_what_pbs_refuses_is_told_in_our_words_and_its_own(self, system: Pbs, said, summary, because):
        before = system.submitted()
        failed = self.fails(system, summary, because, **said)
        assert failed.failure.source.startswith("qsub: ")
        assert system.submitted() == before

    @pytest.mark.parametrize(
        ("said", "reason"),
        [
            ({"worker": {"cores": 64, "memory": "300 MiB"}}, "needs 64 cores"),
            ({"worker": {"cores": 1, "memory": "900 GiB"}}, "of memory, and there is"),
        ],
        ids=["cores", "memory"],
    )
    def test_what_can_never_run_is_told_at_once(self, system: Pbs, said, reason):
        failed = self.fails(system, reason, "worker", **said)
        assert failed.failure.source.startswith("Can Never Run")

    def test_a_queue_that_is_stopped_is_a_reason_and_no_silence(self, system: Pbs):
        with self.connect(system, workers=2, pbs={"queue": "stopped"}) as cluster:
            eventually(lambda: {"its queue is stopped" in unit.reason for unit in cluster.units()} == {True})
            assert {unit.source for unit in cluster.units()} == {"Not Running: Queue not started."}

    def test_a_job_that_waits_says_what_for(self, system: Pbs):
        with self.connect(system, workers=5, worker={"cores": 12, "memory": "300 MiB"}) as cluster:
            waiting = eventually(lambda: [unit for unit in cluster.units() if "free cores" in unit.reason])
            assert "Insufficient amount of resource: ncpus" in waiting[0].source

    def test_300_workers_stay_at_the_limit_that_is_told_and_nothing_is_refused_twice(self, system: Pbs, busy):
        system.lab.fault("max-queued", "100")
        try:
            with busy(), self.connect(system, workers=300, job={"walltime": "20m", "workers_per_job": 2}) as cluster:
                eventually(lambda: len(system.queue()) == 100)
                report = eventually(lambda: (r := cluster.report()) and "100 of your 100 jobs" in str(r) and r)
                assert "would exceed complex's per-user limit" in str(report)
                log = cluster.logs("keeper")["keeper"]
                assert log.count("submitted") == 2, log
        finally:
            system.lab.fault("max-queued", "none")

    def test_a_job_that_pbs_starts_anew_after_a_node_failed_is_understood(self, system: Pbs):
        with self.connect(system, workers=4) as cluster:
            come(cluster)
            node = cluster.units()[0].where
            system.lab.fault("node-down", node)
            try:
                eventually(lambda: node not in {u.where for u in cluster.units() if u.state == "connected"})
                eventually(lambda: cluster.report().connected == 4)
            finally:
                system.lab.fault("node-up", node)
            assert cluster.report().failure is None
            eventually(lambda: len(system.queue()) == 4)

    def test_a_node_that_fails_and_whose_jobs_are_not_run_again_is_replaced(self, system: Pbs):
        system.lab.fault("requeue-after", "off")
        try:
            with self.connect(system, workers=4, pbs={"directives": ["-r n"]}) as cluster:
                come(cluster)
                node = cluster.units()[0].where
                system.lab.fault("node-down", node)
                try:
                    eventually(lambda: cluster.report().connected < 4)
                    eventually(lambda: cluster.report().connected == 4)
                finally:
                    system.lab.fault("node-up", node)
        finally:
            system.lab.fault("requeue-after", "1s")

    def test_a_site_without_history_is_no_obstacle(self, system: Pbs):
        system.lab.fault("history", "off")
        try:
            with self.connect(system, workers=2) as cluster:
                come(cluster)
                lost = cluster.units()[0].name
                system.cancel([lost])
                eventually(lambda: lost not in connected(cluster) and len(connected(cluster)) == 2)
            with clusterhub.connect("pbs", workers=20, **{**SMALL, "environment": {"python": "/no/python"}}) as cluster:
                with pytest.raises(WorkersFailed) as failed:
                    cluster.wait(timeout=120, display=silent())
                assert failed.value.failure.log_tail, "its log at least says why"
        finally:
            system.lab.fault("history", "on")

    @pytest.mark.parametrize("how", [(), ("hang",)], ids=["lost", "hangs"])
    def test_a_submission_whose_answer_was_lost_is_found_and_not_doubled(self, system: Pbs, how, monkeypatch):
        before = system.submitted()
        system.lab.fault("lose-next-answer", "qsub", *how)
        with self.connect(system, workers=5) as cluster:
            come(cluster)
            assert system.submitted() - before == 5
            assert len(system.queue()) == 5

    def test_jobs_that_pbs_takes_long_to_end_are_told_as_ending_and_waited_for(self, system: Pbs):
        system.lab.fault("slow-qdel", "8s")
        try:
            cluster = self.connect(system, workers=3)
            come(cluster)
            cluster.scale(1)
            eventually(lambda: "is ending" in str(cluster.report()))
            assert cluster.report().connected == 1
            cluster.close()
            eventually(lambda: system.queue() == [])
        finally:
            system.lab.fault("slow-qdel", "1s")

    def test_memory_that_a_task_takes_and_the_job_has_not_ends_its_job_and_not_the_cluster(self, system: Pbs):
        with self.connect(system, workers=2) as cluster, cluster.get_client() as client:
            come(cluster)
            first = {unit.name for unit in cluster.units()}
            eaten = client.submit(_eat(), 2000, retries=0, key="eater")
            killed = eventually(lambda: [u for u in cluster.units() if "memory" in u.reason] or eaten.status == "error")
            assert killed
            eaten.release()
            eventually(lambda: cluster.report().connected == 2)
            assert first

    def test_the_script_that_was_planned_is_the_script_that_is_submitted(self, system: Pbs):
        plan = clusterhub.plan("pbs", workers=1, **SMALL)
        script = plan.documents[0].text
        done = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
        assert done.returncode == 0
        assert "-l select=1:ncpus=1:mem=" in script
        time.sleep(0)
        assert system.queue() == []


def _eat():
    def eat(megabytes):
        import time

        eaten = [bytearray(2**20) for _ in range(megabytes)]
        time.sleep(5)
        return len(eaten)

    return eat
