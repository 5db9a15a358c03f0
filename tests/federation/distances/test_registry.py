"""What every registered distance must keep, whatever it compares; new entries join by themselves."""

from dataclasses import replace

import numpy as np
import pytest
from factories import make_features, make_fingerprint, make_identity, make_space

from federation import distances
from federation.errors import UnknownNameError
from federation.sketches import KINDS, FisherSketch, zeros
from federation.sketches.fisher_layout import LayerShape, Layout
from federation.sketches.fisher_parameters import FisherParameters

every_distance = pytest.mark.parametrize("name", distances.names())


def space_with_every_sketch():
    reference, edges = make_features(0, 500), make_space(16).edges
    fisher = FisherParameters(Layout((LayerShape("scales", reference.shape[1], 1),)))
    known = {FisherSketch.kind: fisher.to_space()}
    others = {kind: c.parameters(reference, edges) for kind, c in KINDS.items() if kind not in known}
    return replace(make_space(16), sketches=known | others)


@pytest.fixture(scope="module")
def fingerprint(tmp_path_factory):
    """Return a maker of fingerprints that carry a sketch of every kind, all of one space."""
    space = space_with_every_sketch()
    empty, identity = zeros(space), make_identity("a", tmp_path_factory.mktemp("keys"))

    def make(task, features):
        sketches = {kind: sketch.update(features) for kind, sketch in empty.items()}
        return replace(make_fingerprint(identity, task, space, n=len(features)), sketches=sketches)

    return make


@pytest.fixture(scope="module")
def tasks(fingerprint):
    return [fingerprint(f"t{i}", make_features(i, 60 + 20 * i, shift=i / 5)) for i in range(5)]


@pytest.fixture(scope="module")
def odd_tasks(fingerprint, tasks):
    constant, far = np.full((30, 6), 0.25), make_features(9, 50, shift=40.0)
    return [
        fingerprint("constant", constant),
        fingerprint("one-image", make_features(7, 1)),
        fingerprint("disjoint", far),
        tasks[0],
    ]


def matrix(name, sources, targets):
    return distances.get(name).matrix(sources, targets)


@every_distance
def test_rows_are_sources_and_columns_are_targets(name, tasks):
    full = matrix(name, tasks, tasks)
    assert full.dtype == np.float64
    scale = max(1.0, float(np.abs(full).max()))
    np.testing.assert_allclose(matrix(name, tasks[:2], tasks), full[:2], atol=1e-9 * scale)
    np.testing.assert_allclose(matrix(name, tasks, tasks[3:]), full[:, 3:], atol=1e-9 * scale)


@every_distance
def test_self_distance_symmetry_and_sign_are_as_declared(name, tasks):
    distance, full = distances.get(name), matrix(name, tasks, tasks)
    assert np.isfinite(full).all()
    if distance.zero_self:
        np.testing.assert_allclose(np.diag(full), 0, atol=1e-10)
    if distance.symmetric:
        np.testing.assert_allclose(full, full.T, atol=1e-10)
    else:
        assert (np.abs(full - full.T)[np.triu_indices(5, 1)] > 1e-9).any()
    if distance.non_negative:
        assert (full >= 0).all()


@every_distance
def test_odd_tasks_give_finite_values(name, odd_tasks):
    found = matrix(name, odd_tasks, odd_tasks)
    assert np.isfinite(found).all()
    if distances.get(name).zero_self:
        np.testing.assert_allclose(np.diag(found), 0, atol=1e-10)


@every_distance
def test_comparing_changes_nothing_in_the_fingerprints(name, tasks):
    before = [task.to_bytes() for task in tasks]
    matrix(name, tasks, tasks)
    assert [task.to_bytes() for task in tasks] == before


@every_distance
def test_it_needs_a_kind_of_sketch_that_exists_or_the_task_card(name):
    assert distances.get(name).needs in {*KINDS, "card"}


@pytest.mark.parametrize(
    ("sketches", "expected"),
    [
        (["cdf", "histogram"], "cramer"),
        (["cdf", "fisher"], "cdf-l2"),
        (["fisher"], "fed"),
        (["moments"], "kld-mean-source"),
        ([], "semantic"),
    ],
)
def test_the_default_follows_the_sketches(sketches, expected):
    assert distances.default_for(sketches) == expected


def test_a_distance_that_the_space_does_not_allow_is_refused_with_those_it_allows():
    space = replace(make_space(), sketches={"histogram": {}})
    assert (distances.chosen(space), distances.chosen(space, "sinkhorn")) == ("cramer", "sinkhorn")
    with pytest.raises(
        UnknownNameError, match=r"'fid' needs 'moments' sketches, the space has histogram.*js"
    ):
        distances.chosen(space, "fid")
    with pytest.raises(UnknownNameError, match="no distance 'nearest'"):
        distances.chosen(space, "nearest")
