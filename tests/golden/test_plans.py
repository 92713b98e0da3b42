"""What would be sent, word for word: plans are compared with the files beside this one.

After a change that is meant: ``UPDATE_GOLDEN=1 pytest tests/golden``, then read the difference before committing it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from clusterhub.backend import Plan
from clusterhub.profile import resolve

HERE = Path(__file__).parent

SMALL = {"cores": 1, "memory": "512 MiB"}
PLANS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "local-processes": ("local", {"workers": 2, "worker": SMALL}),
    "local-threads": ("local", {"workers": 1, "worker": SMALL, "local": {"processes": False}}),
    "local-range": ("local", {"workers": {"minimum": 1, "maximum": 2}, "worker": SMALL}),
    "local-everything": (
        "local",
        {
            "workers": 2,
            "worker": {**SMALL, "threads": 3},
            "environment": {"variables": {"OMP_NUM_THREADS": "1", "API_TOKEN": "hunter2"}},
            "network": {"interface": "lo", "tls": True},
            "storage": {"scratch": "$TMPDIR"},
            "local": {"preload": ["dask_cuda.initialize"]},
        },
    ),
    "slurm": (
        "slurm",
        {
            "workers": 200,
            "worker": {"cores": 4, "memory": "16 GiB"},
            "node": {"cores": 24, "memory": "120 GiB"},
            "job": {"walltime": "12h"},
            "environment": {
                "python": "/softs/pangeo/bin/python",
                "directory": "~/work",
                "setup": ["module load conda"],
                "variables": {"OMP_NUM_THREADS": "1", "API_TOKEN": "hunter2"},
            },
            "storage": {"scratch": "$TMPDIR", "logs": "/logs"},
            "slurm": {"partition": "compute", "account": "ocean", "directives": ["--mail-type=FAIL"]},
        },
    ),
    "pbs": (
        "pbs",
        {
            "workers": 200,
            "worker": {"cores": 4, "memory": "16 GiB", "gpus": 1},
            "node": {"cores": 24, "memory": "120 GiB", "gpus": 4},
            "job": {"walltime": "36h"},
            "environment": {
                "python": "/softs/pangeo/bin/python",
                "directory": "~/work",
                "variables": {"API_TOKEN": "hunter2"},
            },
            "storage": {"logs": "/shared logs"},
            "pbs": {
                "queue": "qdev",
                "account": "ocean",
                "project": "tides",
                "resources": {"model": "bro", "bigmem": True},
                "chunks": ["1:ncpus=1:host=fs1"],
                "place": "scatter",
                "directives": ["-W group_list=ocean"],
            },
        },
    ),
    "gateway": (
        "gateway",
        {
            "workers": {"minimum": 0, "maximum": 200},
            "worker": {"cores": 2, "memory": "7.5 GiB"},
            "environment": {"variables": {"OMP_NUM_THREADS": "1", "API_TOKEN": "hunter2"}},
            "lifecycle": {"idle_timeout": "30m"},
            "gateway": {
                "address": "https://hub.example.org/services/dask-gateway/",
                "proxy_address": "gateway://traefik-dask-gateway.prod:80",
                "public_address": "/services/dask-gateway/",
                "auth": {"type": "jupyterhub", "token": "hunter2"},
                "http_proxy": "http://ann:hunter2@proxy.example.org:3128",
                "image": "pangeo/pangeo-notebook:2026.11.01",
                "options": {"profile": "large", "tags": {"password": "hunter2"}},
                "map": {"worker.memory": {"option": "ram", "unit": "MiB"}, "worker.gpus": False},
            },
        },
    ),
    "gateway-unsaid": ("gateway", {"workers": 4, "gateway": {"address": "http://127.0.0.1:8000"}}),
    "simulated": ("simulated", {"workers": 7, "worker": SMALL}),
    "simulated-node": (
        "simulated",
        {
            "workers": 200,
            "worker": {"cores": 4, "memory": "16 GiB"},
            "node": {"cores": 24, "memory": "120 GiB"},
            "job": {"walltime": "12h"},
            "simulated": {"queue": "big", "account": "ocean", "password": "hunter2"},
        },
    ),
}


def rendered(plan: Plan[Any]) -> str:
    """A plan as a file: its summary, its documents, and itself as data."""
    parts = [plan.summary]
    parts += [f"──── {document.title} ({document.language}) ────\n{document.text}" for document in plan.documents]
    parts += ["──── as data ────", plan.model_dump_json(indent=2, exclude={"documents", "summary"})]
    return "\n".join(part.rstrip("\n") for part in parts) + "\n"


def planned(case: str) -> Plan[Any]:
    profile, said = PLANS[case]
    resolved = resolve(profile, said)
    return resolved.backend.plan("golden", resolved.spec, resolved.options)


@pytest.mark.parametrize("case", sorted(PLANS))
def test_a_plan_is_what_it_was(case: str) -> None:
    file = HERE / f"{case}.txt"
    text = rendered(planned(case))
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(text, encoding="utf-8")
    assert file.exists(), "a new case: make its file with UPDATE_GOLDEN=1"
    assert text == file.read_text(encoding="utf-8")


def test_every_file_belongs_to_a_case() -> None:
    assert {path.stem for path in HERE.glob("*.txt")} == set(PLANS)


@pytest.mark.parametrize("case", sorted(PLANS))
def test_what_is_shown_of_a_plan_holds_no_secret(case: str) -> None:
    plan = planned(case)
    shown = "\n".join([plan.summary, *(document.text for document in plan.documents)])
    assert "hunter2" not in shown
