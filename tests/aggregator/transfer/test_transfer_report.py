"""The report as a folder: one page that opens offline, and tables."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from html_tree import parse
from transfer_findings import addresses, consortium, failed, finding, findings, without

from aggregator.transfer.report.contents import contents
from aggregator.transfer.report.write import write_tables
from aggregator.validation.selectors import NO_TRANSFER, RANDOM, RECOMMENDER
from federation.errors import TransferError

N = 9
PLAN = {"name": "night <run>", "seeds": [0, 1], "target_training": {"epochs": 10, "draws": None}}


def perfect():
    """Gains that follow one of the distances exactly."""
    found = consortium(N)
    near = np.nan_to_num(found.study.distances["near"])
    return found, findings(0.05 - 0.05 * near, found.study.tasks)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found, measured = perfect()
    tasks = found.study.tasks
    card = replace(found.cards[tasks[0]], modality="<script>alert(1)</script>")
    found = replace(found, cards={**found.cards, tasks[0]: card})
    more = [
        failed(tasks[0], tasks[1], "training at site0", scenario="combined"),
        failed(tasks[2], tasks[1], "<b>no-reply</b> at site0", scenario="combined"),
        *(without(task, 0.6, "scratch") for task in tasks),
        *(without(task, 0.7) for task in tasks),
    ]
    place = tmp_path_factory.mktemp("report")
    write_tables([*measured, *more], found, place, PLAN)
    return place


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_distance_that_knows_everything_has_no_regret_and_the_true_order():
    found, measured = perfect()
    results = {each.selector: each for each in contents(measured, found).results}
    near = results["near"]
    assert near.means["weighted_tau"] == pytest.approx(1.0)
    assert near.means["spearman"] == pytest.approx(1.0)
    assert near.means["percentile_at_3"] == pytest.approx((N - 2) / (N - 1))
    assert near.means["negative_transfer_rate"] == 0
    assert near.improvement_rate == [1.0] * 5
    # Of the three it chooses, the first is the best there is.
    assert near.means["regret_at_3"] < results[RANDOM].means["regret_at_3"]
    assert {RECOMMENDER, NO_TRANSFER, "largest_source", "chance"} <= results.keys()


def test_the_page_is_one_file_without_links_to_anywhere(folder):
    text = (folder / "report.html").read_text()
    page = parse(text)
    assert "http" not in text.replace("http-equiv", "")
    assert not page.all("script")
    assert not page.all("link")
    links = [each.attributes["href"] for each in page.all("a")]
    assert links
    assert all(link.startswith("#") for link in links)
    anchors = {each.attributes["id"] for each in page.all() if "id" in each.attributes}
    assert {link[1:] for link in links} <= anchors


def test_names_and_reasons_are_text_and_never_markup(folder):
    text = (folder / "report.html").read_text()
    assert "night &lt;run&gt;" in text
    assert "&lt;b&gt;no-reply" in text
    assert "<b>no-reply" not in text
    assert "<script" not in text


def test_every_failure_is_shown_with_its_reason(folder):
    page = parse((folder / "report.html").read_text())
    assert "2 experiments failed" in page.one("div", **{"class": "warning"}).text
    assert "training at site0" in page.one("details", **{"class": "failed"}).text
    assert [row["reason"] for row in rows(folder / "failures.csv")] == [
        "<b>no-reply</b> at site0",
        "training at site0",
    ]


def test_the_page_says_what_the_budget_was(folder):
    text = parse((folder / "report.html").read_text()).one("section", id="ran").text
    assert "target_training.epochs 10" in text
    assert "draws" not in text


def test_tables_agree_with_each_other_and_json_is_strict(folder):
    def refuse(value):
        raise AssertionError(f"{value} is not strict JSON")

    found = json.loads((folder / "results.json").read_text(), parse_constant=refuse)
    pairs = rows(folder / "pairs.csv")
    assert len(pairs) == len(found["pairs"]) == 2 * N * (N - 1)
    assert [float(row["gain"]) for row in pairs] == [row["gain"] for row in found["pairs"]]
    near = next(each for each in found["selectors"] if each["selector"] == "near")
    assert near["weighted_tau"] == pytest.approx(1.0)
    assert {row["selector"] for row in rows(folder / "selectors.csv")} >= {"near", RANDOM, RECOMMENDER}
    assert "| near |" in (folder / "report.md").read_text()


def test_markdown_keeps_signs_of_its_own_out_of_cells(folder):
    assert "\\<b\\>no-reply\\</b\\>" in (folder / "report.md").read_text()


def test_equal_findings_give_equal_bytes(tmp_path):
    found, measured = perfect()
    for name in ("a", "b"):
        write_tables(measured, found, tmp_path / name, PLAN)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_a_plan_of_which_everything_failed_still_has_a_report(tmp_path):
    a, b, c = addresses(3)
    write_tables(
        [failed(a, b, "no-reply at site0"), failed(c, b, "policy at site0")], consortium(3), tmp_path
    )
    page = parse((tmp_path / "report.html").read_text())
    assert "2 experiments failed" in page.text
    assert "Nothing can be judged" in page.text
    assert rows(tmp_path / "pairs.csv") == []


def test_a_plan_without_a_single_experiment_has_none(tmp_path):
    with pytest.raises(TransferError, match="no experiment"):
        write_tables([], consortium(3), tmp_path)


def test_few_seeds_are_said_to_be_few():
    found, measured = perfect()
    assert any("2 seeds" in note for note in contents(measured, found).notes)


def test_a_step_that_experiments_share_is_timed_once(tmp_path):
    found = [finding("site0/t00", f"site0/t0{i}", 0.8) for i in (1, 2)]
    seconds = {"source pretraining site0/t00 0": 60.0}
    seconds |= {f"pretraining site0/t00 site0/t0{i} 0": 5.0 for i in (1, 2)}
    write_tables(found, replace(consortium(3), step_seconds=seconds), tmp_path)
    told = json.loads((tmp_path / "results.json").read_text())
    assert told["ran"]["seconds"] == 70.0
    assert [row["seconds"] for row in told["experiments"]] == [70.0]


def test_measured_experiments_without_a_baseline_are_counted(tmp_path):
    found = [finding("site0/t00", "site0/t01", 0.8), finding("site0/t02", "site0/t01", 0.8, seed=1)]
    write_tables([found[0], replace(found[1], baseline={})], consortium(3), tmp_path)
    notes = json.loads((tmp_path / "results.json").read_text())["notes"]
    assert any(note.startswith("1 of 2 measured experiments have no gain") for note in notes)
