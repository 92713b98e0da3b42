"""What a profile says becomes the options of a gateway's own: all of it, or every reason why not, before anything is made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from dask_gateway_server import options as theirs

from clusterhub import Unsupported
from clusterhub_backends.gateway.offers import Offer
from clusterhub_backends.gateway.request import USUAL
from clusterhub_backends.gateway.request import offered as told

from .conftest import SECRET, offered, site, wishes


def request(offers: Mapping[str, Offer] | None = None, **said: Any) -> dict[str, Any]:
    return wishes(**said).request(site() if offers is None else offers)


def refusals(offers: Mapping[str, Offer] | None = None, **said: Any) -> dict[str, str]:
    with pytest.raises(Unsupported) as caught:
        request(offers, **said)
    assert "gateway" in str(caught.value)
    return dict(caught.value.refusals)


NOTHING: dict[str, Any] = {"lifecycle": {"idle_timeout": "never"}}
"""Lets nothing be sent that was not said."""

# Said and unsaid


def test_what_nobody_said_is_left_to_the_gateway():
    assert request(**NOTHING) == {}
    assert request(workers=4, **NOTHING) == {}
    assert request(offered(), **NOTHING) == {}, "it may have no options at all"


def test_only_what_was_said_is_sent():
    assert request(worker={"memory": "2 GiB"}, **NOTHING) == {"worker_memory": 2.0}
    assert request(worker={"cores": 1}, **NOTHING) == {"worker_cores": 1}, "also where it is our own default"


def test_everything_that_can_be_said_is_sent_by_the_names_that_the_gateway_has():
    said = request(
        worker={"cores": 2, "memory": "512 MiB"},
        environment={"variables": {"TOKEN": SECRET}},
        lifecycle={"idle_timeout": "30m"},
        gateway={"image": "pangeo/ocean:1", "options": {"profile": "large"}},
    )
    assert said == {
        "profile": "large", "worker_cores": 2, "worker_memory": 0.5, "image": "pangeo/ocean:1", "idle_timeout": 1860.0,
        "environment": {"OMP_NUM_THREADS": "1", "TOKEN": SECRET},
    }  # fmt: skip


def test_variables_of_the_gateway_s_own_stay_unless_they_are_said():
    variables = request(environment={"variables": {"OMP_NUM_THREADS": 2}}, **NOTHING)["environment"]
    assert variables == {"OMP_NUM_THREADS": "2"}


@pytest.mark.parametrize("name", USUAL["worker.memory"])
def test_an_option_has_one_of_its_usual_names(name: str):
    assert list(request(offered(theirs.Float(name)), worker={"memory": "2 GiB"}, **NOTHING)) == [name]


def test_the_commonest_name_counts_where_there_are_several():
    offers = offered(theirs.Float("memory"), theirs.Float("worker_memory"))
    assert request(offers, worker={"memory": "2 GiB"}, **NOTHING) == {"worker_memory": 2.0}


def test_a_choice_of_conda_environments_is_not_taken_for_variables():
    offers = offered(theirs.Select("environment", ["pangeo", "ml"]))
    reasons = refusals(offers, environment={"variables": {"A": "1"}})
    assert reasons == {
        "environment.variables": "it has no option for that (it has environment); gateway.map can name one"
    }


@pytest.mark.parametrize("field", [theirs.Bool("worker_gpus"), theirs.Mapping("worker_gpus")])
def test_a_switch_is_not_taken_for_a_number(field: theirs.Field):
    assert "worker.gpus" in refusals(offered(field), worker={"gpus": 1})


def test_a_thread_for_each_core_needs_no_option():
    assert request(worker={"cores": 2, "threads": 2}, **NOTHING) == {"worker_cores": 2}
    assert "worker.threads" in refusals(worker={"cores": 2, "threads": 1})
    offers = offered(theirs.Integer("worker_cores"), theirs.Integer("worker_threads"))
    assert request(offers, worker={"cores": 2, "threads": 1}, **NOTHING) == {"worker_cores": 2, "worker_threads": 1}


def test_no_gpus_need_no_option_and_are_sent_where_there_is_one():
    assert request(worker={"gpus": 0}, **NOTHING) == {}
    assert request(offered(theirs.Integer("gpus", default=1)), worker={"gpus": 0}, **NOTHING) == {"gpus": 0}
    assert request(offered(theirs.Integer("gpus", default=1)), **NOTHING) == {}


# A map of the site's


def test_a_map_names_the_option_and_what_it_counts():
    offers = offered(theirs.Integer("ram"), theirs.Select("size", ["1", "2"]))
    said = request(
        offers,
        worker={"memory": "1 GiB", "cores": 2},
        gateway={"map": {"worker": {"memory": {"option": "ram", "unit": "MiB"}, "cores": "size"}}},
        **NOTHING,
    )
    assert said == {"ram": 1024, "size": "2"}


def test_a_map_is_stronger_than_the_usual_names():
    offers = offered(theirs.Float("worker_memory"), theirs.Float("big_memory"))
    mapped = {"map": {"worker.memory": "big_memory"}}
    assert request(offers, worker={"memory": "1 GiB"}, gateway=mapped, **NOTHING) == {"big_memory": 1.0}


def test_a_map_to_none_says_that_the_usual_name_means_something_else():
    none = {"map": {"worker.memory": False}}
    assert "worker.memory" in refusals(worker={"memory": "1 GiB"}, gateway=none)
    assert request(worker={"cores": 2}, gateway=none, **NOTHING) == {"worker_cores": 2}
    assert request(gateway={"map": {"lifecycle.idle_timeout": False}}) == {}


def test_a_map_to_an_option_that_is_not_there_is_told_even_where_nobody_needs_it():
    assert refusals(gateway={"map": {"worker.memory": "worker_memmory"}}) == {
        "gateway.map.worker.memory": "it has no option of that name; did you mean worker_memory? it has worker_cores,"
        " worker_memory, image, environment, idle_timeout, profile"
    }


# The gateway's own options


def test_an_own_option_that_is_taken_back_is_not_sent():
    assert request(gateway={"options": {"profile": None}}, **NOTHING) == {}


def test_an_own_option_that_says_the_same_contradicts_nothing():
    said = request(worker={"memory": "2 GiB"}, gateway={"options": {"worker_memory": 2}}, **NOTHING)
    assert said == {"worker_memory": 2}


def test_an_own_option_that_contradicts_our_word_is_refused():
    reasons = refusals(worker={"memory": "2 GiB"}, gateway={"options": {"worker_memory": 4}})
    assert reasons == {"worker.memory": "gateway.options.worker_memory = 4 says otherwise; take one of them back"}


def test_variables_of_both_go_together_where_they_say_nothing_of_one_another():
    said = {"environment": {"variables": {"A": "1"}}, "gateway": {"options": {"environment": {"B": "2"}}}}
    assert request(**said, **NOTHING) == {"environment": {"A": "1", "B": "2"}}
    assert wishes(**said, **NOTHING).preview()["environment"] == {"A": "1", "B": "2"}


def test_a_contradiction_tells_no_secret():
    own = {"environment": {"A": "2", "API_TOKEN": SECRET}}
    said = {"environment": {"variables": {"A": "1"}}, "gateway": {"options": own}}
    (reason,) = refusals(**said).values()
    assert "API_TOKEN" in reason
    assert SECRET not in reason


def test_two_words_for_one_option_are_a_contradiction_of_the_map():
    mapped = {"map": {"worker.cores": "worker_cores", "worker.threads": "worker_cores"}}
    reasons = refusals(worker={"cores": 2, "threads": 1}, gateway=mapped)
    assert reasons == {
        "worker.threads": "another of our words goes by worker_cores as well, and makes it 2; see gateway.map"
    }


# The idle timeout is the caretaker's; the gateway's is a second net


def test_the_gateway_ends_an_idle_cluster_too_where_it_can_and_a_little_later():
    assert request(lifecycle={"idle_timeout": "30m"}) == {"idle_timeout": 1860.0}


def test_never_is_not_sent():
    assert request(lifecycle={"idle_timeout": "never"}) == {}


@pytest.mark.parametrize(
    "field",
    [
        theirs.Float("idle_timeout", default=0, max=60),  # out of its range
        theirs.Integer("idle_timeout", label="Idle timeout (hours)"),  # no whole number of them
        theirs.Float("idle_timeout", default=600),  # the site has one already
        theirs.Select("idle_timeout", ["short", "long"]),  # who knows what it means
        theirs.Float("other"),
    ],
)
def test_what_the_gateway_cannot_do_of_it_refuses_nothing(field: theirs.Field):
    assert request(offered(field), lifecycle={"idle_timeout": "90m"}) == {}


def test_an_idle_timeout_among_the_gateway_s_own_options_stands():
    assert request(lifecycle={"idle_timeout": "30m"}, gateway={"options": {"idle_timeout": 60}}) == {"idle_timeout": 60}


# All at once


def test_everything_that_is_not_offered_is_told_at_once_with_what_is():
    reasons = refusals(
        worker={"cores": 8, "memory": "16 GiB", "gpus": 1, "threads": 2},
        environment={"variables": {"A": "1"}},
        gateway={"image": "x", "options": {"proflie": "large", "profile": "huge"}, "map": {"gateway.image": "picture"}},
    )
    assert reasons.keys() == {
        "worker.cores", "worker.memory", "worker.gpus", "worker.threads", "gateway.image", "gateway.options.proflie",
        "gateway.options.profile", "gateway.map.gateway.image",
    }  # fmt: skip
    assert reasons["worker.cores"] == "worker_cores must be a whole number from 1 to 4 there"
    assert reasons["worker.memory"] == "worker_memory must be a number from 0.25 to 8 there, in GiB"
    assert "it has worker_cores, worker_memory" in reasons["worker.gpus"]
    assert "did you mean profile?" in reasons["gateway.options.proflie"]
    assert reasons["gateway.options.profile"] == "profile must be one of small, large there"


def test_a_gateway_without_options_says_so():
    assert refusals(offered(), worker={"cores": 1}) == {
        "worker.cores": "it has no option for that (it has no options at all); gateway.map can name one"
    }


def test_whom_to_ask_is_told_with_the_refusal():
    with pytest.raises(Unsupported, match="ocean-help@example.org"):
        request(worker={"cores": 8}, support="ocean-help@example.org")


# What is shown


def test_the_preview_is_what_is_sent_where_the_gateway_has_the_usual_names():
    said: dict[str, Any] = {
        "worker": {"cores": 2, "memory": "512 MiB"}, "environment": {"variables": {"OMP_NUM_THREADS": "1"}},
        "gateway": {"image": "x", "options": {"profile": "large"}}, **NOTHING,
    }  # fmt: skip
    assert wishes(**said).preview() == request(**said)


def test_the_preview_holds_no_secret_and_can_be_written_as_json():
    said = wishes(
        environment={"variables": {"API_TOKEN": SECRET}},
        gateway={"options": {"password": SECRET, "tags": {"secret": SECRET, "of": [{"token": SECRET}]}}},
    )
    text = json.dumps(said.preview())
    assert SECRET not in text
    assert "API_TOKEN" in text


def test_the_preview_goes_by_the_map():
    mapped = {"worker.memory": {"option": "ram", "unit": "MiB"}, "worker.cores": False}
    said = wishes(worker={"memory": "1 GiB", "cores": 2}, gateway={"map": mapped})
    assert said.preview() == {"ram": 1024.0}


def test_what_is_offered_is_told_line_by_line_without_secrets():
    offers = site() | offered(theirs.Mapping("extra", {"api_token": SECRET}), theirs.String("password", SECRET))
    assert list(told(offers)) == [
        "worker_cores: a whole number from 1 to 4, 1 unless said",
        "worker_memory: a number from 0.25 to 8, 1 unless said",
        "image: a text, pangeo/pangeo-notebook:latest unless said",
        "environment: a table of names and values, {'OMP_NUM_THREADS': '1'} unless said",
        "idle_timeout: a number from 0 to 7200, 0 unless said",
        "profile: one of small, large, small unless said",
        "extra: a table of names and values, {'api_token': '********'} unless said",
        "password: a text, ******** unless said",
    ]
