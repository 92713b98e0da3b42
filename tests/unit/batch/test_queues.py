"""What the answers of PBS and SLURM about queues, nodes and limits come to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clusterhub import Bytes
from clusterhub_backends.batch.driver import Output
from clusterhub_backends.batch.queues import Allowance, Bounds, Facts, Kind, Wish
from clusterhub_backends.pbs import PbsBackend
from clusterhub_backends.pbs import queues as pbs
from clusterhub_backends.slurm import SlurmBackend
from clusterhub_backends.slurm import queues as slurm
from labs.pbs import show

SAMPLES = Path(__file__).parent / "samples"
ANN = Wish("ann", groups=("users", "ocean"))
ROOT = Wish("root", groups=("root",))
MIB, GIB = 2**20, 2**30


def said(text: str) -> Output:
    return Output(0, text, "")


# SLURM


def recorded(*names: str) -> list[Output | None]:
    """The answers of a real SLURM 22.05; None for a command that failed, as sacctmgr does without accounting."""
    return [said((SAMPLES / "slurm" / "queues" / name).read_text()) if name else None for name in names]


PLAIN = recorded("partitions.txt", "nodes.txt", "config.txt", "", "", "")
ACCOUNTED = recorded(*[f"accounting_{what}.txt" for what in ("partitions", "nodes", "config", "assoc", "user", "qos")])


def test_the_partition_that_slurm_would_take_is_the_one_that_is_meant():
    facts = slurm.facts(ROOT, PLAIN)
    assert facts.queues == ("debug", "short", "down")
    (debug,) = facts.meant
    assert (debug.name, debug.words, debug.takes, debug.starts) == ("debug", "up", True, True)
    assert debug.most == Bounds()
    assert debug.default_walltime == 3600
    assert facts.kinds == (Kind(4, 4, 8, 4000 * MIB),)
    assert facts.largest_array == 1001


def test_a_partition_has_limits_and_a_state():
    facts = slurm.facts(Wish("root", queues=("short", "down")), PLAIN)
    short, down = facts.meant
    assert (short.most.walltime, short.default_walltime) == (300, 300)
    assert (down.words, down.takes, down.starts) == ("down", True, False)


def test_a_partition_that_is_not_there_is_not_meant():
    facts = slurm.facts(Wish("root", queues=("nope",)), PLAIN)
    assert (facts.meant, facts.kinds) == ((), None)
    assert facts.queues


def test_without_accounting_nothing_is_known_of_accounts():
    facts = slurm.facts(ROOT, PLAIN)
    assert (facts.accounts, facts.qos, facts.allowance, facts.longest) == (None, None, Allowance(), None)


def test_limits_of_a_qos_override_those_of_a_user():
    """As seen: a job of three hours runs where the association allows two, and the QOS a day."""
    facts = slurm.facts(ROOT, ACCOUNTED)
    assert facts.accounts == ("ocean", "root")
    assert facts.default_account == "ocean"
    assert facts.qos == ("normal",)
    assert facts.allowance == Allowance(jobs=7, running=5, cores=40)
    assert facts.longest == 86400


def test_limits_of_another_account_are_not_ours():
    facts = slurm.facts(Wish("root", account="root"), ACCOUNTED)
    assert facts.allowance == Allowance(jobs=7, running=None, cores=40)
    assert facts.longest == 86400


def test_nodes_that_are_down_or_set_aside_are_not_usable():
    facts = slurm.facts(ROOT, ACCOUNTED)
    assert facts.kinds == (Kind(4, 2, 8, 4000 * MIB, gpus=2),)


def test_an_accounting_that_refuses_nobody_says_nothing_of_accounts():
    config = said("ClusterName = lab\nAccountingStorageEnforce = none\n")
    facts = slurm.facts(ROOT, [*ACCOUNTED[:2], config, *ACCOUNTED[3:]])
    assert (facts.accounts, facts.allowance) == (None, Allowance())


def test_accounting_that_is_down_is_no_news():
    down = Output(1, "", "sacctmgr: error: Unable to contact slurmdbd")
    facts = slurm.facts(ROOT, [*ACCOUNTED[:3], down, down, down])
    assert (facts.accounts, facts.default_account) == (None, "")
    assert facts.meant


def test_whoever_has_no_association_is_told_so():
    facts = slurm.facts(Wish("bob"), [*ACCOUNTED[:3], said(""), said(""), ACCOUNTED[5]])
    assert facts.accounts == ()


def test_associations_of_other_clusters_are_left_out():
    theirs = said("elsewhere|tides||normal||1|1|00:01:00|\nlab|ocean||normal||||01:00:00|\n")
    facts = slurm.facts(ROOT, [*ACCOUNTED[:3], theirs, ACCOUNTED[4], said("normal||||\n")])
    assert facts.accounts == ("ocean",)
    assert facts.longest == 3600


def test_an_association_with_a_partition_comes_before_that_without():
    both = said(
        "lab|ocean||normal||9|90|01:00:00|\nlab|ocean|debug|normal||3||02:00:00|\nlab|ocean|short|normal||1|1||\n"
    )
    facts = slurm.facts(ROOT, [*ACCOUNTED[:3], both, ACCOUNTED[4], said("normal||||\n")])
    assert (facts.allowance, facts.longest) == (Allowance(jobs=90, running=3), 7200)


def partition(**fields: str) -> list[Output | None]:
    line = " ".join(f"{key}={value}" for key, value in {"PartitionName": "p", **fields}.items())
    return [said(line + "\n"), None, None, None, None, None]


@pytest.mark.parametrize(
    ("fields", "wish", "closed", "by"),
    [
        ({"AllowGroups": "ocean,tides"}, {}, "", ""),
        ({"AllowGroups": "tides"}, {}, "is for the groups tides", "partition"),
        ({"AllowAccounts": "tides,waves"}, {"account": "ocean"}, "is for the account tides or waves", "account"),
        ({"AllowAccounts": "tides"}, {}, "", ""),
        ({"DenyAccounts": "ocean"}, {"account": "ocean"}, "takes no jobs of the account ocean", "account"),
        ({"AllowQos": "high"}, {"qos": "normal"}, "is for the qos high", "qos"),
        ({"RootOnly": "YES"}, {}, "is for root alone", "partition"),
        ({"MinNodes": "4"}, {}, "is for jobs of 4 nodes and more, and a job of ours is on one", "partition"),
    ],
)
def test_whom_a_partition_is_for(fields, wish, closed, by):
    (queue,) = slurm.facts(Wish("ann", groups=("users", "ocean"), queues=("p",), **wish), partition(**fields)).meant
    assert (queue.closed, queue.closed_by if closed else "") == (closed, by)


def test_a_partition_of_slurm_23_has_more_fields_and_a_name_with_blanks():
    answers = partition(
        PartitionName="CPU nodes (amd)", AllowGroups="ALL", DenyAccounts="x", QoS="p_dev", Default="YES",
        DefaultTime="NONE", ExclusiveTopo="NO", MaxTime="2-00:00:00", MinNodes="0", MaxCPUsPerNode="64",
        MaxCPUsPerSocket="UNLIMITED", NodeSets="ALL", Nodes="a[1-3],b7", State="UP", JobDefaults="DefMemPerGPU=204800",
        DefMemPerNode="UNLIMITED", MaxMemPerNode="250000", TRES="cpu=32,mem=1G,node=4,billing=32,gres/gpu=8",
        TRESBillingWeights="CPU=1.0,Mem=0.25G", ResumeTimeout="GLOBAL",
    )  # fmt: skip
    (queue,) = slurm.facts(ANN, answers).meant
    assert queue.name == "CPU nodes (amd)"
    assert queue.most == Bounds(2 * 86400, 64, 250000 * MIB)
    assert queue.default_walltime == 2 * 86400


def test_the_qos_of_a_partition_limits_too():
    answers = partition(Default="YES", QoS="p_dev")
    answers[2:] = [
        said("ClusterName = lab\nAccountingStorageEnforce = associations,limits"),
        said("lab|ocean||normal,high|normal||||\n"),
        said("ocean\n"),
        said("normal|100||\nnormal|100|200||\np_dev|2|4|01:00:00|cpu=112,gres/gpu=8\nhigh|1|1||\n"),
    ]
    facts = slurm.facts(ANN, answers)
    assert facts.allowance == Allowance(jobs=4, running=2, cores=112)
    assert facts.longest == 3600


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("3|128|515000|mix|gpu:a100:4(S:0-1)|p", Kind(3, 3, 128, 515000 * MIB, 4)),
        ("3|128|515000|alloc|gpu:a100:3(S:0),gpu:v100:1,lustre:1|p", Kind(3, 3, 128, 515000 * MIB, 4)),
        ("2|8|4000|down*|(null)|p", Kind(2, 0, 8, 4000 * MIB)),
        ("2|8|4000|idle~|(null)|p", Kind(2, 2, 8, 4000 * MIB)),
        ("2|8|4000|drng|gpu|p", Kind(2, 0, 8, 4000 * MIB)),
        ("2|8|1|idle|(null)|p", Kind(2, 2, 8, None)),
    ],
)
def test_a_kind_of_nodes(line, kind):
    answers = partition(Default="YES")
    answers[1] = said(f"sinfo: a greeting of the site\n{line}\n9|1|1|idle|(null)|another\n")
    assert slurm.facts(ANN, answers).kinds == (kind,)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("00:05:00", 300), ("1-00:00:00", 86400), ("14-00:00:00", 14 * 86400), ("05:00", 300), ("60", 3600), ("1-12", 129600),
        ("UNLIMITED", None), ("INFINITE", None), ("NONE", None), ("Partition_Limit", None), ("", None), ("٣", None),
    ],
)  # fmt: skip
def test_times_of_slurm(text, seconds):
    assert slurm.seconds_of(text) == seconds


def test_slurm_is_asked_with_explicit_fields_and_changes_nothing():
    commands = SlurmBackend.driver.inquiries(ANN)
    assert [command.argv[0] for command in commands] == ["scontrol", "sinfo", "scontrol"] + ["sacctmgr"] * 3
    assert all("--readonly" in command.argv for command in commands[3:])
    assert any("user=ann" in command.argv for command in commands)
    assert not any("json" in word for command in commands for word in command.argv)


# PBS


def flat(record: dict[str, Any]) -> dict[str, str]:
    found = {}
    for key, value in record.items():
        parts = {f"{key}.{part}": leaf for part, leaf in value.items()} if isinstance(value, dict) else {key: value}
        found |= {name: str(leaf) for name, leaf in parts.items()}
    return found


def as_recorded() -> list[Output | None]:
    """What a real OpenPBS answers, in its text forms: their layout is held to other recordings by test_pbs_standin.py."""

    def records(name: str, key: str) -> list[tuple[str, dict[str, str]]]:
        found = json.loads((SAMPLES / "pbs" / name).read_text())[key]
        return [(name, flat(record)) for name, record in found.items()]

    return [
        said(show.queues(records("qstat_Qf.json", "Queue"))),
        said("".join(show.server(name, record) for name, record in records("qstat_Bf.json", "Server"))),
        said(show.nodes(records("pbsnodes_av.json", "nodes"))),
    ]


def test_the_queue_that_pbs_would_take_is_the_one_that_is_meant():
    facts = pbs.facts(ANN, as_recorded())
    assert facts.queues == ("workq", "short", "stopped", "disabled")
    (workq,) = facts.meant
    assert (workq.name, workq.words, workq.takes, workq.starts) == ("workq", "enabled, started", True, True)
    assert (workq.most, workq.default_walltime) == (Bounds(3600), 600)
    assert facts.kinds == (Kind(1, 1, 16, 16 * GIB), Kind(2, 2, 8, 8 * GIB))
    assert facts.largest_array == 10000
    assert (facts.allowance, facts.accounts, facts.idle) == (Allowance(), None, "")


@pytest.mark.parametrize(
    ("name", "words", "takes", "starts"),
    [
        ("short", "enabled, started", True, True),
        ("stopped", "enabled, not started", True, False),
        ("disabled", "not enabled, started", False, True),
    ],
)
def test_a_queue_of_pbs_has_a_state(name, words, takes, starts):
    (queue,) = pbs.facts(Wish("ann", queues=(name,)), as_recorded()).meant
    assert (queue.words, queue.takes, queue.starts) == (words, takes, starts)


def test_a_queue_of_pbs_has_limits():
    (short,) = pbs.facts(Wish("ann", queues=("short",)), as_recorded()).meant
    assert short.most == Bounds(120, 4)
    assert short.default_walltime == 30


def queue(name: str = "q", **fields: str) -> str:
    return show.queues([(name, {key.replace("__", "."): value for key, value in fields.items()})])


def server(**fields: str) -> Output:
    return said(show.server("hal", {key.replace("__", "."): value for key, value in fields.items()}))


def facts_of(text: str, wish: Wish = ANN, at: Output | None = None, nodes: str = "") -> Facts:
    return pbs.facts(wish, [said(text), at or server(default_queue="q"), said(nodes) if nodes else None])


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("[u:PBS_GENERIC=4]", 4),
        ("[u:PBS_GENERIC=4],[u:ann=9]", 9),
        ("[u:ann=9], [u:PBS_GENERIC=4]", 9),
        ("[u:bob=1,u:ann=3]", 3),
        ('[u:"ann"=3]', 3),
        ("[o:PBS_ALL=100]", None),
        ("[g:PBS_GENERIC=2]", None),
        ("[u:anna=1]", None),
        ("", None),
    ],
)
def test_whose_limit_it_is(text, limit):
    assert pbs.limit_of(text, "ann") == limit


def test_limits_of_queue_and_server_are_told_as_the_tightest():
    text = queue(
        max_run="[u:PBS_GENERIC=20]", max_queued="[u:PBS_GENERIC=1024]", max_run_res__ncpus="[u:PBS_GENERIC=40]"
    )
    at = server(default_queue="q", max_run="[u:ann=30]", max_queued="[u:PBS_GENERIC=100]", max_array_size="500")
    facts = facts_of(text, at=at)
    assert facts.allowance == Allowance(jobs=100, running=20, cores=40)
    assert facts.largest_array == 500
    assert facts_of(queue(max_user_run="7")).allowance.running == 7


ROUTING = "".join(
    [
        queue("route", queue_type="Route", route_destinations="gpu,short,long@hal", enabled="True", started="True"),
        queue("short", queue_type="Execution", from_route_only="True", resources_max__walltime="02:00:00",
              max_run="[u:PBS_GENERIC=5]", enabled="True", started="True"),
        queue("long", queue_type="Execution", resources_max__walltime="72:00:00", resources_min__walltime="02:00:01",
              enabled="True", started="False"),
    ]
)  # fmt: skip


def test_behind_a_routing_queue_the_widest_counts():
    facts = facts_of(ROUTING, Wish("ann", queues=("route",)))
    (route,) = facts.meant
    assert route.words == "enabled, started, routes to gpu,short,long@hal"
    assert route.most.walltime == 72 * 3600
    assert (route.starts, route.default_walltime) == (True, None)
    assert facts.allowance.running == 5


def test_a_queue_that_is_routed_to_takes_nothing_else():
    (short,) = facts_of(ROUTING, Wish("ann", queues=("short",))).meant
    assert short.closed == "takes only what other queues route to it"


def test_queues_that_route_to_each_other_end():
    circle = queue("a", queue_type="Route", route_destinations="b") + queue(
        "b", queue_type="Route", route_destinations="a"
    )
    assert [found.name for found in facts_of(circle, Wish("ann", queues=("a",))).meant] == ["a"]


@pytest.mark.parametrize(
    ("fields", "closed"),
    [
        ({"acl_user_enable": "True", "acl_users": "bob@*,ann@*"}, ""),
        ({"acl_user_enable": "False", "acl_users": "bob"}, ""),
        ({"acl_user_enable": "True", "acl_users": "bob,+eve@hal"}, "is for the users bob, eve@hal"),
        ({"acl_user_enable": "True", "acl_users": "-ann,bob"}, "is for the users bob"),
        ({"acl_user_enable": "True"}, "is for none of your users"),
        ({"acl_group_enable": "True", "acl_groups": "ocean"}, ""),
        ({"acl_group_enable": "True", "acl_groups": "tides"}, "is for the groups tides"),
    ],
)
def test_whom_a_queue_is_for(fields, closed):
    (found,) = facts_of(queue(**fields)).meant
    assert found.closed == closed


def test_long_lists_go_on_in_further_lines():
    names = ",".join(f"user{number}" for number in range(40))
    (found,) = facts_of(queue(acl_user_enable="True", acl_users=f"{names},ann")).meant
    assert found.closed == ""
    (found,) = facts_of(queue(acl_user_enable="True", acl_users=names)).meant
    assert found.closed == "is for the users user0, user1, user2, user3, user4 and others"


def test_defaults_and_limits_of_the_server_hold_where_a_queue_has_none():
    at = server(default_queue="q", resources_max__walltime="24:00:00", resources_default__walltime="01:00:00")
    (found,) = facts_of(queue(), at=at).meant
    assert (found.most.walltime, found.default_walltime) == (86400, 3600)
    (found,) = facts_of(queue(resources_max__walltime="00:30:00")).meant
    assert (found.most.walltime, found.default_walltime) == (1800, 1800)


def test_a_server_that_starts_nothing_is_told_of():
    assert "scheduling is off" in facts_of(queue(), at=server(default_queue="q", scheduling="False")).idle


def node(name: str, **fields: str) -> tuple[str, dict[str, str]]:
    plain = {"state": "free", "resources_available__ncpus": "24", "resources_available__mem": "120gb"}
    return name, {key.replace("__", "."): value for key, value in {**plain, **fields}.items()}


def test_nodes_of_other_queues_and_kinds_are_left_out():
    nodes = show.nodes(
        [
            node("n1"),
            node("n2", queue="big"),
            node("n3", resources_available__Qlist="gpu, long"),
            node("n4", state="down,offline"),
            node(
                "g1", resources_available__ngpus="4", resources_available__Qlist="gpu", resources_available__model="bro"
            ),
        ]
    )
    text = queue("q", enabled="True") + queue("gpu", default_chunk__Qlist="gpu", default_chunk__ncpus="1")
    memory = int(Bytes("120 GiB"))
    assert facts_of(text, nodes=nodes).kinds == (Kind(3, 2, 24, memory), Kind(1, 1, 24, memory, 4))
    gpu = facts_of(text, Wish("ann", queues=("gpu",)), nodes=nodes)
    assert gpu.kinds == (Kind(1, 1, 24, memory), Kind(1, 1, 24, memory, 4))
    bro = Wish("ann", resources={"model": "bro", "licences": "2", "scratch": "10gb"})
    assert facts_of(text, bro, nodes=nodes).kinds == (Kind(1, 1, 24, memory, 4),)
    assert facts_of(text, Wish("ann", resources={"model": "has"}), nodes=nodes).kinds == ()


def test_vnodes_of_one_host_are_one_node():
    halves = [
        node(f"n1[{half}]", resources_available__host="n1", resources_available__ncpus="12",
             resources_available__mem="60gb") for half in (0, 1)
    ]  # fmt: skip
    natural = ("n1", {"state": "free", "resources_available.host": "n1", "resources_available.ncpus": "0"})
    assert facts_of(queue(), nodes=show.nodes([natural, *halves])).kinds == (Kind(1, 1, 24, 120 * GIB),)


def test_a_site_without_pbsnodes_tells_nothing_of_its_nodes():
    assert facts_of(queue()).kinds is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("36:00:00", 129600), ("10:00", 600), ("600", 600), ("", None), ("x", None), ("1:2:3:4", None)],
)
def test_times_of_pbs(text, seconds):
    assert pbs.seconds_of(text) == seconds


def test_another_server_is_asked_where_the_queue_is_there():
    argvs = [command.argv for command in PbsBackend.driver.inquiries(Wish("ann", queues=("q@far",)))]
    assert argvs == [("qstat", "-Q", "-f", "@far"), ("qstat", "-B", "-f", "far"), ("pbsnodes", "-av", "-s", "far")]
    plain = [command.argv for command in PbsBackend.driver.inquiries(ANN)]
    assert plain == [("qstat", "-Q", "-f"), ("qstat", "-B", "-f"), ("pbsnodes", "-av")]


def test_what_is_no_answer_at_all_comes_to_nothing():
    assert pbs.facts(ANN, [None, None, None]) == Facts()
    assert slurm.facts(ANN, [None] * 6) == Facts()
