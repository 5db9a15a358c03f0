"""Who is in which batch is for the seed and the patient alone to say."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from private_training import private_recipe, source_of

from federation.errors import TrainingError
from federation.transfer.recipe import Recipe
from site_agent.training.private_patients import batches_of_patients, public_batches

WHO = st.dictionaries(st.text("abcdefgh", min_size=1, max_size=4), st.integers(1, 5), min_size=1, max_size=20)


def named(source, batches):
    return [[[source.name(i) for i in patient.images] for patient in batch] for batch in batches]


@given(WHO, st.integers(1, 3), st.integers(1, 7), st.integers(0, 9))
def test_every_patient_is_in_one_batch_of_an_epoch_with_at_most_so_many_images(who, k, n_batches, epoch):
    source = source_of(who)
    batches = batches_of_patients(source, k, n_batches, 3, epoch)
    assert len(batches) == n_batches
    owners = [{source.patients[i] for i in patient.images} for batch in batches for patient in batch]
    assert all(len(owner) == 1 for owner in owners)
    assert sorted(name for owner in owners for name in owner) == sorted(who)
    assert all(len(patient.images) == min(k, who[source.patients[patient.images[0]]])
               for batch in batches for patient in batch)  # fmt: skip


@given(WHO, st.integers(1, 5), st.data())
def test_a_patient_who_goes_changes_nothing_for_the_others(who, n_batches, data):
    gone = data.draw(st.sampled_from(sorted(who)))
    whole, rest = source_of(who), source_of({p: k for p, k in who.items() if p != gone})
    before = named(whole, batches_of_patients(whole, 2, n_batches, 0, 1))
    after = named(rest, batches_of_patients(rest, 2, n_batches, 0, 1))
    left = [[images for images in batch if not images[0].startswith(f"{gone}-")] for batch in before]
    assert left == after
    assert sum(a != b for a, b in zip(before, after, strict=True)) == 1


def test_an_image_of_nobody_known_is_a_patient_of_its_own():
    source = source_of({"": 9, "a": 2})
    batches = batches_of_patients(source, 5, 4, 0, 0)
    assert sorted(len(patient.images) for batch in batches for patient in batch) == [1] * 9 + [2]
    assert sum(bool(batch) for batch in batches) > 1


def test_batches_are_cut_anew_in_every_epoch_and_are_about_alike():
    source = source_of({f"p{n}": 1 for n in range(400)})
    first, second = (named(source, batches_of_patients(source, 1, 10, 0, epoch)) for epoch in (0, 1))
    assert first != second
    assert all(20 <= len(batch) <= 65 for batch in (*first, *second))
    assert Counter(len(batch) > 0 for batch in first)[True] == 10


def test_the_same_images_of_a_patient_are_used_in_every_epoch():
    source = source_of({"a": 6})
    used = {tuple(batches_of_patients(source, 2, 1, 0, epoch)[0][0].images) for epoch in range(5)}
    assert len(used) == 1


def test_the_recipe_alone_says_how_many_batches_there_are():
    assert public_batches(private_recipe(draws=100, batch_size=32)) == 3
    assert public_batches(private_recipe(draws=5, batch_size=32)) == 1
    with pytest.raises(TrainingError, match="give draws"):
        public_batches(Recipe())
