"""Which profile is meant, where it can be used, and what it inherits."""

from __future__ import annotations

from typing import Any

import pytest

import clusterhub
from clusterhub.errors import BackendUnavailable, ConfigError
from clusterhub.profile import resolve
from clusterhub.spec import ClusterSpec

THREE = """
profiles:
  laptop: {backend: local}
  hal: {backend: pbs, hosts: ["hal-*"]}
  hal-big:
    extends: hal
    worker: {memory: 60 GiB}
"""


def test_without_any_config_a_bare_resolve_is_local(machine: Any) -> None:
    resolved = machine.resolve()
    assert (resolved.profile, resolved.backend.name, resolved.origins["backend"]) == ("local", "local", "default")


def test_the_environment_chooses_before_the_config(machine: Any) -> None:
    machine.user("default: laptop\n" + THREE)
    machine.env(CLUSTERHUB_PROFILE="pbs")
    assert machine.resolve().profile == "pbs"
    machine.env(CLUSTERHUB_PROFILE="nowhere")
    assert "$CLUSTERHUB_PROFILE: unknown profile 'nowhere'" in str(machine.refused())


def test_the_default_of_the_strongest_layer_counts(machine: Any) -> None:
    machine.site("default: hal\n" + THREE)
    machine.user("default: laptop\n")
    assert machine.resolve().profile == "laptop"
    machine.user("default: null\n")
    assert machine.resolve().profile == "local"


@pytest.mark.parametrize(
    ("host", "profile"), [("hal-login2.cnes.fr", "hal"), ("HAL-1", "hal"), ("elsewhere", "laptop")]
)
def test_of_a_list_the_first_that_matches_this_host_counts(machine: Any, host: str, profile: str) -> None:
    machine.user("default: [hal-big, laptop]\n" + THREE)
    machine.called(host)
    assert machine.resolve().profile == profile.replace("hal", "hal-big")


def test_a_list_in_which_nothing_matches_falls_back_to_local(machine: Any) -> None:
    machine.user("default: [hal]\n" + THREE)
    assert machine.resolve().profile == "local"


def test_a_slip_in_the_default_does_not_quietly_choose_another(machine: Any) -> None:
    machine.user("default: [hall, laptop]\n" + THREE)
    problem = machine.problem()
    assert problem.origin == "~/.clusterhub.yaml:1"
    assert "did you mean 'hal'?" in problem.message


@pytest.mark.parametrize(
    ("command", "system"),
    [
        ("qsub", "a PBS"),
        ("sbatch", "a SLURM"),
        ("bsub", "an LSF"),
        ("condor_submit", "an HTCondor"),
        ("oarsub", "an OAR"),
    ],
)
def test_a_bare_resolve_refuses_to_fill_a_login_node(machine: Any, command: str, system: str) -> None:
    machine.user(THREE)
    machine.command(command)
    machine.called("hal-login2")
    told = str(machine.refused())
    assert told == (
        f"no profile chosen, and this looks like {system} login node: hal, hal-big; say connect('local') if you mean it"
    )


def test_a_login_node_without_profiles_says_how_to_get_one(machine: Any) -> None:
    machine.command("qsub")
    machine.env(SGE_ROOT="/sge")
    assert "looks like an SGE login node: there is none yet, clusterhub init" in str(machine.refused())


def test_slurms_own_qsub_does_not_make_it_pbs(machine: Any) -> None:
    machine.command("qsub")
    machine.command("sbatch")
    assert "SLURM login node" in str(machine.refused())


