"""A catalogue of private fingerprints: distances lose what noise adds, and say what it leaves."""

import csv
import io
import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from factories import (
    make_features,
    make_fingerprint,
    make_identity,
    make_noisy_space,
    make_private_fingerprint,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from aggregator import matrix
from aggregator.export import export_catalogue
from aggregator.recommend import candidates
from aggregator.report.catalogue import REASONS, report_data
from aggregator.report.heatmap import Heatmap
from aggregator.report.render import render_report
from aggregator.store import Catalogue
from aggregator.tables import matrix_json, matrix_table, recommendations_json, tasks_json, tasks_table
from federation import distances
from federation.distances.noise import NoisyTask
from federation.distances.uncertainty import standard_errors
from federation.errors import UnknownNameError
from federation.ranking import rank_sources
from federation.sketches import zeros

SPACE = make_noisy_space("histogram", "cdf")
KEYS = [f"site-{i}/task-{i}" for i in range(5)]


def store_of(tmp_path, space=SPACE, name="catalogue.sqlite"):
    catalogue = Catalogue(tmp_path / name, create=True)
    with catalogue.writing() as writer:
        writer.add_space(space)
    return catalogue


def add(catalogue, *fingerprints):
    with catalogue.writing() as writer:
        for fingerprint in fingerprints:
            writer.add_fingerprint(fingerprint)


def private(tmp_path, space=SPACE, n=5, **how):
    sites = [make_identity(f"site-{i}", tmp_path) for i in range(n)]
    return [
        make_private_fingerprint(site, f"task-{i}", space, seed=i, shift=0.15 * i, **how)
        for i, site in enumerate(sites)
    ]


@pytest.fixture
def catalogue(tmp_path):
    catalogue = store_of(tmp_path)
    yield catalogue
    catalogue.close()


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    noisy=st.lists(st.booleans(), min_size=2, max_size=6),
    weight=st.sampled_from([1, 12]),
    denominator=st.sampled_from([1, 40]),
    batches=st.integers(1, 3),
)
def test_the_growing_matrix_is_the_one_computed_at_once(
    tmp_path_factory, noisy, weight, denominator, batches
):
    folder = tmp_path_factory.mktemp("grown")
    prints = [
        make_private_fingerprint(
            make_identity(f"s{i}", folder),
            "t",
            SPACE,
            seed=i,
            n=400,
            rho=Fraction(1, denominator),
            weight=weight,
        )
        if has_noise
        else open_fingerprint(make_identity(f"s{i}", folder), i)
        for i, has_noise in enumerate(noisy)
    ]
    catalogue = store_of(folder)
    for k in range(0, len(prints), batches):
        add(catalogue, *prints[k : k + batches])
        matrix.grow(catalogue, SPACE)
    bound = [fingerprint.bind(SPACE) for fingerprint in prints]
    for name in ("l2", "cramer", "cdf-l2", "js"):
        expected = distances.get(name).matrix(bound, bound)
        np.testing.assert_allclose(matrix.read(catalogue, SPACE, name).values, expected, rtol=0, atol=1e-12)
    catalogue.close()


def open_fingerprint(identity, seed):
    exact = {name: sketch.update(make_features(seed)) for name, sketch in zeros(SPACE).items()}
    return replace(make_fingerprint(identity, "t", SPACE), sketches=exact).signed_by(identity)


def test_noise_does_not_move_distances_in_one_direction(tmp_path):
    space = make_noisy_space("histogram")
    identities = [make_identity(name, tmp_path) for name in ("a", "b")]
    exact = [make_private_fingerprint(i, "t", space, rho=Fraction(10**12), seed=7) for i in identities]
    truth = distances.get("cramer").matrix([exact[0].bind(space)], [exact[1].bind(space)])[0, 0]
    prints = [
        make_private_fingerprint(i, f"t{k}", space, seed=7, rho=Fraction(1, 4), draw=1000 * j + k)
        for j, i in enumerate(identities)
        for k in range(60)
    ]
    catalogue = store_of(tmp_path, space)
    add(catalogue, *prints)
    found = matrix.read(catalogue, space, "cramer")
    between, errors = found.values[:60, 60:], found.standard_errors[:60, 60:]
    assert abs(between.mean() - truth) < errors.mean() / 5
    assert 0.7 < between.std() / errors.mean() < 1.1
    assert found.values.min() < 0


def test_exact_tasks_have_no_error_and_unknown_ones_say_so(catalogue, tmp_path):
    exact = [open_fingerprint(make_identity(name, tmp_path), i) for i, name in enumerate(("u", "v"))]
    add(catalogue, *exact, *private(tmp_path, n=2))
    found = matrix.read_all(catalogue, SPACE)
    for name in ("cramer", "l2", "cdf-l2"):
        errors = found[name].standard_errors
        assert (errors[:2, :2] == 0).all()
        assert (np.diag(errors) == 0).all()
        assert (errors[~np.eye(4, dtype=bool)][2:] >= 0).all()
        assert (errors[2, 3], errors[3, 2]) > (0, 0)
        assert errors[2, 3] > errors[0, 3] > 0
    js = found["js"].standard_errors
    assert (js[:2, :2] == 0).all()
    assert np.isnan(js[0, 2])
    assert np.isnan(js[2, 3])
    assert js[2, 2] == 0
    assert (found["semantic"].standard_errors == 0).all()


