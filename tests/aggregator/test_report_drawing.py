"""What the report draws: clusters that are there, labels and colours that can be told apart, plain words."""

import csv
import re
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from html_tree import parse
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from report_samples import MODALITIES, SITES, bkld, catalogue, entry, histograms, squared_l2

from aggregator.report.clustering import cluster, dissimilarity, ranks_within_target
from aggregator.report.graph import neighbour_graph
from aggregator.report.groups import group_tasks
from aggregator.report.heatmap import Heatmap
from aggregator.report.layout import place, separate
from aggregator.report.palette import N_LEVELS, contrast, ramp, text_on
from aggregator.report.render import render_report
from aggregator.report.words import say_privacy, say_time, say_value, shorten
from federation.privacy.statement import PrivacyStatement
from federation.trust import TrustMode


class TestClustering:
    @given(arrays.arrays(np.int64, (5, 5), elements=st.integers(0, 50)), st.integers(-9, 9))
    def test_dissimilarity_ignores_what_a_target_adds_to_its_column(
        self, matrix: np.ndarray, add: int
    ) -> None:
        plain, shifted = matrix.astype(float), matrix + np.arange(5.0) * add
        np.testing.assert_array_equal(dissimilarity(shifted), dissimilarity(plain))

    def test_dissimilarity_of_bkld_is_that_of_the_histograms(self) -> None:
        h = histograms(10)
        close = np.corrcoef(dissimilarity(bkld(h)).ravel(), squared_l2(h).ravel())[0, 1]
        assert close > 0.999

    def test_pair_known_in_one_direction_takes_that_value(self) -> None:
        matrix = np.array([[0.0, np.nan, 4.0], [1.0, 0.0, 3.0], [4.0, 3.0, 0.0]])
        assert dissimilarity(matrix)[0, 1] == 0.25

    def test_pair_never_compared_counts_as_most_unlike(self) -> None:
        matrix = np.array([[0.0, np.nan, 1.0], [np.inf, 0.0, 2.0], [1.0, 2.0, 0.0]])
        assert dissimilarity(matrix)[0, 1] == 1.0

    @given(arrays.arrays(np.float64, (6, 6), elements=st.floats(0, 4)))
    def test_ranks_do_not_change_under_a_rising_function(self, matrix: np.ndarray) -> None:
        rounded = np.round(matrix, 2)
        np.testing.assert_array_equal(ranks_within_target(rounded), ranks_within_target(np.exp(rounded)))

    def test_order_puts_the_tasks_of_a_cluster_side_by_side(self) -> None:
        order = Heatmap("bkld", bkld(histograms(15))).clustering.order
        groups = [index % len(MODALITIES) for index in order]
        assert sum(a != b for a, b in pairwise(groups)) == len(MODALITIES) - 1

    def test_tree_has_one_merge_fewer_than_leaves_and_stays_in_its_box(self) -> None:
        found = cluster(dissimilarity(bkld(histograms(12))))
        points = [float(number) for number in re.findall(r"[MVH ](\d[\d.e-]*)", found.tree)]
        assert found.tree.count("M") == 11
        assert min(points) >= 0
        assert max(points) <= 12


class TestMap:
    @settings(max_examples=30, deadline=None)
    @given(st.integers(2, 25), st.integers(0, 10_000))
    def test_boxes_never_overlap_wherever_they_start(self, n: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        boxes = rng.uniform(10, 120, (n, 2))
        points = separate(rng.integers(0, 3, (n, 2)) * 40.0, boxes)
        assert overlaps(points, boxes) == 0

    @pytest.mark.parametrize("n_tasks", [2, 8, 60])
    def test_no_two_labels_collide(self, n_tasks: int) -> None:
        boxes = np.tile([150.0, 56.0], (n_tasks, 1))
        heat = Heatmap("bkld", bkld(histograms(n_tasks)))
        points = place(heat.unlike, heat.clustering.order, boxes)
        assert overlaps(points, boxes) == 0
        assert (points - boxes / 2).min() == 0

    def test_nearest_source_on_the_map_is_the_nearest_in_the_matrix(self) -> None:
        report = catalogue(10)
        matrix = report.matrices["bkld-small"] + np.diag([np.inf] * 10)
        keys = [task.key for task in report.tasks]
        graph = neighbour_graph(Heatmap("bkld", matrix), keys, group_tasks(report.tasks)[1])
        first = {arrow.target: arrow.source for arrow in graph.arrows if arrow.rank == 1}
        assert first == dict(enumerate(matrix.argmin(axis=0)))
        assert len(graph.arrows) == 30

    def test_alike_tasks_stand_closer_than_others(self) -> None:
        heat = Heatmap("bkld", bkld(histograms(15)))
        points = place(heat.unlike, heat.clustering.order, np.tile([20.0, 20.0], (15, 1)))
        gaps = np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1))
        same = np.subtract.outer(np.arange(15), np.arange(15)) % len(MODALITIES) == 0
        assert gaps[same & ~np.eye(15, dtype=bool)].mean() < 0.5 * gaps[~same].mean()

    def test_colours_show_modality_or_site_where_all_modalities_agree(self) -> None:
        assert group_tasks([entry(0), entry(1)])[0] == "modality"
        by, groups = group_tasks([entry(i, modality="CT") for i in range(11)])
        assert by == "site"
        assert len({group.symbol for group in groups}) == len(SITES)

    def test_ninth_group_keeps_its_name_and_a_tenth_makes_it_other(self) -> None:
        names = [group.name for group in group_tasks([entry(i, modality=f"m{i}") for i in range(9)])[1]]
        assert names[-1] == "m8"
        names = [group.name for group in group_tasks([entry(i, modality=f"m{i}") for i in range(10)])[1]]
        assert names[-2:] == ["other or not stated"] * 2