@pytest.mark.parametrize("variable", ["SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "OAR_JOB_ID"])
def test_inside_an_allocation_a_bare_resolve_is_local(machine: Any, variable: str) -> None:
    machine.command("qsub")
    machine.env(**{variable: "81"})
    assert machine.resolve().profile == "local"


def test_on_a_login_node_what_is_chosen_is_chosen(machine: Any) -> None:
    machine.user("default: laptop\n" + THREE)
    machine.command("qsub")
    assert machine.resolve("local").profile == "local"
    assert machine.resolve().profile == "laptop"
    assert machine.resolve(backend="local").profile == "local"


def test_a_profile_cannot_be_used_on_another_host_and_says_where_it_can(machine: Any) -> None:
    machine.user(THREE)
    problem = machine.problem("hal-big")
    assert (problem.origin, problem.message) == (
        "~/.clusterhub.yaml:4",
        "can be used on hal-*; this is laptop.example.org",
    )
    assert resolve("hal-big", {}, anywhere=True).profile == "hal-big"


def test_a_plan_for_another_host_can_be_read_here_and_nothing_be_started(machine: Any) -> None:
    machine.user("profiles: {far: {backend: local, workers: 1, worker: {memory: 1 GiB}, hosts: [far-*]}}")
    assert clusterhub.plan("far").profile == "far"
    with pytest.raises(ConfigError, match=r"can be used on far-\*"):
        clusterhub.connect("far")


def test_hosts_match_the_short_name_and_the_full_one(machine: Any) -> None:
    for pattern in ("laptop", "laptop.example.org", "*.example.org", "LAP*"):
        machine.user(f"profiles: {{p: {{backend: local, hosts: '{pattern}'}}}}")
        assert machine.resolve("p").profile == "p"


def test_an_unknown_name_tells_what_was_meant_and_what_there_is(machine: Any) -> None:
    machine.user(THREE)
    told = str(machine.refused("halbig"))
    assert told.startswith("call: unknown profile 'halbig'; did you mean 'hal-big'?")
    assert "profiles: laptop, hal, hal-big; backends: broken, cloud, local" in told
    assert "unknown profile ''" in str(machine.refused(""))


@pytest.mark.parametrize("thing", [5, ["hal"], {"backend": "local"}, True])
def test_what_is_no_name_is_refused(machine: Any, thing: Any) -> None:
    assert "name of a profile" in str(machine.refused(thing))


def test_of_many_profiles_only_some_are_listed(machine: Any) -> None:
    machine.user("profiles:\n" + "".join(f"  p{i}: {{backend: local}}\n" for i in range(300)))
    told = str(machine.refused("zzz"))
    assert "and 288 more" in told
    assert len(told) < 400


def test_a_backend_that_is_known_but_not_installed_says_the_install_line(machine: Any) -> None:
    machine.user("profiles: {k: {backend: kubernetes}}")
    for name in ("kubernetes", "k"):
        with pytest.raises(BackendUnavailable, match=r'pip install "clusterhub\[kubernetes\]"'):
            machine.resolve(name)


def test_a_backend_that_cannot_be_loaded_is_told_as_such(machine: Any) -> None:
    with pytest.raises(BackendUnavailable, match="no_such_module"):
        machine.resolve("broken")


def test_a_profile_may_have_the_name_of_a_backend(machine: Any) -> None:
    machine.user("profiles: {pbs: {backend: pbs, pbs: {queue: mine}}}")
    resolved = machine.resolve("pbs")
    assert (resolved.options.queue, resolved.spec.job.walltime) == ("mine", None)


def test_the_dask_config_counts_for_a_bare_backend_and_nowhere_else(machine: Any) -> None:
    machine.user("profiles: {plain: {backend: pbs}, built: {extends: dask, backend: pbs, pbs: {queue: mine}}}")
    bare, plain, built = (machine.resolve(name) for name in ("pbs", "plain", "built"))
    assert (bare.options.queue, bare.origins["pbs.queue"]) == ("from-dask", "dask config")
    assert (plain.options.queue, plain.spec.job.walltime) == (None, None)
    assert (built.options.queue, str(built.spec.job.walltime)) == ("mine", "2h")
    assert built.origins["job.walltime"] == "dask config"


def test_a_dask_config_that_cannot_be_read_is_one_message(machine: Any) -> None:
    assert "dask config: cannot be read for backend stubborn: KeyError" in str(machine.refused("stubborn"))


def test_a_profile_of_a_profile_of_a_profile(machine: Any) -> None:
    machine.site("profiles: {a: {backend: pbs, worker: {cores: 1, gpus: 1}, pbs: {queue: a}}}")
    machine.user(
        "profiles: {a: {worker: {cores: 2}}, b: {extends: a, worker: {memory: 2 GiB}}, c: {extends: b, pbs: {account: c}}}"
    )
    resolved = machine.resolve("c")
    assert (resolved.spec.worker.cores, resolved.spec.worker.gpus, str(resolved.spec.worker.memory)) == (2, 1, "2 GiB")
    assert (resolved.options.queue, resolved.options.account) == ("a", "c")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: {extends: b}, b: {extends: c}, c: {extends: a}", "in a ring: a → b → c → a"),
        ("a: {extends: b}, b: {extends: c}, c: {extends: b}", "in a ring: b → c → b"),
        ("a: {extends: a}", "same name already patches"),
        ("a: {extends: hall}, hal: {backend: pbs}", "unknown profile 'hall'; did you mean 'hal'?"),
        ("a: {extends: pbs}", "pbs is a backend, not a profile; write backend: pbs"),
        ("a: {extends: [b]}", "must be the name of one profile"),
        ("a: {extends: 5}", "must be the name of one profile"),
        ("a: {extends: ''}", "must be the name of one profile"),
        ("a: {worker: {cores: 1}}", "must be given, here or in what it extends: one of broken, cloud, local"),
        ("a: {}", "must be given"),
        ("a: {backend: pbz}", "unknown backend; did you mean pbs?"),
        ("a: {backend: [pbs]}", "must be the name of a backend"),
        ("a: {backend: 5}", "must be the name of a backend"),
        ("a: {backend: null}", "must be given"),
        ("a: {backend: ''}", "unknown backend"),
    ],
)
def test_what_a_profile_cannot_be_made_of_is_told_with_its_line(machine: Any, text: str, words: str) -> None:
    machine.user(f"profiles: {{{text}}}")
    problem = machine.problem("a")
    assert problem.origin == "~/.clusterhub.yaml:1"
    assert words in problem.message