def test_what_two_tasks_share_decides_how_certain_their_distance_is(catalogue, tmp_path):
    long, *_ = private(tmp_path, n=1)
    short = make_private_fingerprint(make_identity("short", tmp_path), "t", SPACE, seed=9, levels=1)
    add(catalogue, long, short)
    found, distance = matrix.read(catalogue, SPACE, "cdf-l2"), distances.get("cdf-l2")
    bound = [fingerprint.bind(SPACE) for fingerprint in (long, short)]
    tasks = [NoisyTask.of(fingerprint.sketches["cdf"]) for fingerprint in bound]
    at_one_level = bound[1].sketches["cdf"]
    expected = distance.noise_model.standard_errors(at_one_level, found.values, tasks[:1], tasks[1:])
    assert found.standard_errors[0, 1] == pytest.approx(expected[0, 1])
    with_sketches = standard_errors(distance, SPACE, found.values, bound, bound)
    np.testing.assert_allclose(found.standard_errors, with_sketches)


def test_one_column_knows_the_errors_of_the_matrix(catalogue, tmp_path):
    add(catalogue, *private(tmp_path))
    matrices = matrix.read_all(catalogue, SPACE)
    column = matrix.read_column(catalogue, SPACE, KEYS[2])
    other = matrix.column_of(matrices, KEYS[2])
    for name, found in matrices.items():
        np.testing.assert_array_equal(column.standard_errors[name], found.standard_errors[:, 2])
        np.testing.assert_array_equal(other.standard_errors[name], found.standard_errors[:, 2])


def test_sources_that_noise_cannot_tell_apart_are_ties(catalogue, tmp_path):
    add(catalogue, *private(tmp_path, rho=Fraction(1, 50)))
    ranking = rank_sources(candidates(matrix.read_column(catalogue, SPACE, KEYS[0])), "cramer")
    first = ranking[0]
    assert first.standard_error > 0
    assert first.ties[0][0] == 1
    assert first.ties[0][1] > 1
    assert f"noise cannot tell it from rank 1–{first.ties[0][1]}" in first.reasons
    shown = recommendations_json(ranking)
    assert shown[0]["ties"][0][0] == 1
    assert shown[0]["standard_error"] == first.standard_error


def test_a_distance_without_a_model_says_that_it_does_not_know(catalogue, tmp_path):
    add(catalogue, *private(tmp_path))
    ranking = rank_sources(candidates(matrix.read_column(catalogue, SPACE, KEYS[0])), "js")
    assert ranking[0].standard_error is None
    assert not ranking[0].ties
    assert "how far noise moves it is not known" in ranking[0].reasons


def test_the_json_matrix_has_standard_errors_or_null(catalogue, tmp_path):
    add(catalogue, *private(tmp_path))
    found = json.loads(json.dumps(matrix_json(matrix.read(catalogue, SPACE, "cramer")), allow_nan=False))
    assert found["standard_errors"][0][0] == 0
    assert found["standard_errors"][0][1] > 0
    unknown = matrix_json(matrix.read(catalogue, SPACE, "emd"))["standard_errors"]
    assert unknown[0][:2] == [0, None]


def shown(renderable):
    console = Console(width=250, file=io.StringIO())
    console.print(renderable)
    return console.file.getvalue()


def test_the_table_marks_sources_like_the_nearest(catalogue, tmp_path):
    add(catalogue, *private(tmp_path, rho=Fraction(1, 50)))
    found = matrix.read(catalogue, SPACE, "cramer")
    text = shown(matrix_table("cramer", found.keys, found.values, 250, found.standard_errors))
    assert "≈ noise cannot tell it from the nearest; standard errors 0." in text
    assert text.count("≈") > 1
    emd = matrix.read(catalogue, SPACE, "emd")
    text = shown(matrix_table("emd", emd.keys, emd.values, 250, emd.standard_errors))
    assert "how far it moves emd is not known" in text


def test_tasks_show_what_protects_their_patients(catalogue, tmp_path):
    add(catalogue, *private(tmp_path, n=1, cohorts=2))
    entries = catalogue.tasks(catalogue.listings(SPACE))
    text = " ".join(shown(tasks_table(entries)).split())
    n = entries[0].fingerprint.card.n_images
    for said in (
        f"≈ {n} patients",
        "at δ = 1e-06",
        "per",
        "patient",
        "noise like 1 patient more",
        "sum of 2 releases",
        "ledger",
        "entry 3",
    ):
        assert said in text
    stated = tasks_json(entries)[0]["privacy"]
    assert stated["sigma"]["histogram.counts"] == stated["noise"]["histogram.counts"] ** 0.5
    assert (stated["unit"], stated["cohorts"], stated["ledger_seq"]) == ("patient", 2, 3)