def overlaps(points: np.ndarray, boxes: np.ndarray) -> int:
    slack = (boxes[:, None] + boxes[None]) / 2 - np.abs(points[:, None] - points[None])
    return int(np.triu(slack.min(axis=2) > 0.11, k=1).sum())


class TestColours:
    @pytest.mark.parametrize("dark", [False, True])
    def test_every_number_in_a_cell_is_readable(self, dark: bool) -> None:
        full = {"#000": "#000000", "#fff": "#ffffff"}
        assert min(contrast(colour, full[text_on(colour)]) for colour in ramp(dark)) >= 4.5

    @pytest.mark.parametrize("dark", [False, True])
    def test_lightness_runs_one_way_from_near_to_far(self, dark: bool) -> None:
        against_white = np.array([contrast(colour, "#ffffff") for colour in ramp(dark)])
        assert len(against_white) == N_LEVELS
        assert (np.diff(against_white) > 0).all() if dark else (np.diff(against_white) < 0).all()

    @pytest.mark.parametrize("dark", [False, True])
    def test_text_and_symbols_stand_out_from_the_page(self, dark: bool) -> None:
        style = parse(render_report(catalogue(1))).one("style").raw
        light, night = re.findall(r":root \{(.*?)\}", style, re.S)[:2]
        colours = dict(re.findall(r"--([\w-]+): (#\w+)", night if dark else light))
        full = {k: v if len(v) == 7 else "#" + "".join(2 * c for c in v[1:]) for k, v in colours.items()}
        for background in ("bg", "surface"):
            assert min(contrast(full[name], full[background]) for name in ("ink", "muted", "accent")) >= 4.5
            assert min(contrast(full[f"g{i}"], full[background]) for i in range(9)) >= 3
        assert contrast(full["warn"], full["warn-bg"]) >= 4.5


class TestWords:
    @pytest.mark.parametrize(
        ("value", "said"),
        [(0.0, "0"), (0.5, "0.500"), (12.34, "12.3"), (123.4, "123"), (4321.0, "4321"), (1.5e7, "1.5e+07"),
         (4.2e-5, "4.2e-05"), (-0.25, "-0.250"), (np.nan, "n/a"), (np.inf, "∞"), (-np.inf, "−∞")],
    )  # fmt: skip
    def test_distances_have_three_digits(self, value: float, said: str) -> None:
        assert say_value(value) == said

    def test_long_text_loses_its_middle(self) -> None:
        assert shorten("cholec80 specimen bag presence", 16) == "cholec80 s…sence"
        assert shorten("two\n words ", 16) == "two words"

    def test_times_are_said_in_utc(self) -> None:
        assert say_time(datetime.fromisoformat("2026-03-14T10:26:59+01:00")) == "2026-03-14 09:26 UTC"
        assert say_time(datetime(2026, 3, 14, 9, 26)) == "2026-03-14 09:26"

    @pytest.mark.parametrize("mode", list(TrustMode))
    def test_every_trust_mode_has_plain_words(self, mode: TrustMode) -> None:
        for mechanism in ("none", "discrete Gaussian"):
            short, full = say_privacy(PrivacyStatement(mode, mechanism, "patient"))
            assert short
            assert full.endswith(".")


@pytest.mark.reference
def test_published_distances_put_the_seven_cholec80_tasks_side_by_side(shared: Path) -> None:
    published = shared / "reference/knowledge_silos/distances/js_100.csv"
    table = list(csv.reader(published.read_text().splitlines()))
    names = [row[0] for row in table[1:]]
    columns = [table[0].index(name) for name in names]
    matrix = np.array([[float(row[column] or "nan") for column in columns] for row in table[1:]])
    order = Heatmap("js", matrix).clustering.order
    places = [place for place, index in enumerate(order) if names[index].startswith("cholec80")]
    assert len(places) == 7
    assert max(places) - min(places) == 6
