"""Who is already in a released cohort."""

import os
from dataclasses import replace

import pytest

from federation.errors import ConfigError, PolicyError, StoreError
from site_agent.admissions import Admissions
from tests.support.memory_source import MemorySource

SPACE = "ab" * 32


@pytest.fixture
def admissions(tmp_path):
    return Admissions(tmp_path / "admissions", "pneumonia", SPACE)


def images_of(*patients):
    names = [f"{patient.strip()}-{patients[:i].count(patient)}.png" for i, patient in enumerate(patients)]
    return MemorySource(names, [(1, 2, 3)] * len(names), patients)


def new(admissions, *patients, cohort=None):
    return list(admissions.new_patients(images_of(*patients), cohort).patients)


def test_everybody_is_new_at_first(admissions):
    assert new(admissions, "anna", "bert", "anna") == ["anna", "bert", "anna"]


def test_patients_of_a_released_cohort_are_not_new_even_with_new_images(admissions):
    admissions.remember("january", images_of("anna", "bert"))
    assert new(admissions, "anna", "carl", "anna", "bert ", "dora") == ["carl", "dora"]
    assert new(admissions, "anna") == []


def test_released_images_under_new_ids_are_not_of_new_patients(admissions):
    january = images_of("anna", "bert")
    admissions.remember("january", january)
    renamed = [f"x-{patient}" for patient in january.patients]
    names = [january.name(index) for index in range(len(january))]
    again = MemorySource([*names, "z.png", "y.png"], [(1, 2, 3)] * 4, [*renamed, "x-anna", "carl"])
    assert list(admissions.new_patients(again).patients) == ["carl"]


def test_a_cohort_that_is_being_finished_finds_its_own_patients_again(admissions):
    admissions.remember("january", images_of("anna"))
    admissions.remember("february", images_of("bert"))
    assert new(admissions, "anna", "bert", "carl", cohort="february") == ["bert", "carl"]


def test_to_remember_a_cohort_twice_changes_nothing(admissions):
    admissions.remember("january", images_of("anna", "bert"))
    before = admissions.path.read_bytes()
    admissions.remember("january", images_of("bert", "anna"))
    admissions.remember("january", admissions.tokens(images_of("anna", "bert")))
    assert admissions.path.read_bytes() == before
    assert list(admissions.cohorts) == ["january"]


def test_a_cohort_never_changes_its_patients(admissions):
    admissions.remember("january", images_of("anna"))
    with pytest.raises(PolicyError, match="january was recorded with other patients"):
        admissions.remember("january", images_of("anna", "bert"))
    assert new(admissions, "anna", "bert") == ["bert"]


def test_cohorts_that_share_a_patient_are_refused(admissions):
    admissions.remember("january", images_of("anna", "bert"))
    with pytest.raises(PolicyError, match="february shares patients with january") as refused:
        admissions.remember("february", images_of("bert", "carl"))
    assert "bert" not in str(refused.value)
    assert list(admissions.cohorts) == ["january"]


def test_tasks_and_spaces_have_cohorts_of_their_own(admissions):
    admissions.remember("january", images_of("anna"))
    assert new(replace(admissions, task="cough"), "anna") == ["anna"]
    assert new(replace(admissions, space_id="cd" * 32), "anna") == ["anna"]


def test_the_record_names_nobody_and_is_private(admissions):
    admissions.remember("january", images_of("anna", "patient-4711"))
    for path in (admissions.path, admissions.folder / "secret.key"):
        assert path.stat().st_mode & 0o077 == 0
        assert b"anna" not in path.read_bytes()
        assert b"4711" not in path.read_bytes()
    assert "anna" not in repr(admissions)


def test_the_same_patient_is_remembered_differently_by_tasks_and_sites(admissions, tmp_path):
    others = (replace(admissions, task="cough"), replace(admissions, folder=tmp_path / "other"))
    tokens = [one.tokens(images_of("anna")) for one in (admissions, *others)]
    assert len(set(tokens)) == 3
    assert admissions.tokens(images_of(" anna")) == tokens[0]


def test_a_dataset_that_knows_no_patients_is_refused_with_the_reason(admissions):
    source = MemorySource(["a"], [(1, 2, 3)])
    for refused in (admissions.new_patients, lambda source: admissions.remember("january", source)):
        with pytest.raises(PolicyError, match="does not say whose images it holds"):
            refused(source)


def test_images_without_a_patient_are_refused_with_the_reason(admissions):
    with pytest.raises(PolicyError, match="1 of 3 images have no patient id"):
        admissions.new_patients(images_of("anna", " ", "bert"))


@pytest.mark.parametrize("position", range(0, 400, 13))
def test_a_record_with_any_byte_changed_is_refused(admissions, position):
    admissions.remember("january", images_of("anna", "bert"))
    data = bytearray(admissions.path.read_bytes())
    data[position % len(data)] ^= 1
    admissions.path.write_bytes(data)
    with pytest.raises(StoreError, match=r"damaged.*restore the folder"):
        new(admissions, "anna")
    with pytest.raises(StoreError, match="damaged"):
        admissions.remember("february", images_of("carl"))


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"seal":1}', b'{"seal":"\xc3\xa9"}', b"\xff"])
def test_a_record_that_is_something_else_is_refused(admissions, content):
    admissions.remember("january", images_of("anna"))
    admissions.path.write_bytes(content)
    with pytest.raises(StoreError, match="damaged"):
        new(admissions, "anna")


def test_a_record_of_another_task_is_refused(admissions):
    admissions.remember("january", images_of("anna"))
    other = replace(admissions, task="cough")
    other.path.parent.mkdir()
    other.path.write_bytes(admissions.path.read_bytes())
    with pytest.raises(StoreError, match="damaged"):
        new(other, "anna")


def test_a_lost_or_replaced_secret_makes_nobody_new(admissions):
    admissions.remember("january", images_of("anna"))
    secret = admissions.folder / "secret.key"
    secret.write_bytes(bytes(32))
    with pytest.raises(StoreError, match="its secret was replaced"):
        new(admissions, "anna")
    secret.write_bytes(b"short")
    with pytest.raises(StoreError, match="does not hold the secret"):
        new(admissions, "anna")
    secret.unlink()
    with pytest.raises(StoreError, match="is lost"):
        new(admissions, "anna")
    assert not secret.exists()


def test_a_crash_while_writing_leaves_the_record_as_it_was(admissions, monkeypatch):
    admissions.remember("january", images_of("anna"))

    def crash(_descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", crash)
        with pytest.raises(StoreError, match="No space left"):
            admissions.remember("february", images_of("bert"))
    assert new(admissions, "anna", "bert") == ["bert"]


def test_cohorts_with_impossible_names_are_refused(admissions):
    with pytest.raises(ConfigError, match="cohort name"):
        admissions.remember("../january", images_of("anna"))
