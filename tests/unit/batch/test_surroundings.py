"""What people are told of their host before anything is submitted: Python, folders, keys, addresses."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from clusterhub.versions import here as versions_here
from clusterhub_backends.batch import addresses, interpreters, places, surroundings
from clusterhub_backends.batch.places import Seen, place_of
from clusterhub_backends.batch.surroundings import Surroundings

from .test_doctor import line, spec

# This host


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host whose folders are all on NFS, and that has one address."""
    monkeypatch.setattr(places, "_mounted", lambda real, mounts: (Path("/"), "nfs4"))
    monkeypatch.setattr(surroundings, "named_addresses_here", lambda: {"10.12.0.2": "ib0"})


def around(logs: Path, **said: Any) -> list[str]:
    return [line(found) for found in Surroundings(spec(backend="slurm", **said), logs).findings()]


def test_a_host_where_all_is_well(home, shared):
    ours = versions_here()
    told = around(home / "logs", environment={"python": sys.executable})
    assert told[:3] == [
        f"✔ python: {sys.executable} {ours['python']}, dask {ours['dask']} (here: {ours['dask']})",
        "✔ log folder: ~/logs writable (nfs4)",
        "✔ state folder: ~/.local/state/clusterhub writable (nfs4)",
    ]
    assert told[3].startswith("✔ encryption: TLS, with keys of each cluster's own (cryptography ")
    assert told[4:] == ["✔ scheduler address: 10.12.0.2 (ib0)"]
    assert list(home.iterdir()) == []


def test_several_addresses_are_worth_a_remark_unless_one_is_named(home, shared, monkeypatch):
    found = {"10.12.0.2": "ib0", "192.168.0.12": "eth0"}
    monkeypatch.setattr(surroundings, "named_addresses_here", lambda: found)
    monkeypatch.setattr(surroundings, "interfaces_here", lambda: [("lo", "127.0.0.1"), ("ib0", "10.12.0.2")])
    assert around(home)[-1] == (
        "! scheduler address: 2 candidates: 10.12.0.2 (ib0), 192.168.0.12 (eth0)\n"
        "jobs take the first that answers them; network.interface names one"
    )
    assert around(home, network={"interface": "ib0"})[-1] == "✔ scheduler address: 10.12.0.2 (ib0)"
    assert around(home, network={"interface": "ib7"})[-1] == (
        "✘ scheduler address: there is no interface ib7 here that is up; there are lo, ib0 <network.interface>"
    )
    assert (
        "! scheduler address: 127.0.0.1 (lo), which no other host reaches"
        in around(home, network={"interface": "lo"})[-1]
    )


def test_docker_and_its_like_are_no_candidates(monkeypatch):
    found = [("lo", "127.0.0.1"), ("docker0", "172.17.0.1"), ("eth0", "192.168.0.12"), ("ib0", "10.12.0.2")]
    monkeypatch.setattr(addresses, "interfaces_here", lambda: found)
    monkeypatch.setattr(addresses, "_of_the_default_route", lambda: "10.12.0.2")
    assert addresses.named_addresses_here() == {"10.12.0.2": "ib0", "192.168.0.12": "eth0"}
    assert addresses.addresses_here() == ("10.12.0.2", "192.168.0.12")
    monkeypatch.setattr(addresses, "interfaces_here", lambda: found[:2])
    assert addresses.named_addresses_here() == {"127.0.0.1": "lo"}


def test_folders_that_every_host_has_its_own_of_are_worth_a_remark(home, monkeypatch):
    monkeypatch.setattr(places, "_mounted", lambda real, mounts: (Path("/dev/shm"), "tmpfs"))
    told = around(Path("/dev/shm/logs"))
    assert any(
        found
        == "! log folder: /dev/shm/logs is in /dev/shm (tmpfs), of which every host has its own: logs stay on the nodes,"
        " or jobs fail; name one that nodes see <storage.logs>"
        for found in told
    )
    assert any(found.startswith("! state folder: ") and "set CLUSTERHUB_STATE" in found for found in told)


def test_a_log_folder_that_cannot_be_written_is_a_failure(shared):
    told = next(found for found in around(Path("/proc/none/logs")) if "log folder" in found)
    assert told.startswith("✘ log folder: /proc/none/logs cannot be written (/proc: ")
    assert told.endswith("); name a folder that this host and the nodes can write <storage.logs>")


