import numpy as np
import pytest
from array_source import ArraySource
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.errors import TrainingError
from site_agent.training.splits import (
    PARTS,
    owner_keys,
    owner_numbers,
    require_classes,
    split_source,
    training_subset,
)


def make_source(labels, patients=None, splits=None):
    return ArraySource(np.zeros((len(labels), 1, 1, 3), np.uint8), labels, splits, patients)


def parts_of(split):
    return {name: set(split.part(name).tolist()) for name in PARTS}


def shares(source, split, label):
    members = set(np.flatnonzero(source.labels == label).tolist())
    return [len(parts_of(split)[name] & members) / len(members) for name in PARTS]


images = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["", "anna", "ben", "carl", "dora", "emil", "fay"])),
    min_size=1,
    max_size=40,
)


@settings(deadline=None)
@given(images, st.data(), st.booleans())
def test_no_patient_is_in_two_parts(drawn, data, alone):
    labels, patients = zip(*drawn, strict=True)
    names = st.sampled_from(["train", "val", "test", "elsewhere"])
    splits = data.draw(st.none() | st.lists(names, min_size=len(labels), max_size=len(labels)))
    source = make_source(labels, patients, splits)
    split = split_source(source, alone=alone)
    keys = owner_keys(source)
    owners = [{keys[i] for i in part} for part in parts_of(split).values()]
    assert sum(map(len, owners)) == len(set().union(*owners))


@settings(deadline=None)
@given(images, st.booleans())
def test_every_image_is_in_one_part_where_the_data_have_none(drawn, alone):
    labels, patients = zip(*drawn, strict=True)
    split = split_source(make_source(labels, patients), alone=alone)
    assert sorted(np.concatenate([split.part(name) for name in PARTS])) == list(range(len(labels)))


def test_every_class_is_divided_60_20_20():
    source = make_source([0] * 200 + [1] * 50)
    split = split_source(source)
    for label in (0, 1):
        assert shares(source, split, label) == [0.6, 0.2, 0.2]


def test_a_class_of_four_patients_is_in_every_part():
    source = make_source([0] * 40 + [1] * 4)
    assert min(shares(source, split_source(source), 1)) > 0


def test_the_split_does_not_depend_on_the_order_of_images():
    labels, patients = [0, 1] * 30, [f"p{i // 3}" for i in range(60)]
    turned = split_source(make_source(labels[::-1], patients[::-1]))
    straight = split_source(make_source(labels, patients))
    assert parts_of(straight)["test"] == {59 - i for i in parts_of(turned)["test"]}


def test_parts_of_the_data_are_kept():
    splits = ["train"] * 6 + ["val"] * 2 + ["test"] * 2
    split = split_source(make_source([0, 1] * 5, splits=splits))
    assert [split.part(name).tolist() for name in PARTS] == [[0, 1, 2, 3, 4, 5], [6, 7], [8, 9]]
    assert split.notes == ()


def test_a_missing_validation_part_comes_from_training_images():
    split = split_source(make_source([0, 1] * 50, splits=["Training"] * 80 + ["testing"] * 20))
    assert split.test.tolist() == list(range(80, 100))
    assert len(split.validation) == 20
    assert set(split.validation.tolist()) < set(range(80))


def test_images_of_splits_of_other_names_are_not_used():
    split = split_source(make_source([0, 1] * 50, splits=["train"] * 80 + ["holdout"] * 20))
    assert max(map(max, parts_of(split).values())) < 80


def test_splits_without_a_training_part_count_as_none():
    split = split_source(make_source([0, 1] * 50, splits=["fold1"] * 50 + ["test"] * 50))
    assert [len(split.part(name)) for name in PARTS] == [60, 20, 20]


def test_a_patient_of_training_and_test_images_is_tested_only():
    patients = ["anna", "ben", "anna", "carl"]
    split = split_source(make_source([0, 1, 0, 1], patients, ["train", "train", "test", "val"]))
    assert (split.train.tolist(), split.test.tolist()) == ([1], [2])
    assert len(split.notes) == 1


def test_a_note_names_no_patient():
    split = split_source(make_source([0, 1, 0], ["anna", "ben", "anna"], ["train", "train", "test"]))
    assert "anna" not in repr(split)


@settings(deadline=None)
@given(images, st.integers(0, 39))
def test_alone_one_patient_changes_no_other_ones_part(drawn, gone):
    labels, patients = zip(*drawn, strict=True)
    patients = [patient or f"patient {i}" for i, patient in enumerate(patients)]
    kept = [i for i, patient in enumerate(patients) if patient != patients[gone % len(patients)]]
    whole = split_source(make_source(labels, patients), alone=True)
    if kept:
        some = make_source([labels[i] for i in kept], [patients[i] for i in kept])
        rest = split_source(some, alone=True)
        before = {patients[i]: name for name in PARTS for i in whole.part(name)}
        after = {some.patients[i]: name for name in PARTS for i in rest.part(name)}
        assert after == {patient: before[patient] for patient in after}


@settings(deadline=None)
@given(st.integers(4, 60), st.integers(0, 3))
def test_a_subset_has_as_many_images_as_were_asked_for(n, seed):
    source = make_source([0] * 40 + [1] * 15 + [2] * 5, [f"p{i // 4}" for i in range(60)])
    train = np.arange(60)
    chosen = training_subset(source, train, n, seed)
    assert len(chosen) == len(set(chosen.tolist())) == n


def test_a_subset_is_as_balanced_as_the_classes_allow():
    source = make_source([0] * 40 + [1] * 15 + [2] * 5)
    chosen = training_subset(source, np.arange(60), 30, 0)
    assert np.bincount(source.labels[chosen]).tolist() == [13, 12, 5]


def test_a_subset_takes_whole_patients_first():
    source = make_source([0] * 40 + [1] * 40, [f"p{i // 4}" for i in range(80)])
    chosen = training_subset(source, np.arange(80), 40, 0)
    assert len(set(owner_numbers(source)[chosen].tolist())) == 10


def test_subsets_of_two_seeds_differ_and_of_one_do_not():
    source = make_source([0, 1] * 50)
    first, second, again = (training_subset(source, np.arange(100), 20, seed).tolist() for seed in (0, 1, 0))
    assert first == again != second


def test_a_part_with_one_class_is_refused():
    with pytest.raises(TrainingError, match="one class in a split: the test images are of 1 class, expected"):
        require_classes(np.array([1, 1]), "test")
