from dataclasses import replace

import pytest
from factories import make_fingerprint, make_identity, make_space

from federation.errors import FedprintError, FingerprintError, SignatureError, SpaceMismatchError
from federation.fingerprint import Fingerprint
from federation.sketches import HistogramSketch
from federation.task_card import TaskCard


@pytest.fixture
def identity(tmp_path):
    return make_identity("st-anna", tmp_path)


def test_a_fingerprint_survives_the_disk_bit_by_bit(identity):
    fingerprint = make_fingerprint(identity, "pneumonia", make_space())
    encoded = fingerprint.to_bytes()
    read = Fingerprint.from_bytes(encoded)
    assert read.to_bytes() == encoded
    assert read.card == fingerprint.card
    assert read.provenance == fingerprint.provenance
    assert read.fingerprint_id == fingerprint.fingerprint_id
    assert (read.histogram.counts == fingerprint.histogram.counts).all()
    read.verify(identity.public_key)


def test_exact_means_travel_with_the_histogram(identity):
    space = make_space()
    plain = make_fingerprint(identity, "t", space)
    sketch = HistogramSketch.zero(space.edges, exact_means=True).update(space.edges[:, :3].T)
    fingerprint = replace(plain, sketches={"histogram": sketch}).signed_by(identity)
    read = Fingerprint.from_bytes(fingerprint.to_bytes()).bind(space)
    assert read.histogram == sketch
    assert read.histogram.mean_features() == pytest.approx(space.edges[:, :3].mean(axis=1), abs=1e-7)


def test_every_flipped_bit_is_noticed(identity):
    encoded = make_fingerprint(identity, "t", make_space(4)).to_bytes()
    for position in range(len(encoded)):
        altered = bytearray(encoded)
        altered[position] ^= 1 << (position % 8)
        with pytest.raises(FedprintError):
            Fingerprint.from_bytes(bytes(altered)).verify(identity.public_key)


@pytest.mark.parametrize("keep", [0, 7, 8, 100, -1])
def test_a_truncated_file_is_refused_with_a_remedy(identity, keep):
    encoded = make_fingerprint(identity, "t", make_space()).to_bytes()
    with pytest.raises(FingerprintError, match="truncated, damaged or altered"):
        Fingerprint.from_bytes(encoded[:keep])


def test_another_sites_signature_is_refused(identity, tmp_path):
    other = make_identity("county", tmp_path)
    fingerprint = make_fingerprint(identity, "t", make_space())
    with pytest.raises(SignatureError, match="st-anna/t"):
        fingerprint.verify(other.public_key)


def test_a_changed_card_breaks_the_signature(identity):
    fingerprint = make_fingerprint(identity, "t", make_space())
    boasting = replace(fingerprint, card=replace(fingerprint.card, title="the best dataset"))
    with pytest.raises(SignatureError):
        Fingerprint.from_bytes(boasting.to_bytes()).verify(identity.public_key)


def test_rows_that_disagree_about_the_number_of_images_are_refused(identity):
    fingerprint = make_fingerprint(identity, "t", make_space())
    counts = fingerprint.histogram.counts.copy()
    counts[2, 0] += 1
    forged = replace(fingerprint, sketches={"histogram": HistogramSketch(counts)}).signed_by(identity)
    with pytest.raises(FingerprintError, match="same number of images"):
        Fingerprint.from_bytes(forged.to_bytes())


def test_binding_to_another_space_names_both(identity):
    fingerprint = make_fingerprint(identity, "t", make_space())
    other = make_space(40)
    with pytest.raises(SpaceMismatchError, match=other.space_id[:12]):
        fingerprint.bind(other)


@pytest.mark.parametrize(
    "change",
    [{"n_images": -1}, {"n_images": 1.0}, {"title": 3}, {"classes": []}, {"keywords": "a"}, {"extra": 1}],
)
def test_malformed_cards_are_refused(change):
    with pytest.raises(FingerprintError):
        TaskCard.from_json({**TaskCard("t", 1).to_json(), **change})