def test_a_file_system_without_room_is_a_failure(home, shared, monkeypatch):
    def full(**_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(places.tempfile, "TemporaryFile", full)
    told = around(home / "logs", storage={"scratch": str(home)})
    assert any(found.startswith("✘ log folder: ~/logs cannot be written") for found in told)
    assert any("scratch" in found and "No space left on device" in found for found in told)


def test_a_state_folder_that_cannot_be(shared, home, monkeypatch):
    monkeypatch.setenv("CLUSTERHUB_STATE", "relative")
    assert any(found.startswith("✘ state folder: CLUSTERHUB_STATE: ") for found in around(home))


@pytest.mark.parametrize(
    ("scratch", "told"),
    [
        ("$TMPDIR", "✔ scratch: $TMPDIR, which expands on the node, and was not looked at here"),
        ("~", "✔ scratch: ~ writable on this host; nodes have their own, or the same"),
        ("/proc/scratch", "✘ scratch: /proc/scratch cannot be written (/proc: No such file or directory); name a folder that jobs"
                          " may write to, as $TMPDIR <storage.scratch>"),
    ],
)  # fmt: skip
def test_scratch(home, shared, scratch, told):
    assert told in around(home, storage={"scratch": scratch})


def test_a_directory_is_told_of_only_where_nodes_may_not_find_it(home, shared, monkeypatch):
    assert not any("directory" in found for found in around(home, environment={"directory": str(home)}))
    told = around(home, environment={"directory": "/no/such/folder"})
    assert any(
        found.startswith("! directory: /no/such/folder is not on this host; whether nodes have it") for found in told
    )
    monkeypatch.setattr(places, "_mounted", lambda real, mounts: (Path("/dev/shm"), "tmpfs"))
    assert any("workers may not find it" in found for found in around(home, environment={"directory": "/dev/shm"}))


def test_traffic_that_is_not_encrypted_is_worth_a_remark(home, shared):
    told = around(home, network={"tls": False})
    assert any(found.startswith("! encryption: off: whoever reaches the scheduler's port can") for found in told)


def test_keys_cannot_be_made_without_cryptography(home, shared, monkeypatch):
    def missing(package: str) -> str:
        raise surroundings.PackageNotFoundError(package)

    monkeypatch.setattr(surroundings, "version", missing)
    assert any('✘ encryption: keys are made with cryptography' in found and 'pip install "clusterhub[slurm]"' in found
               for found in around(home))  # fmt: skip


def test_inside_a_job_a_keeper_beside_us_ends_with_it(home, shared, monkeypatch):
    monkeypatch.setenv("PBS_JOBID", "81.hal")
    assert not any("this host: " in found for found in around(home))
    assert around(home, lifecycle={"host": "process"})[-1] == (
        "! this host: this is inside a job, with which a keeper beside us ends; leave lifecycle.host auto, or write job"
        " <lifecycle.host>"
    )


# Python


def python(home: Path, script: str) -> str:
    path = home / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def told_of(home: Path, said: str, **environment: Any) -> str:
    return next(found for found in around(home, environment={"python": said, **environment}) if " python: " in found)


def test_a_python_that_is_not_here_may_be_on_the_nodes(home, shared):
    assert told_of(home, "/softs/pangeo/bin/python") == (
        "! python: /softs/pangeo/bin/python is not on this host; whether nodes have it, clusterhub check --start tells"
        " <environment.python>"
    )
    assert told_of(home, "no-such-python", setup=["module load conda"]) == (
        "! python: no-such-python is found on the node; whether nodes have it, after its setup lines,"
        " clusterhub check --start tells <environment.python>"
    )
    assert told_of(home, "$CONDA_PREFIX/bin/python").startswith(
        "✔ python: $CONDA_PREFIX/bin/python, which expands on the node"
    )


def test_a_python_of_this_host_alone_may_differ_on_the_nodes(home, shared, monkeypatch):
    monkeypatch.setattr(places, "_mounted", lambda real, mounts: (Path("/"), "ext4"))
    assert told_of(home, sys.executable).endswith("); that is this host, nodes may differ")


def test_a_python_whose_variable_the_profile_gives_is_looked_at(home, shared):
    prefix = str(Path(sys.executable).parent)
    assert told_of(home, "$ENV/python", variables={"ENV": prefix}).startswith(
        f"✔ python: $ENV/python {versions_here()['python']}"
    )


def test_a_python_without_dask_is_a_failure_unless_setup_may_bring_it(home, shared):
    without = """echo '{"versions": {"python": "3.9.1", "dask": null, "distributed": null}, "ssl": true}'"""
    path = python(home, without)
    assert told_of(home, path) == (
        f"✘ python: {path} 3.9.1 has no dask and no distributed; install them there, in the versions that you have here,"
        " or name another python <environment.python>"
    )
    assert told_of(home, path, setup=["module load dask"]).startswith("! python: ")


def test_versions_that_differ_are_worth_a_remark(home, shared):
    ours = versions_here()
    theirs = {**ours, "distributed": "2025.1.0"}
    import json

    path = python(home, f"echo '{json.dumps({'versions': theirs, 'ssl': True})}'")
    assert told_of(home, path) == (
        f"! python: {path} {ours['python']}, dask {ours['dask']} (here: {ours['dask']})\n"
        f"distributed is 2025.1.0 there and {ours['distributed']} here; install the same in both <environment.python>"
    )


def test_a_python_that_cannot_speak_tls(home, shared):
    answer = """echo '{"versions": {"python": "3.12.1", "dask": "1", "distributed": "1"}, "ssl": false}'"""
    assert "cannot speak TLS" in told_of(home, python(home, answer))


def test_a_python_that_fails_or_hangs_is_told_with_its_words(home, shared, monkeypatch):
    path = python(home, "echo 'libpython3.so: cannot open shared object file' >&2; exit 127")
    assert told_of(home, path) == (
        f"✘ python: {path} does not run on this host\nlibpython3.so: cannot open shared object file <environment.python>"
    )
    assert "does not run on this host without its setup lines" in told_of(home, path, setup=["module load x"])
    monkeypatch.setattr(interpreters, "PATIENCE", 0.2)
    assert "it did not start within 0.2 s" in told_of(home, python(home, "exec sleep 30"))


def test_nothing_of_our_environment_reaches_the_probe_but_what_the_profile_says(home, shared, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/ours")
    path = python(home, 'echo "$PYTHONPATH-$SAID" >&2; exit 1')
    assert "\n-yes " in told_of(home, path, variables={"SAID": "yes"})


# File systems

MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
23 22 0:21 / /dev/shm rw,nosuid - tmpfs tmpfs rw
30 22 0:40 / /home rw,relatime shared:2 - nfs4 server:/home rw
31 22 0:41 / /work\\040area rw - lustre 10.0.0.1@tcp:/work rw
32 22 0:42 / /scratch rw - fuse.glusterfs g:/s rw
33 22 0:43 / /tmp rw - nfs server:/tmp rw
34 22 0:44 / /auto rw - autofs systemd-1 rw
35 34 0:45 / /auto rw - nfs4 server:/auto rw
"""


@pytest.mark.parametrize(
    ("path", "kind", "seen"),
    [
        ("/home/ann/logs", "nfs4", Seen.SHARED),
        ("/work area/x", "lustre", Seen.SHARED),
        ("/scratch/x", "fuse.glusterfs", Seen.SHARED),
        ("/dev/shm/x", "tmpfs", Seen.LOCAL),
        ("/var/tmp/x", "ext4", Seen.LOCAL),
        ("/tmp/x", "nfs", Seen.SHARED),
        ("/auto/x", "nfs4", Seen.SHARED),
        ("/opt/x", "ext4", Seen.UNKNOWN),
        ("/homework/x", "ext4", Seen.UNKNOWN),
    ],
)
def test_which_folders_nodes_probably_see(tmp_path, path, kind, seen):
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    place = place_of(Path(path), mounts)
    assert (place.kind, place.seen) == (kind, seen)


def test_a_host_without_a_list_of_mounts_knows_of_tmp_only(tmp_path):
    assert place_of(Path("/opt"), tmp_path / "none").seen is Seen.UNKNOWN
    assert place_of(Path("/tmp/x"), tmp_path / "none").seen is Seen.LOCAL


def test_a_link_is_where_it_leads(tmp_path):
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"1 1 0:1 / / rw - ext4 a rw\n2 1 0:2 / {tmp_path.resolve()}/far rw - nfs4 b rw\n")
    (tmp_path / "far").mkdir()
    (tmp_path / "near").symlink_to(tmp_path / "far")
    assert place_of(tmp_path / "near" / "logs", mounts).seen is Seen.SHARED
