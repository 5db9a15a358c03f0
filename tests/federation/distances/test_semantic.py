"""Distances between task cards: closed forms, algebra, silence, and the published table."""

import ast
import csv
from dataclasses import replace

import numpy as np
import pytest
from factories import make_fingerprint, make_identity, make_space
from hypothesis import given
from hypothesis import strategies as st

from federation import distances
from federation.distances.semantic import normalised
from federation.errors import FingerprintError
from federation.expert_properties import PROPERTIES, ExpertProperties
from federation.fingerprint import Fingerprint, Provenance
from federation.privacy.statement import PrivacyStatement
from federation.sampling import SamplingPlan
from federation.task_card import TaskCard
from federation.trust import TrustMode

every_card_distance = pytest.mark.parametrize("name", ["semantic", "expert"])

GLANDS = ExpertProperties("specimen", "colour", "varying", "field", "none", "colour")
CHEST = ExpertProperties("body", "grey", "aligned", "one", "cluttered", "texture")

cards = st.builds(
    dict,
    keywords=st.lists(st.sampled_from(["medical", "X-ray", "CT", "lung", "fundus"]), max_size=4).map(tuple),
    properties=st.builds(
        ExpertProperties,
        **{known.name: st.sampled_from([None, *known.answers]) for known in PROPERTIES},
    ),
)


def task(name="t", *, site="a", n=10, **words):
    provenance = Provenance("0.1.0", SamplingPlan(None), "float32")
    privacy = PrivacyStatement(TrustMode.OPEN)
    return Fingerprint(site, TaskCard(name, n, **words), "0" * 64, {}, privacy, provenance)


def between(name, source, target):
    return distances.get(name).matrix([source], [target])[0, 0]


def test_keywords_are_compared_by_jaccard():
    knee, hand = task("a", keywords=("x-ray", "bone", "knee")), task("b", keywords=("x-ray", "bone", "hand"))
    assert between("semantic", knee, hand) == pytest.approx(1 - 2 / 4)
    assert between("semantic", knee, task("c", keywords=("fundus",))) == 1.0
    assert between("semantic", knee, task("d", keywords=("knee", "x-ray", "bone"))) == 0.0


def test_case_spaces_and_unicode_forms_make_no_difference():
    assert normalised(["  Optic\t Disc ", "optic disc", "", " "]) == {"optic disc"}
    assert normalised(["ro\u0308ntgen"]) == normalised(["R\u00f6ntgen"])


def test_expert_counts_the_properties_that_differ():
    assert between("expert", task("a", properties=GLANDS), task("b", properties=GLANDS)) == 0
    assert between("expert", task("a", properties=GLANDS), task("b", properties=CHEST)) == 6
    brown = replace(GLANDS, cue="texture", background="plain")
    assert between("expert", task("a", properties=GLANDS), task("b", properties=brown)) == 2


@pytest.mark.parametrize(("name", "most"), [("semantic", 1), ("expert", 6)])
def test_silence_never_looks_like_resemblance(name, most):
    silent, other = task("a"), task("b")
    described = task("c", keywords=("x-ray",), properties=CHEST)
    assert between(name, silent, other) == most
    assert between(name, silent, described) == most
    assert between(name, silent, silent) == 0


def test_a_property_that_one_card_leaves_out_counts_as_different():
    partly = replace(CHEST, cue=None)
    assert between("expert", task("a", properties=partly), task("b", properties=CHEST)) == 1
    assert between("expert", task("a", properties=partly), task("b", properties=partly)) == 1


@every_card_distance
@given(words=st.lists(cards, min_size=1, max_size=5))
def test_they_are_metrics_between_tasks(name, words):
    tasks = [task(f"t{i}", **said) for i, said in enumerate(words)]
    found = distances.get(name).matrix(tasks, tasks)
    np.testing.assert_array_equal(np.diag(found), 0)
    np.testing.assert_array_equal(found, found.T)
    assert (found >= 0).all()
    assert (found[:, None] <= found[:, :, None] + found[None] + 1e-12).all()


@every_card_distance
def test_all_pairs_agree_with_one_pair_at_a_time(name):
    random = np.random.default_rng(0)
    vocabulary = ["medical", "ct", "mri", "lung", "brain", "fundus"]
    tasks = [
        task(
            f"t{i}",
            keywords=tuple(random.choice(vocabulary, random.integers(0, 5), replace=False).tolist()),
            properties=ExpertProperties(
                **{known.name: str(random.choice([*known.answers])) for known in PROPERTIES}
            ),
        )
        for i in range(12)
    ]
    full = distances.get(name).matrix(tasks[:7], tasks)
    assert full.shape == (7, 12)
    np.testing.assert_array_equal(full, [[between(name, s, t) for t in tasks] for s in tasks[:7]])


@every_card_distance
def test_no_tasks_give_an_empty_matrix(name):
    assert distances.get(name).matrix([], [task()]).shape == (0, 1)
    assert distances.get(name).matrix([task()], []).shape == (1, 0)


@every_card_distance
def test_a_bare_sketch_has_no_card(name, tmp_path):
    fingerprint = make_fingerprint(make_identity("a", tmp_path), "t", make_space())
    with pytest.raises(FingerprintError, match="a HistogramSketch carries no task card"):
        distances.get(name).matrix([fingerprint], [fingerprint.histogram])


@pytest.mark.reference
def test_the_published_table_is_this_distance_minus_a_term_that_grows_with_the_size_of_the_source(shared):
    folder = shared / "reference" / "knowledge_silos"
    with (folder / "task_infos.csv").open() as file:
        infos = {row["name"]: row for row in csv.DictReader(file)}
    with (folder / "distances" / "semantic.csv").open() as file:
        header, *rows = csv.reader(file)
    tasks = {
        name: task(f"t{i}", keywords=tuple(ast.literal_eval(info["keywords"])))
        for i, (name, info) in enumerate(infos.items())
    }
    targets = [name.split("@")[0] for name in header[1:]]
    ours = distances.get("semantic").matrix([tasks[row[0]] for row in rows], [tasks[t] for t in targets])
    term = ours - np.array([[float(value) for value in row[1:]] for row in rows])
    np.testing.assert_allclose(term, np.broadcast_to(term[:, :1], term.shape), atol=2e-6)
    sizes = np.array([int(infos[row[0]]["num_samples"]) for row in rows])
    assert (np.diff(term[np.argsort(sizes, kind="stable"), 0]) > -2e-4).all()
