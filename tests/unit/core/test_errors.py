"""What errors say, and that they cross processes whole."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import textwrap
from typing import Any

import pytest

from clusterhub import errors
from clusterhub.errors import (
    BackendUnavailable,
    ClusterGone,
    ClusterhubError,
    ConfigError,
    Failure,
    LeftBehind,
    Problem,
    QueueFull,
    SubmitRejected,
    Unsupported,
    WaitTimeout,
    WorkersFailed,
)

PYTHON = Failure(
    summary="their python does not exist",
    unit="27[2].hal",
    exit_code=127,
    source="PBS: Exit_status = 127",
    log_path="~/clusterhub-logs/eddies/27.0.log",
    log_tail=("line 8: module load conda", "line 9: /softs/pangeo/bin/pythn: No such file or directory"),
    because="~/.clusterhub.yaml:14  profiles.hal.environment.python = /softs/pangeo/bin/pythn",
    next_step="correct it, or see every step with: clusterhub check hal --start",
    count=3,
)
PROBLEMS = (
    Problem("~/.clusterhub.yaml:9", "worker.memmory", "unknown key; did you mean memory?"),
    Problem("~/.clusterhub.yaml:11", "job.walltime", "not a duration; write 12h, 30m or 12:00:00", "12 parsecs"),
    Problem("call", "workers", "must be 0 or more", "-3"),
)
EVERY = [
    ClusterhubError("the event loop of this cluster has ended"),
    ConfigError(PROBLEMS, subject="profile hal", support="help@example.org"),
    ConfigError.of("must be 0 or more", origin="call", path="workers"),
    BackendUnavailable("backend 'pbs' is not installed"),
    Unsupported("local", {"job.walltime": "it has no such thing", "node": "nor this"}, support="help@example.org"),
    SubmitRejected("the queue refused the job", source="qsub: no such account"),
    QueueFull(limit=100, used=99, source="qsub: would exceed"),
    WorkersFailed(PYTHON, cluster="hal", support="help@example.org"),
    WaitTimeout("24 workers were not there after 60 s"),
    ClusterGone("the scheduler cannot be reached", final=False),
    LeftBehind(["27.hal", "28.hal"], "2 jobs"),
]


def raised_in_child(index: int) -> None:
    raise EVERY[index]


@pytest.mark.parametrize("error", EVERY, ids=lambda error: type(error).__name__)
def test_an_error_survives_pickling_with_its_message_and_fields(error):
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


@pytest.mark.parametrize("error", EVERY, ids=lambda error: type(error).__name__)
def test_an_error_survives_copying(error):
    again = copy.copy(error)
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


def test_every_class_of_the_tree_is_in_the_list_above():
    """Else the two tests above would miss one."""
    tree = {cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, ClusterhubError)}
    assert {type(error) for error in EVERY} == tree


def test_an_error_with_fields_crosses_a_process_boundary():
    with multiprocessing.get_context("spawn").Pool(1) as pool, pytest.raises(WorkersFailed) as caught:
        pool.apply(raised_in_child, (7,))
    assert caught.value.failure == PYTHON


def test_the_docstring_draws_the_whole_tree():
    assert all(type(error).__name__ in (errors.__doc__ or "") for error in EVERY)


@pytest.mark.parametrize(("error", "base"), [(EVERY[1], ValueError), (EVERY[8], TimeoutError)])
def test_an_error_is_also_the_builtin_that_people_catch(error, base):
    assert isinstance(error, base)


# Problems


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (PROBLEMS[0], "~/.clusterhub.yaml:9: worker.memmory: unknown key; did you mean memory?"),
        (PROBLEMS[2], "call: workers = -3: must be 0 or more"),
        (Problem("~/.clusterhub.yaml", "", "is not UTF-8"), "~/.clusterhub.yaml: is not UTF-8"),
        (Problem("", "name", "must be given"), "name: must be given"),
        (Problem("call", "description", "must not be empty", ""), "call: description = : must not be empty"),
    ],
)
def test_a_problem_reads_place_key_value_and_remedy(problem, text):
    assert str(problem) == text


def test_one_problem_is_one_line():
    assert str(ConfigError(PROBLEMS[0])) == str(PROBLEMS[0])


def test_several_problems_are_a_table_under_their_subject():
    assert str(ConfigError(PROBLEMS, subject="profile hal", support="help@example.org")) == textwrap.dedent("""\
        profile hal has 3 problems
          ~/.clusterhub.yaml:9   worker.memmory             unknown key; did you mean memory?
          ~/.clusterhub.yaml:11  job.walltime = 12 parsecs  not a duration; write 12h, 30m or 12:00:00
          call                   workers = -3               must be 0 or more
          help  help@example.org""")


def test_a_single_problem_with_a_subject_is_told_in_the_singular():
    assert str(ConfigError(PROBLEMS[0], subject="profile hal")).startswith("profile hal has a problem\n")


def test_one_very_long_value_does_not_push_the_others_aside():
    long = Problem("call", "worker.memory", "not an amount of memory", "9" * 300)
    short = str(ConfigError([long, PROBLEMS[2]])).splitlines()[2]
    assert len(short) < 100


def test_any_iterable_of_problems_will_do():
    assert ConfigError(iter(PROBLEMS)).problems == PROBLEMS


# The others


def test_one_refusal_names_feature_backend_and_reason():
    error = Unsupported("local", {"worker.gpus": "this machine shows none"})
    assert str(error) == "worker.gpus on backend local: this machine shows none"


def test_several_refusals_are_told_at_once():
    lines = str(EVERY[4]).splitlines()
    assert lines == [
        "2 things cannot be honoured",
        "  job.walltime on backend local: it has no such thing",
        "  node on backend local: nor this",
        "  help  help@example.org",
    ]


def test_a_rejection_carries_the_systems_own_words():
    assert str(EVERY[5]) == "the queue refused the job\n  qsub: no such account"


def test_a_full_queue_is_told_with_its_numbers():
    assert str(EVERY[6]) == "queue full: 99 of your 100 jobs are in use; the rest waits for a place"


def test_workers_failed_tells_everything_that_is_known():
    assert str(WorkersFailed(PYTHON, cluster="hal", support="help@example.org")) == textwrap.dedent("""\
        the workers of hal cannot start: their python does not exist
                   3 ended with exit code 127: 27[2].hal
          log      ~/clusterhub-logs/eddies/27.0.log
                   │ line 8: module load conda
                   │ line 9: /softs/pangeo/bin/pythn: No such file or directory
          system   PBS: Exit_status = 127
          because  ~/.clusterhub.yaml:14  profiles.hal.environment.python = /softs/pangeo/bin/pythn
          next     correct it, or see every step with: clusterhub check hal --start
          help     help@example.org""")


def test_workers_failed_with_nothing_but_a_summary_is_one_line():
    assert str(WorkersFailed(Failure("out of memory"))) == "the workers cannot start: out of memory"


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"unit": "27"}, "1 ended: 27"),
        ({"exit_code": 0}, "1 ended with exit code 0"),
        ({"exit_code": 127, "unit": "27"}, "1 ended with exit code 127: 27"),
        ({"count": 3}, "3 ended"),
        ({"log_path": "/a.log"}, "log      /a.log"),
        ({"log_tail": ("killed",)}, "│ killed"),
        ({"source": "OOM"}, "system   OOM"),
        ({"because": "job.walltime"}, "because  job.walltime"),
        ({"next_step": "ask for more"}, "next     ask for more"),
    ],
)
def test_each_part_of_a_failure_is_a_line_of_its_own(fields: dict[str, Any], line):
    lines = str(WorkersFailed(Failure("out of memory", **fields))).splitlines()
    assert [text.strip() for text in lines] == ["the workers cannot start: out of memory", line]


@pytest.mark.parametrize("field", ["log_tail", "source", "because", "next_step"])
@pytest.mark.parametrize("text", ["", "\n", "a\nb", "\n\na"])
def test_a_failure_with_odd_texts_still_renders(field, text):
    value = (text,) if field == "log_tail" else text
    lines = str(WorkersFailed(Failure("x", **{field: value}))).splitlines()
    assert all(line.startswith(" ") for line in lines[1:])


def test_a_cluster_that_may_answer_again_is_not_told_as_ended():
    assert (ClusterGone("closed").final, EVERY[9].final) == (True, False)
