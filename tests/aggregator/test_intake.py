from dataclasses import replace

import numpy as np
import pytest
from factories import make_fingerprint, make_identity, make_space

from aggregator.intake import admit
from federation.errors import IntakeError
from federation.sketches import HistogramSketch


@pytest.fixture
def identity(tmp_path):
    return make_identity("st-anna", tmp_path)


def test_a_sound_fingerprint_is_admitted_with_its_edges(identity):
    space = make_space()
    sent = make_fingerprint(identity, "t", space)
    admitted = admit(sent.to_bytes(), "st-anna", "t", identity.public_key, space)
    assert admitted.fingerprint_id == sent.fingerprint_id
    assert (admitted.histogram.edges == space.edges).all()


def refused(identity, fingerprint, *, site="st-anna", task="t", space=None, match):
    encoded = fingerprint if isinstance(fingerprint, bytes) else fingerprint.to_bytes()
    with pytest.raises(IntakeError, match=match):
        admit(encoded, site, task, identity.public_key, space or make_space())


def test_one_flipped_bit_is_refused_naming_site_and_task(identity):
    encoded = bytearray(make_fingerprint(identity, "t", make_space()).to_bytes())
    encoded[-5] ^= 4
    refused(identity, bytes(encoded), match=r"st-anna/t refused: .*(signature|damaged|header|rows)")


def test_a_fingerprint_in_another_space_is_refused(identity):
    refused(identity, make_fingerprint(identity, "t", make_space(40)), match="lives in space")


def test_a_fingerprint_of_another_task_is_refused(identity):
    refused(identity, make_fingerprint(identity, "u", make_space()), match="describes st-anna/u")


def test_a_fingerprint_signed_by_another_key_is_refused(identity, tmp_path):
    impostor = make_identity("st-anna", tmp_path / "elsewhere")
    refused(identity, make_fingerprint(impostor, "t", make_space()), match="signature")


def test_a_card_that_counts_other_images_than_the_histogram_is_refused(identity):
    fingerprint = make_fingerprint(identity, "t", make_space())
    lying = replace(fingerprint, card=replace(fingerprint.card, n_images=5000)).signed_by(identity)
    refused(identity, lying, match="counts 200 images, its card 5000")


def test_a_histogram_of_no_images_is_refused(identity):
    space = make_space()
    fingerprint = make_fingerprint(identity, "t", space)
    empty = HistogramSketch(np.zeros((space.n_features, space.n_bins), dtype=np.int64))
    card = replace(fingerprint.card, n_images=0)
    refused(
        identity,
        replace(fingerprint, sketches={"histogram": empty}, card=card).signed_by(identity),
        match="no image",
    )


def test_a_histogram_of_another_shape_is_refused(identity):
    fingerprint = make_fingerprint(identity, "t", make_space())
    narrow = HistogramSketch(fingerprint.histogram.counts.reshape(3, -1)[:, :20])
    forged = replace(fingerprint, sketches={"histogram": narrow}).signed_by(identity)
    refused(identity, forged, match=r"refused")


def test_a_fingerprint_without_a_histogram_is_refused(identity):
    bare = replace(make_fingerprint(identity, "t", make_space()), sketches={}).signed_by(identity)
    refused(identity, bare, match=r"carries the sketches \[\], its space asks for")
