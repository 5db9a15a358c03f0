"""Sketches of bounded patients: how far one of them moves a sketch, and that nobody moves another's share."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from factories import FAR_FUTURE
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.errors import FingerprintError, PolicyError
from federation.privacy.accounting import rho_of
from federation.privacy.mechanism import add_noise
from federation.sampling import SamplingPlan
from federation.sketches import CdfSketch, FisherSketch, HistogramSketch, MeanEmbeddingSketch, MomentSketch
from federation.sketches.fisher_layout import LayerShape, Layout
from federation.sketches.fisher_parameters import FisherParameters, encode_centre
from federation.space import ExtractorIdentity, Space, Transform, equal_width_edges
from site_agent.extraction import sketch
from site_agent.extractors import ExtractorSpec, load_extractor
from site_agent.fisher import task as fisher_task
from site_agent.fisher.head import LinearHead
from site_agent.fisher.montecarlo import MonteCarlo
from site_agent.fisher.recipe import FisherRecipe
from site_agent.kept_sketches import sketch_once
from site_agent.loading import ImageStream
from site_agent.patients import bound_patients
from site_agent.sketch_work import Sketched, Work
from site_agent.weighted_sketches import times
from tests.support.memory_source import MemorySource
from tests.support.sensitivity import assert_within, moves

LAYOUT = Layout((LayerShape("a", 4, 1), LayerShape("b", 2, 1)))
FISHER = FisherParameters(LAYOUT, clip=0.5, scale_bits=20, head="public")
KINDS = {
    "histogram": {},
    "moments": {"step": 2.0**-6, "clip": 3.0},
    "mean-embedding": {"kernel": "cauchy", "bandwidth": 2.0, "n_random": 16, "seed": 0},
    "fisher": FISHER.to_space(),
}
TRANSFORM = Transform(8, "deterministic", "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
IDENTITY = ExtractorIdentity("timm", "colours", "00" * 32, TRANSFORM, 6)
EDGES = equal_width_edges(np.full(6, -2.0), np.full(6, 4.0), 8)
MIXING = np.random.default_rng(0).normal(0, 2, (3, 6))
KINDS["cdf"] = CdfSketch.parameters(np.random.default_rng(1).uniform(0, 1, (99, 3)) @ MIXING, EDGES)
SPACE = Space("colours", IDENTITY, EDGES, "equal-width", "-", KINDS)


class Colours:
    """Six features, each a mixture of the colours of an image."""

    batch_size, portion, arithmetic, ignores_position, n_features = 4, 3, "exact", True, 6

    def __init__(self):
        self.calls = 0

    def __call__(self, images):
        self.calls += 1
        return features_of(images[:, :, 0, 0].numpy())


class Squares:
    """In place of gradients: the squares of the features, whatever the head."""

    def __init__(self, extractor, head, parameters):
        pass

    def __call__(self, images):
        return features_of(images[:, :, 0, 0].numpy()) ** 2


def features_of(colours):
    return np.einsum("nc,cf->nf", np.asarray(colours, float) / 255, MIXING).astype(np.float32)


@pytest.fixture(autouse=True)
def squares_in_place_of_gradients(monkeypatch):
    monkeypatch.setattr(fisher_task, "MonteCarlo", Squares)


def bounded(images, k, space=SPACE, max_unreadable=0.99):
    """The work of sketching images (name, colour, patient)."""
    names, colours, patients = zip(*images, strict=True)
    return Work.of_patients(
        bound_patients(MemorySource(names, colours, patients), k), space, max_unreadable, FAR_FUTURE
    )


def sketched(images, k, space=SPACE, max_unreadable=0.99) -> Sketched:
    return sketch(bounded(images, k, space, max_unreadable), Colours(), lambda *_: None)


colours = st.tuples(*[st.integers(0, 255)] * 3)
patients = st.sampled_from(["anna", "bert", "carl", ""])
people = st.lists(st.tuples(colours, patients), min_size=1, max_size=9)
caps = st.sampled_from([1, 2, 3, 4, 10])


def named(found, prefix="image"):
    return [(f"{prefix} {i}", colour, patient) for i, (colour, patient) in enumerate(found)]


@settings(max_examples=60, deadline=None)
@given(people, st.lists(st.tuples(colours, st.integers(0, 9)), min_size=1, max_size=6), caps)
def test_one_patient_never_moves_any_sketch_further_than_declared(others, own, k):
    before = named(others)
    after = list(before)
    for number, (colour, place) in enumerate(own):
        after.insert(place, (f"new {number}", colour, "newcomer"))
    without, with_newcomer = sketched(before, k), sketched(after, k)
    assert set(with_newcomer.sketches) == set(KINDS)
    assert with_newcomer.n_patients == without.n_patients + 1
    for kind, moved in with_newcomer.sketches.items():
        assert_within(without.sketches[kind], moved, with_newcomer.weight)
        assert moved.n - without.sketches[kind].n == with_newcomer.weight


@settings(max_examples=30, deadline=None)
@given(people, st.lists(st.tuples(colours, st.integers(0, 9)), min_size=1, max_size=6), caps)
def test_a_newcomer_adds_to_the_bit_what_the_newcomer_alone_would_give(others, own, k):
    before, alone = named(others), [(f"new {i}", colour, "newcomer") for i, (colour, _) in enumerate(own)]
    after = list(before)
    for image, (_, place) in zip(alone, own, strict=True):
        after.insert(place, image)
    parts = [sketched(before, k).sketches, sketched(alone, k).sketches]
    for kind, both in sketched(after, k).sketches.items():
        assert parts[0][kind] + parts[1][kind] == both


@given(people, caps)
@settings(max_examples=30, deadline=None)
def test_every_image_counts_as_if_it_were_repeated(found, k):
    work = bounded(named(found), k)
    stream = ImageStream(work.source, TRANSFORM, work.sampling, workers=0)
    features = np.concatenate([features_of(batch.images[:, :, 0, 0]) for batch in stream])
    repeated = np.repeat(features, work.weights, axis=0)
    done = sketch(work, Colours(), lambda *_: None).sketches
    for kind in (HistogramSketch, CdfSketch, MomentSketch, MeanEmbeddingSketch):
        assert done[kind.kind] == kind.for_space(SPACE).update(repeated)
    assert done["fisher"] == FisherSketch.zero(FISHER).update(repeated**2)


def test_the_declared_bound_of_a_histogram_is_reached_by_a_patient_with_any_number_of_images():
    crowd = [("image", (9, 9, 9), "anna")]
    for j in range(1, 5):
        own = [(f"new {i}", (200, 10, 90), "newcomer") for i in range(j)]
        without, after = sketched(crowd, 4), sketched(crowd + own, 4)
        moved = moves(without.sketches["histogram"], after.sketches["histogram"])["counts"]
        bound = after.sketches["histogram"].sensitivity(after.weight)["counts"]
        assert moved == (bound.l1, bound.l2_squared)


def test_images_that_cannot_be_read_leave_the_weights_of_the_others_as_they_are():
    images = [("a", (9, 9, 9), "anna"), ("b", None, "anna"), ("c", (1, 2, 3), "bert"), ("d", None, "carl")]
    found = sketched(images, 2)
    assert (found.n, found.n_patients, found.weight, found.unit) == (2, 2, 2, "patient")
    assert found.sketches["histogram"].n == 1 + 2
    assert [bad.name for bad in found.unreadable] == ["b", "d"]


def test_kept_sketches_know_their_patients_and_are_not_taken_for_others(tmp_path):
    images = [("a", (9, 9, 9), "anna"), ("b", (8, 8, 8), "anna"), ("c", None, "bert")]
    network = Colours()

    def once(work):
        return sketch_once(work, lambda: network, "auto", tmp_path, lambda *_: None)

    first = once(bounded(images, 2))
    calls = network.calls
    assert once(bounded(images, 2)) == first
    assert network.calls == calls
    assert (first.n, first.n_patients, first.weight) == (2, 1, 2)
    others = once(bounded(images, 3))
    assert network.calls > calls
    assert others.weight == 6
    calls, plain = network.calls, bounded(images, 2)
    assert once(replace(plain, patients=None)).sketches["histogram"].n == 2
    assert network.calls > calls


def test_a_kept_sketch_of_an_older_format_is_made_again(tmp_path, caplog):
    work, network = bounded([("a", (9, 9, 9), "anna")], 2), Colours()
    first = sketch_once(work, lambda: network, "auto", tmp_path, lambda *_: None)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes().replace(b"n_patients", b"n_patience"))
    assert sketch_once(work, lambda: network, "auto", tmp_path, lambda *_: None) == first
    assert "is made again" in caplog.text


def test_an_adaptive_plan_stops_in_a_space_without_histogram_where_it_does_with_one():
    bare = replace(SPACE, sketches={"mean-embedding": KINDS["mean-embedding"]})
    source = MemorySource([f"{i}" for i in range(256)], [(i, 255 - i, 7) for i in range(256)])
    plan = SamplingPlan(None, seed=3, tolerance=0.04)
    found = [
        sketch(Work(source, space, plan, 0.2, FAR_FUTURE), Colours(), lambda *_: None)
        for space in (bare, replace(SPACE, sketches={**bare.sketches, "histogram": {}}))
    ]
    assert set(found[0].sketches) == {"mean-embedding"}
    assert found[0].n == found[1].n == found[1].sketches["histogram"].n == 128
    assert found[0].sketches["mean-embedding"] == found[1].sketches["mean-embedding"]


def test_sampling_random_crops_and_variational_estimates_are_refused_for_patients():
    work = bounded([("a", (9, 9, 9), "anna")], 2)
    for plan in (SamplingPlan(5), SamplingPlan(5, replacement=True), SamplingPlan(None, tolerance=0.1)):
        with pytest.raises(PolicyError, match="who is drawn depends on who else is there"):
            replace(work, sampling=plan)
    paper = replace(SPACE, extractor=replace(IDENTITY, transform=replace(TRANSFORM, preprocessing="paper")))
    with pytest.raises(PolicyError, match="'paper' crops at random"):
        replace(work, space=paper)
    variational = replace(FISHER, clip=0.0, estimator="variational", head="fitted").to_space()
    with pytest.raises(PolicyError, match="no sum over patients"):
        replace(work, space=replace(SPACE, sketches={"fisher": variational}))
    fitted = replace(FISHER, head="fitted").to_space()
    with pytest.raises(PolicyError, match="head fitted to the labels"):
        replace(work, space=replace(SPACE, sketches={"fisher": fitted}))
    with pytest.raises(PolicyError, match="others than those that were bounded"):
        replace(work, source=work.source.subset([0]))


@given(st.integers(1, 3000))
def test_a_sketch_times_n_is_the_sketch_of_every_image_n_times(n):
    one = FisherSketch.zero(FISHER).update(features_of([(3, 200, 77)]) ** 2)
    many = times(one, n)
    assert (many.n, many.sums.tolist()) == (n, (one.sums * n).tolist())


def test_a_sketch_times_n_notices_when_numbers_leave_64_bits():
    huge = MomentSketch.zero(1, step=1.0).from_vector(np.array([1, 2**55, 2**55]))
    assert times(huge, 127).sums[0] == 127 * 2**55
    with pytest.raises(FingerprintError, match="overflow"):
        times(huge, 256)


@pytest.fixture(scope="module")
def network():
    return load_extractor(ExtractorSpec("timm", "lcnet_050", "random:0", image_size=32), device="cpu")


class Misplacing(Colours):
    """As a network whose kernels round an image's last bit by its place in the batch."""

    ignores_position = False


