"""Why SLURM lets jobs wait, and what people are told of it."""

from __future__ import annotations

import pytest

from clusterhub_backends.slurm.reasons import NEVER, decides, in_our_words


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("AssocGrpJobsLimit", "your account runs as many jobs at a time as it may"),
        ("QOSMaxCpuPerUserLimit", "you use all the cores that you may"),
        ("QOSGrpNodeLimit", "all users of the QOS together use all the nodes that they may"),
        ("QOSMaxGRESPerUser", "you use all the GPUs or the like that you may"),
        ("MaxMemoryPerAccount", "your account uses all the memory that it may"),
        ("AssocGrpCPUMinutesLimit", "your account has used up all time on cores that it may"),
        ("AssocGrpCPURunMinutesLimit", "the jobs that your account runs hold all the time on cores that it may"),
        ("AssocGrpWallLimit", "your account has used up all time that it may"),
        ("MaxSubmitJobsPerAccount", "your account has as many jobs in the queue as it may"),
        ("QOSMaxWallDurationPerJobLimit", "asks for more time than a job may have"),
        ("AssocMaxUnknownPerJob", "asks for more resources than a job may have"),
        ("QOSMinCpuNotSatisfied", "the QOS demands more cores than it asks for"),
        ("ReqNodeNotAvail, UnavailableNodes:n2", "nodes that it needs are not available now"),
        ("(ReqNodeNotAvail, Reserved for maintenance)", "nodes that it needs are reserved, for maintenance perhaps"),
        ("Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions",
         "nodes that it needs are down, drained or reserved"),
        ("NobodyKnows", "waits (NobodyKnows)"),
    ],
)  # fmt: skip
def test_a_reason_is_a_sentence(reason, words):
    assert in_our_words(reason) == words


@pytest.mark.parametrize(
    ("reason", "key"),
    [
        ("AssocMaxWallDurationPerJobLimit", "job.walltime"),
        ("QOSMaxCpuMinutesPerJobLimit", "job.walltime"),
        ("AssocMaxMemPerJob", "worker.memory"),
        ("QOSMaxMemoryPerNode", "worker.memory"),
        ("QOSMinGRES", "worker.gpus"),
        ("AssocMaxLicensePerJob", "slurm.account"),
        ("QOSMaxNodePerJobLimit", "slurm.qos"),
        ("InvalidAccount", "slurm.account"),
        ("ReservationDeleted", "slurm.reservation"),
    ],
)
def test_what_no_waiting_mends_is_told_with_the_key_that_does(reason, key):
    assert decides(reason) == key


@pytest.mark.parametrize(
    "reason",
    [
        "Resources", "Priority", "ReqNodeNotAvail, UnavailableNodes:n2", "AssocGrpJobsLimit", "QOSMaxCpuPerUserLimit",
        "AssocGrpCPUMinutesLimit", "MaxCpuPerAccount", "PartitionDown", "JobHeldUser", "launch failed requeued held", "",
    ],
)  # fmt: skip
def test_what_passes_by_waiting_is_never_called_hopeless(reason):
    assert decides(reason) is None


def test_every_key_that_decides_is_one_that_a_profile_has():
    assert {key.split(".")[0] for key in NEVER.values()} <= {"worker", "job", "slurm"}
