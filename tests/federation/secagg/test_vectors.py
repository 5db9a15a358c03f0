"""Every lie of the test vectors ends in its named error, and leaves its victim where it was."""

import json
from pathlib import Path

import numpy as np
import pytest
from cohorts import Cohort, identity
from round_vectors import STEPS, all_vectors, spoken

from federation import errors
from federation.round_messages import ANSWERS, QUESTIONS
from federation.secagg import server
from federation.secagg.memory import recall, remember
from federation.secagg.terms import Terms

VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text())
TO_SITES, TO_AGGREGATOR = VECTORS["told to a site"], VECTORS["told to the aggregator"]


def _heard(kinds, step, message):
    blobs = {name: bytes.fromhex(blob) for name, blob in message["blobs"].items()}
    return kinds[step].from_parts(message["body"], blobs)


def _name(vector):
    return vector["name"].replace(" ", "-")


def test_the_vectors_are_what_the_protocol_says():
    assert json.loads(json.dumps(all_vectors())) == VECTORS


def test_there_are_enough_of_them():
    assert len(TO_SITES) + len(TO_AGGREGATOR) >= 30
    assert len({vector["name"] for vector in (*TO_SITES, *TO_AGGREGATOR)}) == len(TO_SITES) + len(
        TO_AGGREGATOR
    )


def test_the_honest_round_is_repeated_to_the_byte():
    honest = VECTORS["honest"]
    terms = Terms.from_json(honest["terms"])
    assert terms.digest.hex() == honest["digest"]
    values = {site: np.array(row) for site, row in honest["values"].items()}
    cohort = Cohort(terms, values, {"mask": set(values) - set(honest["contributors"])})
    opened = cohort.unmask()
    assert opened.total.tolist() == honest["total"] == sum(values[s] for s in honest["contributors"]).tolist()
    for step in STEPS:
        assert {site: spoken(a) for site, a in cohort.answers[step].items()} == honest["answers"][step]


@pytest.mark.parametrize("vector", TO_SITES, ids=_name)
def test_a_site_refuses(vector):
    terms = Terms.from_json(vector["terms"])
    site = "site-0000"
    state = recall(terms, site, vector["state"])
    extra = {"mask": (np.array(vector["values"]),), "confirm": (identity(site),)}.get(vector["step"], ())
    with pytest.raises(getattr(errors, vector["error"])):
        getattr(state, vector["step"])(_heard(QUESTIONS, vector["step"], vector["message"]), *extra)
    assert remember(state) == vector["state"]


@pytest.mark.parametrize("vector", TO_AGGREGATOR, ids=_name)
def test_the_aggregator_refuses(vector):
    with pytest.raises(getattr(errors, vector["error"])) as refusal:
        _open(vector)
    assert not any(str(number) in str(refusal.value) for number in VECTORS["honest"]["total"] if number > 99)


def _open(vector):
    """Run the aggregator's side on what the sites are said to have said."""
    state = server.Advertising(Terms.from_json(vector["terms"]))
    for step in STEPS:
        said = {site: _heard(ANSWERS, step, message) for site, message in vector["answers"][step].items()}
        for site, message in said.items():
            state.check(site, message)
        state = state.close(said)
    return state
