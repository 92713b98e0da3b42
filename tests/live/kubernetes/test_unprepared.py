"""A Kubernetes on which Dask's operator was never installed. Last of all, since no cluster survives it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import clusterhub
from clusterhub import BackendUnavailable, ClusterSpec
from clusterhub.display.waiting import silent
from clusterhub_backends.kubernetes.doctor import findings
from clusterhub_backends.kubernetes.options import KubernetesOptions
from live.kubernetes.stories import connected, lab, write_profile


@pytest.fixture
def _without_kinds() -> Iterator[None]:
    try:
        lab("kinds", "off")
        yield
    finally:
        lab("kinds", "on")


@pytest.mark.usefixtures("_without_kinds")
def test_where_the_operator_was_never_installed_all_that_is_asked_says_so(user, home):
    write_profile(home, user)
    with pytest.raises(BackendUnavailable, match="has no DaskClusters: Dask's operator is not installed") as refused:
        connected(user, 1)
    assert "helm install" in str(refused.value)
    told = {
        each.title: each
        for each in findings(ClusterSpec(backend="kubernetes"), KubernetesOptions(kubeconfig=str(user)))
    }
    assert list(told) == ["server", "operator"]
    assert (told["operator"].mark, "helm install" in told["operator"].text) == ("fail", True)
    assert "is not installed there" in str(clusterhub.clusters())


def test_once_it_is_installed_clusters_come_up(user):
    with connected(user, 1) as cluster:
        cluster.wait(timeout=90, display=silent())
        assert cluster.report().connected == 1