def test_arithmetic_in_which_a_place_decides_the_last_bit_is_refused_for_patients_only():
    work = bounded([("a", (9, 9, 9), "anna")], 2)
    with pytest.raises(PolicyError, match="features depend on its place in a batch"):
        sketch(work, Misplacing(), lambda *_: None)
    assert sketch(replace(work, patients=None), Misplacing(), lambda *_: None).n == 1


def test_an_extractor_notices_that_places_matter(network, monkeypatch):
    monkeypatch.delitem(vars(network), "ignores_position", raising=False)
    honest = network._features

    def misplacing(images):
        return honest(images) + torch.arange(len(images))[:, None] * 1e-3

    monkeypatch.setattr(network, "_features", misplacing)
    assert not network.ignores_position
    del vars(network)["ignores_position"]


def pictures(n):
    return torch.randint(256, (n, 3, 32, 32), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


def test_features_of_an_image_are_the_same_to_the_bit_at_every_position(network):
    images = pictures(2 * network.step + 3)
    expected = network(images[:1])[0]
    assert len({row.tobytes() for row in network(images)}) == len(images)
    assert network.ignores_position
    for place in range(len(images)):
        np.testing.assert_array_equal(network(images.roll(place, 0))[place], expected)


def test_squared_gradients_of_an_image_are_the_same_to_the_bit_at_every_position(network):
    weights = np.random.default_rng(0).normal(size=(5, network.n_features))
    head = LinearHead(weights, np.zeros(5), np.arange(5), np.ones(5, np.int64))
    squares = MonteCarlo(network, head, FisherRecipe("filter").parameters(network))
    images = pictures(network.step + 2)
    expected = squares(images[:1])[0]
    assert expected.max() > 0
    for place in (1, network.step - 1, network.step, network.step + 1):
        np.testing.assert_array_equal(squares(images.roll(place, 0))[place], expected)


RHO = Fraction(1, 10)


def with_private_head(images, rho=RHO):
    head = replace(FISHER, head="dp", head_scale=2.0, head_centre=encode_centre(np.zeros(6)), head_share=0.25)
    space = replace(SPACE, sketches={"histogram": {}, "fisher": head.to_space()})
    work = bounded(named(images), 4)
    return Work.of_patients(work.patients, space, 0.99, FAR_FUTURE, rho=rho)


PEOPLE = [((i * 40, 0, 90), f"patient {i % 4}") for i in range(6)]


def test_a_noisy_head_spends_its_share_of_the_fisher_part_and_the_release_is_charged_for_it():
    found = sketch(with_private_head(PEOPLE), Colours(), lambda *_: None)
    most = RHO / 2 / 4
    assert most * Fraction(99, 100) < found.spent["fisher"] <= most
    release = add_noise(found.sketches, RHO, found.weight, spent=found.spent)
    noise = sum(
        rho_of(bound.l2_squared, release.noise[f"{kind}.{name}"])
        for kind, exact in found.sketches.items()
        for name, bound in exact.sensitivity(found.weight).items()
    )
    assert release.rho == noise + found.spent["fisher"] <= RHO


def test_sketches_under_a_noisy_head_are_never_kept_and_each_has_a_head_of_its_own(tmp_path, monkeypatch):
    heads = []

    class Seen(Squares):
        def __init__(self, extractor, head, parameters):
            heads.append(head.weights)

    monkeypatch.setattr(fisher_task, "MonteCarlo", Seen)
    for _ in range(2):
        sketch_once(with_private_head(PEOPLE), lambda: Colours(), "auto", tmp_path, lambda *_: None)
    assert not list(tmp_path.iterdir())
    assert not np.allclose(*heads)


def test_a_private_head_of_bounded_patients_needs_a_budget():
    with pytest.raises(PolicyError, match="without a budget"):
        with_private_head(PEOPLE, rho=Fraction(0))


def test_an_exact_sketch_in_a_space_with_private_heads_has_the_noise_free_head_and_is_kept(tmp_path):
    work = replace(with_private_head(PEOPLE), patients=None, rho=Fraction(0))
    done = sketch_once(work, lambda: Colours(), "auto", tmp_path, lambda *_: None)
    assert done.spent == {}
    assert sketch_once(work, lambda: Colours(), "auto", tmp_path, lambda *_: None).sketches == done.sketches
