"""Bounding patients: who is used, how often each counts, and that nobody changes another's share."""

import hashlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.errors import PolicyError
from federation.privacy.weight import total_weight
from site_agent.patients import bound_patients
from tests.support.memory_source import MemorySource

GREY = (9, 9, 9)


def listed(patients, names=None):
    names = names or [f"{i}.png" for i in range(len(patients))]
    return MemorySource(names, [GREY] * len(names), patients)


def shares(source, k):
    """Name → how often it counts."""
    sample = bound_patients(source, k)
    return dict(zip(sample.source.listing.names, sample.weights.tolist(), strict=True))


listings = st.lists(st.sampled_from(["anna", "bert", "carl", "", " "]), min_size=1, max_size=20)
caps = st.integers(1, 10)


@given(listings, caps)
def test_every_patient_weighs_the_same_and_uses_at_most_the_cap(patients, k):
    sample = bound_patients(listed(patients), k)
    weights, counts = np.bincount(sample.owners, sample.weights), np.bincount(sample.owners)
    assert set(weights.tolist()) == {sample.weight} == {math.lcm(*range(1, k + 1))}
    assert counts.max() <= k
    assert sample.n_patients == len(set(patients) - {"", " "}) + patients.count("") + patients.count(" ")


@given(listings, caps, st.data())
def test_a_patient_who_comes_or_goes_changes_no_others_share(patients, k, data):
    names = [f"{i}.png" for i in range(len(patients))]
    own = data.draw(st.lists(st.integers(0, len(patients)), min_size=1, max_size=5))
    more_names, more = list(names), list(patients)
    for number, place in enumerate(own):
        more_names.insert(place, f"new {number}.png")
        more.insert(place, "newcomer")
    with_newcomer = shares(listed(more, more_names), k)
    others = {name: weight for name, weight in with_newcomer.items() if not name.startswith("new")}
    assert others == shares(listed(patients, names), k)


@given(listings, caps, st.randoms(use_true_random=False))
def test_the_order_of_the_listing_does_not_matter(patients, k, random):
    order = list(range(len(patients)))
    random.shuffle(order)
    shuffled = listed([patients[i] for i in order], [f"{i}.png" for i in order])
    assert shares(shuffled, k) == shares(listed(patients), k)


def test_the_images_with_the_smallest_hash_of_their_names_are_used():
    names = [f"{i}.png" for i in range(12)]
    ranked = sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    assert shares(listed(["anna"] * 12, names), 3) == dict.fromkeys(ranked[:3], 2)


def test_two_images_of_one_name_are_two_images():
    sample = bound_patients(listed(["anna", "anna", "bert"], ["a.png", "a.png", "a.png"]), 2)
    assert sample.weights.tolist() == [1, 1, 2]


def test_images_without_a_patient_are_patients_of_their_own():
    sample = bound_patients(listed(["", "anna", "  ", "anna "]), 2)
    assert (sample.n_patients, sample.unit) == (3, "patient")
    assert sample.weights.tolist() == [2, 1, 2, 1]


def test_a_dataset_that_knows_no_patients_protects_images():
    sample = bound_patients(listed(None, ["a", "b"]), 4)
    assert (sample.n_patients, sample.unit, sample.weights.tolist()) == (2, "image", [12, 12])


@pytest.mark.parametrize("k", [0, -1, 11])
def test_a_cap_that_bounds_nothing_or_makes_counts_huge_is_refused(k):
    with pytest.raises(PolicyError, match=rf"images_per_patient is {k}, expected 1 to 10"):
        bound_patients(listed(["anna"]), k)


def test_ten_images_are_shared_out_evenly_by_a_weight_of_2520():
    assert [total_weight(k) for k in (1, 2, 4, 10)] == [1, 2, 12, 2520]


def test_nothing_printed_shows_a_patient():
    source = listed(["anna", "bert"])
    assert "anna" not in f"{bound_patients(source, 2)!r} {source!r} {source.listing!r}"