def test_export_writes_standard_errors_where_there_is_noise(catalogue, tmp_path):
    add(catalogue, *private(tmp_path, n=3))
    export_catalogue(catalogue, tmp_path / "out")
    with (tmp_path / "out/standard_errors/cramer.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["", *KEYS[:3]]
    assert float(rows[1][1]) == 0
    assert float(rows[1][2]) > 0
    assert (tmp_path / "out/standard_errors/emd.csv").read_text().count(",,") > 0
    assert not (tmp_path / "out/standard_errors/semantic.csv").exists()


def test_a_space_without_histograms_works_everywhere(tmp_path):
    space = make_noisy_space("cdf")
    catalogue = store_of(tmp_path, space)
    prints = private(tmp_path, space)
    add(catalogue, *prints)
    name = distances.chosen(space)
    bound = [fingerprint.bind(space) for fingerprint in prints]
    found = matrix.read(catalogue, space, name)
    np.testing.assert_allclose(found.values, distances.get("cdf-l2").matrix(bound, bound), atol=1e-12)
    assert set(matrix.read_all(catalogue, space)) == {"cdf-l2", "semantic", "expert"}
    assert not (tmp_path / "catalogue.mapped").exists()
    assert rank_sources(candidates(matrix.read_column(catalogue, space, KEYS[1])), name)
    export_catalogue(catalogue, tmp_path / "out")
    with catalogue.writing() as writer:
        run = {"consortium": "c", "distance": name, "missing": [], "listening": [], "shared_images": {}}
        writer.finish_run("job", space, run)
    assert "cdf-l2" in render_report(report_data(catalogue, name))
    with pytest.raises(UnknownNameError, match=r"'cramer' needs 'histogram' sketches, the space has cdf"):
        matrix.read(catalogue, space, "cramer")
    catalogue.close()


def test_the_heat_map_marks_every_source_that_may_be_the_first(catalogue, tmp_path):
    add(catalogue, *private(tmp_path, rho=Fraction(1, 50)))
    found = matrix.read(catalogue, SPACE, "cramer")
    noisy = Heatmap("cramer", found.values, found.standard_errors)
    for target, key in enumerate(KEYS):
        ranking = rank_sources(candidates(matrix.read_column(catalogue, SPACE, key)), "cramer")
        first, last = ranking[0].ties[0]
        marked = {r.source for r in ranking if first <= r.rank <= last}
        assert {KEYS[source] for source in noisy.tied[:, target].nonzero()[0]} == marked
    cells = [cell for row in noisy.rows() for cell in row if "tied" in cell.css]
    assert len(cells) == noisy.tied.sum() > len(KEYS)
    assert all(cell.rank.startswith("≈") and " ± " in cell.value for cell in cells)
    assert not Heatmap("cramer", found.values).tied.any()


def test_what_rounding_leaves_of_a_distance_to_oneself_is_shown_as_nothing():
    values = np.array([[6.9e-17, 0.2], [0.2, 0.0]])
    assert Heatmap("cdf-l2", values).payload()["values"] == ["0", "0.200", "0.200", "0"]


def test_images_and_patients_are_not_added_up(catalogue, tmp_path):
    secret = private(tmp_path, n=1)[0]
    add(catalogue, open_fingerprint(make_identity("open", tmp_path), 3), secret)
    with catalogue.writing() as writer:
        run = {"consortium": "c", "distance": "cramer", "missing": [], "listening": [], "shared_images": {}}
        writer.finish_run("job", SPACE, run)
    page = " ".join(render_report(report_data(catalogue, "cramer")).split())
    assert f"<b>≈ {secret.card.n_images}</b> patients</li>" in page
    assert "</b> images</li>" in page


def test_the_page_shows_the_statement_and_the_ties(catalogue, tmp_path):
    add(catalogue, *private(tmp_path, rho=Fraction(1, 50)))
    with catalogue.writing() as writer:
        run = {"consortium": "c", "distance": "cramer", "missing": [], "listening": [], "shared_images": {}}
        writer.finish_run("job", SPACE, run)
    page = render_report(report_data(catalogue, "cramer"))
    for said in ("Released with noise: ε = ", "at δ = 1e-06 per patient", "add or remove one patient", "≈ "):
        assert said in page
    for said in (
        "discrete Gaussian",
        "at most 1 image, each once",
        "entry 3, cdcd",
        "not told",
        "Under noise.",
    ):
        assert said in page
    assert "noise cannot tell it from rank 1–" in page
    assert "Hatched cells marked ≈ share the first place" in page


def test_codes_of_privacy_are_said_in_words():
    assert REASONS["budget"] == "its privacy budget does not allow another release"
    assert REASONS["ledger"] == "its privacy ledger is missing or damaged"