def test_a_child_may_take_back_what_its_parent_extends(machine: Any) -> None:
    machine.site("profiles: {a: {extends: nowhere, backend: local}}")
    machine.user("profiles: {a: {extends: null}}")
    assert machine.resolve("a").profile == "a"


def test_a_changed_backend_leaves_the_old_ones_options_behind(machine: Any) -> None:
    machine.user(
        """
        profiles:
          hal: {backend: pbs, pbs: {queue: q}, required: {pbs.account: yours}}
          far: {extends: hal, backend: cloud, cloud: {image: i}}
        """
    )
    assert machine.resolve("far").options.image == "i"


def test_options_of_another_backend_where_the_backend_is_named_are_a_mistake(machine: Any) -> None:
    machine.user("profiles:\n  hal:\n    backend: pbs\n    cloud: {image: i}\n")
    problem = machine.problem("hal")
    assert str(problem) == "~/.clusterhub.yaml:4: cloud: holds options of backend cloud; this profile uses pbs"
    machine.user("profiles: {hal: {backend: pbs}}")
    assert machine.problem("hal", cloud={"image": "i"}).origin == "call"


def test_a_call_extends_nothing(machine: Any) -> None:
    machine.user(THREE)
    assert any(
        "a call names the profile itself" in p.message for p in machine.refused("laptop", extends="hal").problems
    )


def test_a_spec_stands_for_a_profile(machine: Any) -> None:
    spec = ClusterSpec(backend="pbs", worker={"cores": 4, "memory": "2 GiB"}, workers=3)
    resolved = resolve(spec, {"pbs": {"queue": "q"}, "worker": {"gpus": 1}})
    assert (resolved.profile, resolved.spec.worker.cores, resolved.spec.worker.gpus) == ("pbs", 4, 1)
    assert (resolved.options.queue, resolved.spec.job.walltime) == ("q", None)
    assert (resolved.origins["worker.memory"], resolved.origins["job.walltime"]) == ("call", "default")
    assert resolve(ClusterSpec(), {}).backend.name == "local"


def test_a_backend_in_the_call_alone_is_a_bare_backend(machine: Any) -> None:
    machine.user("default: laptop\n" + THREE)
    assert machine.resolve(backend="pbs").origins["pbs.queue"] == "dask config"


def test_the_backends_defaults_lie_below_what_anybody_said(machine: Any) -> None:
    machine.user("profiles: {l: {backend: local}, m: {backend: local, workers: 3, lifecycle: {idle_timeout: 2h}}}")
    lazy, said = machine.resolve("l"), machine.resolve("m")
    assert (str(lazy.spec.workers), lazy.origins["workers"]) == ("16", "backend local")
    assert (str(said.spec.workers), str(said.spec.lifecycle.idle_timeout)) == ("3", "2h")
    assert {leaf.path for leaf in lazy.leaves() if not leaf.is_default} == {"backend"}


def test_a_backend_whose_defaults_fail_is_heard_after_the_problems(machine: Any) -> None:
    machine.user("profiles: {s: {backend: stubborn}, t: {backend: stubborn, workers: -1}}")
    with pytest.raises(RuntimeError, match="no defaults today"):
        machine.resolve("s")
    assert machine.problem("t").path == "workers"
