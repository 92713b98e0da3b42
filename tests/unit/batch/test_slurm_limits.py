"""How many jobs one may have, as a SLURM 22.05 with accounting told it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterhub.errors import QueueFull, SubmitRejected
from clusterhub_backends.batch.driver import Output, Submission
from clusterhub_backends.slurm.driver import SlurmDriver
from clusterhub_backends.slurm.limits import Place, place_of

SAMPLES = Path(__file__).parent / "samples" / "slurm"
DRIVER = SlurmDriver()
NAMED = QueueFull(source="sbatch: error: AssocMaxSubmitJobLimit sbatch: error: … accounting/QOS policy (…)")
UNNAMED = QueueFull(source="sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (…)")


def told(sample, /, **replaced):
    """What the commands answered while there were 4 jobs of one user."""
    texts = {
        "policy": (SAMPLES / sample).read_text(),
        "partitions": (SAMPLES / "partitions.txt").read_text(),
        "associations": (SAMPLES / "associations.txt").read_text(),
        **replaced,
    }
    return [Output(0, text, "") if text is not None else Output(1, "", "denied") for text in texts.values()]


def refused(count=146, *lines):
    script = "\n".join(["#!/usr/bin/env bash", "#SBATCH --job-name=ch0g1", *lines, "", "echo"])
    return Submission("ch0g1", count, script)


def figures(outputs, submission=None, full=NAMED):
    limited = DRIVER.limited(full, submission or refused(), outputs)
    return limited.limit, limited.used


def test_the_questions_are_of_the_controller_but_for_what_it_does_not_know():
    assert [command.argv[0] for command in DRIVER.limits("me")] == ["scontrol", "scontrol", "sacctmgr"]
    assert "users=me" in DRIVER.limits("me")[0].argv


@pytest.mark.parametrize(
    ("policy", "limit"),
    [
        ("policy_user.txt", 100),  # of the user in the account
        ("policy_account.txt", 80),  # of the account, which is less
        ("policy_qos.txt", 60),  # of the QOS, which takes the place of those of user and account
    ],
)
def test_the_limit_that_counts_is_told_with_what_is_used_of_it(policy, limit):
    assert figures(told(policy)) == (limit, 4)
    assert str(DRIVER.limited(NAMED, refused(), told(policy))).startswith(
        f"queue full: 4 of your {limit} jobs are in use"
    )


def test_the_qos_of_a_partition_limits_who_has_no_job_there_yet():
    assert figures(told("policy_partition.txt"), refused(4, "#SBATCH --partition=crowded")) == (2, 0)
    assert figures(told("policy_partition.txt"), refused(4, "#SBATCH -p crowded")) == (2, 0)
    assert figures(told("policy_partition.txt")) == (100, 4)


def test_the_account_of_the_script_is_what_counts():
    assert figures(told("policy_user.txt"), refused(146, "#SBATCH --account=root")) == (None, None)
    assert figures(told("policy_user.txt"), refused(146, "#SBATCH --account ocean")) == (100, 4)


def test_limits_of_accounts_above_count_too():
    policy = (SAMPLES / "policy_none.txt").read_text()
    above = policy.replace("GrpSubmitJobs=N(4)", "GrpSubmitJobs=50(40)", 1)  # of root, the first
    assert above != policy
    assert figures(told("policy_none.txt", policy=above)) == (50, 40)


def test_a_limit_of_the_qos_on_the_account_takes_the_place_of_the_users():
    policy = (SAMPLES / "policy_user.txt").read_text()
    of_account = policy.replace("MaxSubmitJobsPA=N(4)", "MaxSubmitJobsPA=70(30)")
    assert of_account != policy
    assert figures(told("policy_user.txt", policy=of_account)) == (70, 30)


def test_a_default_qos_is_known_from_accounting_and_normal_without():
    policy = (SAMPLES / "policy_qos.txt").read_text().replace("QOS=normal(1)", "QOS=night(1)")
    assert figures(told("policy_qos.txt", policy=policy, associations="ocean||night|night,day\nroot||||\n")) == (60, 4)
    assert figures(told("policy_qos.txt", policy=policy, associations="ocean|||night\n")) == (60, 4)
    assert figures(told("policy_qos.txt", policy=policy)) == (80, 4)
    assert figures(told("policy_qos.txt", policy=policy), refused(146, "#SBATCH --qos=night")) == (60, 4)
    assert figures(told("policy_qos.txt", associations=None)) == (60, 4)


@pytest.mark.parametrize("silent", [None, "", "No associations currently cached in Slurm.\n", "garbage = {(\n"])
def test_what_nobody_tells_stays_unknown(silent):
    assert figures(told("policy_user.txt", policy=silent, partitions=None, associations=None)) == (None, None)
    assert figures(told("policy_user.txt", policy=silent), full=UNNAMED) == (None, None)


def test_what_could_not_be_asked_in_time_is_done_without():
    assert figures(told("policy_user.txt")[:1]) == (100, 4)
    assert figures([]) == (None, None)


@given(st.text(), st.text(), st.text())
def test_whatever_is_answered_is_read_or_left_out(policy, partitions, associations):
    outputs = [Output(0, text, "") for text in (f"QOS={policy}", f"PartitionName={partitions}", associations)]
    assert DRIVER.limited(NAMED, refused(), outputs).source == NAMED.source


def test_a_refusal_that_names_no_limit_is_of_another_kind_where_there_is_room():
    with pytest.raises(SubmitRejected, match="limits do not allow") as refusal:
        DRIVER.limited(UNNAMED, refused(90), told("policy_user.txt"))
    assert refusal.value.because == "slurm.account"
    with pytest.raises(SubmitRejected):
        DRIVER.limited(UNNAMED, refused(90), told("policy_none.txt"))
    assert figures(told("policy_user.txt"), refused(97), UNNAMED) == (100, 4)
    # A limit that is named is one, though room has been made since.
    assert figures(told("policy_user.txt"), refused(90), NAMED) == (100, 4)


@pytest.mark.parametrize(
    ("lines", "place"),
    [
        (
            ("#SBATCH --partition=compute", "#SBATCH --account=Ocean", "#SBATCH --qos=night"),
            ("ocean", "night", "compute"),
        ),
        (("#SBATCH -p compute", "#SBATCH -Aocean"), ("ocean", "", "compute")),
        (("#SBATCH --account=a", "#SBATCH --account=b"), ("b", "", "")),
        (("echo '#SBATCH --account=a'", "##SBATCH --account=a", "#SBATCH --accounting=a"), ("", "", "")),
    ],
)
def test_where_a_script_is_sent(lines, place):
    assert place_of(refused(1, *lines).script) == Place(*place)
