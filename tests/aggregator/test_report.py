"""The report: one file, the right numbers, harmless whatever a hospital writes on its task card."""

import base64
import csv
import errno
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from html_tree import Element, parse
from report_samples import catalogue, entry

from aggregator.report.clustering import ranks_within_target
from aggregator.report.data import MissingTask, ReportData
from aggregator.report.heatmap import Heatmap
from aggregator.report.render import render_report, write_report
from aggregator.report.words import say_value, without_controls
from federation.errors import StoreError, UnknownNameError
from federation.privacy.statement import PrivacyStatement
from federation.ranking import Recommendation
from federation.trust import MEMBERSHIP_WARNING, TrustMode

HOSTILE = (
    "<script>document.title='owned'</script>",
    "</script><img src=x onerror=\"document.title='owned'\">",
    "</style><style>body{display:none}</style>",
    "\"><a href='javascript:alert(1)'>click</a>",
    "' onmouseover='alert(1)' x='",
    "</title></svg><svg onload=alert(1)>",
    "{{ 7*7 }}{% raw %}${7*7}",
    "]]><!--",
    "javascript:alert(1)",
    "\u202ereversed\u2028\u0000\ud800&amp;",
)


def render(report: ReportData) -> Element:
    return parse(render_report(report))


def matrix_cells(page: Element) -> dict[tuple[int, int], Element]:
    """(source, target) → cell of the heat map."""
    heat = page.one("table", id="heat")
    targets = [int(th.attributes["data-i"]) for th in heat.one("thead").all("th")]
    cells = {}
    for row in heat.one("tbody").all("tr"):
        source = int(row.one("th").attributes["data-i"])
        cells |= {(source, target): td for target, td in zip(targets, row.all("td"), strict=True)}
    return cells


def structure(page: Element) -> list[tuple[str, list[str]]]:
    """Every element with the names of its attributes, whatever the order of the cards."""
    return sorted((element.tag, sorted(element.attributes)) for element in page.walk())


class TestNumbers:
    def test_each_cell_shows_the_rank_of_its_source_within_its_target(self) -> None:
        report = catalogue(9)
        cells = matrix_cells(render(report))
        for target in range(9):
            column = report.matrices["bkld-small"][:, target].copy()
            column[target] = np.inf
            nearest_first = np.argsort(column)[:-1]
            assert [cells[source, target].text for source in nearest_first] == [str(r) for r in range(1, 9)]
            assert cells[target, target].text == ""

    def test_first_recommendation_is_the_darkest_source_of_the_column(self) -> None:
        page = render(catalogue(14))
        cells = matrix_cells(page)
        for card in page.all("article"):
            target = int(card.attributes["data-i"])
            first = card.all("li")[0].one("a").attributes["href"]
            assert cells[int(first.removeprefix("#task-")), target].attributes["class"] == "k0"

    def test_csv_download_is_the_matrix_in_full_precision(self) -> None:
        report = catalogue(6)
        for link in render(report).all("a", download="l2.csv"):
            kind, content = link.attributes["href"].split(",", 1)
            assert kind == "data:text/csv;charset=utf-8;base64"
            rows = list(csv.reader(io.StringIO(base64.b64decode(content).decode())))
        assert rows[0][1:] == [row[0] for row in rows[1:]] == [task.key for task in report.tasks]
        assert np.array_equal(np.array([row[1:] for row in rows[1:]], float), report.matrices["l2"])

    def test_csv_cell_that_a_spreadsheet_would_run_is_made_inert(self) -> None:
        task = replace(entry(0), key="=HYPERLINK(1)/x", site="=HYPERLINK(1)")
        link = render(replace(catalogue(1), tasks=(task,), recommendations={})).all("a", download="l2.csv")[0]
        content = base64.b64decode(link.attributes["href"].split(",", 1)[1]).decode()
        assert "'=HYPERLINK" in content.splitlines()[1]

    def test_table_of_values_follows_the_order_of_the_heat_map(self) -> None:
        report = catalogue(7)
        page = render(report)
        shown = [td.text for td in page.one("table", **{"class": "plain"}).one("tbody").all("td")]
        values = report.matrices["bkld-small"]
        assert shown == [say_value(values[pair]) for pair in matrix_cells(page)]

    def test_page_carries_every_distance_for_the_switch(self) -> None:
        report = catalogue(5)
        data = json.loads(render(report).one("script", id="catalogue").raw)
        assert list(data["distances"]) == sorted(report.matrices)
        for name, shown in data["distances"].items():
            assert sorted(shown["order"]) == list(range(5))
            assert shown["values"] == [say_value(value) for value in report.matrices[name].ravel()]
            ranks = np.nan_to_num(ranks_within_target(report.matrices[name])).ravel()
            assert shown["ranks"] == ranks.tolist()
            assert len(shown["rankLevels"]) == len(shown["valueLevels"]) == 25

    def test_totals_count_listening_sites_and_fingerprinted_images(self) -> None:
        totals = render(catalogue(3)).one("ul", **{"class": "totals"}).text
        assert totals == "4 sites 3 tasks 303 images 1 missing"

    def test_a_page_without_noise_speaks_of_no_ties(self) -> None:
        text = render_report(catalogue(5))
        assert "≈" not in render(catalogue(5)).one("main").text
        assert "Hatched" not in text

    def test_self_distances_of_bkld_are_reported(self) -> None:
        report = catalogue(4)
        own = np.diag(report.matrices["bkld-small"])
        expected = f"distance of {say_value(own.min())} to {say_value(own.max())} to themselves"
        assert expected in render(report).one("section", id="methods").text
        assert "to themselves" not in render(replace(report, distance="l2")).one("section", id="methods").text


class TestCards:
    def test_card_shows_the_top_three_with_reasons_and_keeps_the_rest_folded(self) -> None:
        report = catalogue(8)
        key = report.tasks[0].key
        card = render(report).one("article", id="task-0")
        top, more = card.all("ol")
        ranking = report.recommendations[key]
        assert len(top.all("li")) == 3
        assert len(more.all("li")) == 4
        for item, found in zip(top.all("li") + more.all("li"), ranking, strict=True):
            site, task = found.source.split("/")
            assert item.text.startswith(f"{found.rank} {task} {site} {say_value(found.value)}")
            assert " · ".join(found.reasons) in item.text

    def test_card_shows_what_the_site_states(self) -> None:
        card = render(catalogue(2)).one("article", id="task-1").text
        for part in ("Findings 1 in dermatoscopy", "oslo", "CC BY 4.0", "imaging@oslo.example", "chest"):
            assert part in card

    def test_largest_classes_get_bars_and_the_rest_is_counted(self) -> None:
        classes = {f"class {i}": 10 * (i + 1) for i in range(9)} | {"empty": 0}
        report = replace(catalogue(1), tasks=(entry(0, classes=classes),))
        table = render(report).one("table", **{"class": "classes"})
        assert [bar.attributes["width"] for bar in table.all("rect")][:2] == ["100.0", "88.9"]
        assert "class 8 90" in table.text
        assert "and 4 more classes" in table.text

    def test_card_without_images_in_any_class_has_empty_bars(self) -> None:
        page = render(replace(catalogue(1), tasks=(entry(0, classes={"a": 0}),)))
        assert [bar.attributes["width"] for bar in page.all("rect")] == ["0.0"]

    def test_exact_histograms_come_with_the_membership_warning(self) -> None:
        warning = MEMBERSHIP_WARNING[1:]
        assert warning in render(catalogue(1)).one("article").text
        noisy = PrivacyStatement(TrustMode.PRIVATE, "discrete Gaussian, ε = 4", "patient")
        report = replace(catalogue(1), tasks=(replace(entry(0), privacy=noisy),))
        page = render(report)
        assert warning not in page.text
        assert "(discrete Gaussian, ε = 4). It hides whether any one patient took part" in page.text
        assert "exact histograms" not in page.one("main").text.replace(MEMBERSHIP_WARNING, "")

    def test_recommended_source_outside_the_catalogue_is_named_without_a_link(self) -> None:
        outside = Recommendation("heidelberg/x-ray-findings-0", "old/gone", 1, 1, "l2", 0.5, ("nearest",))
        report = replace(catalogue(1), recommendations={outside.target: (outside,)})
        item = render(report).one("article").all("li")[0]
        assert item.text == "1 gone old 0.500 nearest"
        assert item.all("a") == []

    def test_missing_tasks_and_listening_sites_are_named_with_the_reason(self) -> None:
        gaps = (MissingTask("bergen", "cxr", "the disk is full"), MissingTask("lisbon", "", "no answer"))
        section = render(catalogue(3, missing=gaps)).one("section", id="missing")
        assert [row.text for row in section.one("tbody").all("tr")] == [
            "bergen cxr the disk is full",
            "lisbon all no answer",
        ]
        assert "ghent . This site published nothing" in section.text
        full = render(catalogue(3, missing=(), listening=())).one("section", id="missing")
        assert full.text == "Missing and listening Every expected task arrived."


class TestSafety:
    @pytest.mark.parametrize("text", HOSTILE)
    def test_text_from_a_site_never_becomes_markup(self, text: str) -> None:
        def page(words: str) -> Element:
            card = {"title", "modality", "body_part", "licence", "contact"}
            stated = {**dict.fromkeys(card, words), "keywords": (words,), "classes": {words: 3}}
            tasks = (entry(0, **stated), entry(1, **stated))
            key, other = (task.key for task in tasks)
            advice = Recommendation(key, other, 1, 1, "l2", 0.5, (words,))
            return render(
                replace(
                    catalogue(2),
                    title=words,
                    tasks=tasks,
                    recommendations={key: (advice,)},
                    missing=(MissingTask(words, words, words),),
                    listening=(words,),
                    notes=(words,),
                    space={"name": words, "extractor": {"name": words}},
                )
            )

        harmless, hostile = page("harmless"), page(text)
        assert structure(hostile) == structure(harmless)
        shown = " ".join(str(without_controls(text)).split())
        assert shown in hostile.one("h1").text
        assert shown in hostile.one("article", id="task-0").text

    @pytest.mark.parametrize("text", HOSTILE)
    def test_hostile_addresses_stay_text_in_table_map_and_data(self, text: str) -> None:
        tasks = (replace(entry(0), key=f"{text}/{text}", site=text), entry(1), entry(2))
        harmless = render(catalogue(3, recommendations={}))
        hostile = render(catalogue(3, tasks=tasks, recommendations={}))
        assert structure(hostile) == structure(harmless)
        assert json.loads(hostile.one("script", id="catalogue").raw)["tasks"][0]["key"] == f"{text}/{text}"

    def test_no_address_leads_out_of_the_file(self) -> None:
        page = render(catalogue(12))
        names = {"href", "src", "srcset", "action", "poster", "data", "xlink:href", "formaction"}
        addresses = [e.attributes[name] for e in page.walk() for name in names & e.attributes.keys()]
        inner = {address[1:] for address in addresses if address.startswith("#")}
        assert all(a.startswith(("#", "data:text/csv;")) for a in addresses)
        assert inner <= {e.attributes["id"] for e in page.walk() if "id" in e.attributes}
        html = render_report(catalogue(12))
        assert not re.search(r"https?:|url\(|@import|xmlns|<(link|iframe|img|object|embed|base)\b", html)

    def test_policy_allows_exactly_the_style_and_script_of_the_page(self) -> None:
        page = render(catalogue(3))
        policy = page.one("meta", **{"http-equiv": "Content-Security-Policy"}).attributes["content"]
        executable = [script for script in page.all("script") if "type" not in script.attributes]
        for directive, (element,) in {"style-src": page.all("style"), "script-src": executable}.items():
            digest = hashlib.sha256(element.raw.encode()).digest()
            assert f"{directive} 'sha256-{base64.b64encode(digest).decode()}';" in policy
        assert policy.startswith("default-src 'none';")
        assert "unsafe" not in policy

    def test_no_element_carries_style_or_script_of_its_own(self) -> None:
        names = {name for element in render(catalogue(12)).walk() for name in element.attributes}
        assert not {name for name in names if name == "style" or name.startswith("on")}

    def test_script_never_builds_markup_from_text(self) -> None:
        script = render(catalogue(2)).all("script")[-1].text
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|Function\(", script
        )


class TestShape:
    def test_same_data_give_the_same_bytes(self, tmp_path: Path) -> None:
        for name in ("a.html", "b.html"):
            write_report(catalogue(14), tmp_path / name)
        assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()

    @pytest.mark.parametrize("n_tasks", [0, 1])
    def test_without_a_pair_there_is_no_matrix_and_no_map(self, n_tasks: int) -> None:
        page = render(catalogue(n_tasks))
        assert len(page.all("article")) == n_tasks
        assert page.all("table", id="heat") == page.all("svg", id="graph") == []

    def test_two_tasks_help_each_other(self) -> None:
        page = render(catalogue(2))
        cells = matrix_cells(page)
        assert {pair: cell.text for pair, cell in cells.items()} == {
            (0, 0): "", (0, 1): "1", (1, 0): "1", (1, 1): ""
        }  # fmt: skip
        assert len(page.one("svg", id="graph").all("g", **{"class": "arrow r1"})) == 2

    def test_equal_distances_share_a_rank_and_a_colour(self) -> None:
        page = render(catalogue(5, matrices={"bkld-small": np.ones((5, 5))}, recommendations={}))
        others = [cell for (source, target), cell in matrix_cells(page).items() if source != target]
        assert {cell.text for cell in others} == {"1"}
        assert len({cell.attributes["class"] for cell in others}) == 1

    def test_identical_fingerprints_are_still_drawn_apart(self) -> None:
        page = render(catalogue(4, matrices={"bkld-small": np.zeros((4, 4))}, recommendations={}))
        nodes = [a.all("g")[0].attributes["transform"] for a in page.one("svg", id="graph").all("a")]
        assert len(set(nodes)) == 4

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_pair_that_cannot_be_compared_has_no_rank(self, value: float) -> None:
        matrix = catalogue(5).matrices["bkld-small"].copy()
        matrix[1, 2] = value
        report = catalogue(5, matrices={"bkld-small": matrix})
        page = render(report)
        cells = matrix_cells(page)
        assert (cells[1, 2].attributes["class"], cells[1, 2].text) == ("na", "")
        assert sorted(cells[source, 2].text for source in range(5)) == ["", "", "1", "2", "3"]
        assert say_value(value) in page.one("table", **{"class": "plain"}).text

    def test_matrix_without_any_value_is_drawn_all_the_same(self) -> None:
        report = catalogue(4, matrices={"bkld-small": np.full((4, 4), np.nan)}, recommendations={})
        assert {cell.attributes["class"] for cell in matrix_cells(render(report)).values()} == {"me", "na"}

    def test_huge_distances_do_not_overflow(self) -> None:
        matrix = np.full((4, 4), 1e308) - np.diag([1e308] * 4)
        matrix[0, 1] = -1e308
        assert (
            len(matrix_cells(render(catalogue(4, matrices={"bkld-small": matrix}, recommendations={})))) == 16
        )

    def test_catalogue_too_large_to_draw_keeps_cards_and_files(self) -> None:
        tasks = tuple(entry(i) for i in range(151))
        matrix = np.random.default_rng(0).random((151, 151))
        page = render(catalogue(1, tasks=tasks, matrices={"bkld-small": matrix}, recommendations={}))
        assert page.all("table", id="heat") == []
        assert "151 tasks are more than a page can draw (150)" in page.one("section", id="similarity").text
        assert len(page.all("article")) == 151

    def test_every_control_has_a_name_and_every_table_its_headers(self) -> None:
        page = render(catalogue(6))
        labelled = {id(control) for label in page.all("label") for control in label.walk()}
        controls = page.all("select") + page.all("input")
        assert {id(control) for control in controls} <= labelled
        assert all(th.attributes.get("scope") in ("row", "col") for th in page.all("th"))
        assert all(table.all("caption") for table in page.all("table"))
        regions = page.all(tabindex="0")
        assert regions
        assert all({"role", "aria-label"} <= region.attributes.keys() for region in regions)

    def test_ids_are_unique(self) -> None:
        ids = [
            element.attributes["id"] for element in render(catalogue(14)).walk() if "id" in element.attributes
        ]
        assert len(ids) == len(set(ids))

    def test_matrix_of_another_shape_is_refused(self) -> None:
        with pytest.raises(StoreError, match=r"'l2' has shape \[2, 3\], expected \[2, 2\]"):
            catalogue(2, matrices={"l2": np.zeros((2, 3))}, distance="l2")

    def test_unknown_distance_is_refused_with_the_known_ones(self) -> None:
        with pytest.raises(UnknownNameError, match=r"'js'.*bkld-small.*l2"):
            catalogue(2, distance="js")

    def test_task_given_twice_is_refused(self) -> None:
        with pytest.raises(StoreError, match="'heidelberg/x-ray-findings-0' twice"):
            catalogue(2, tasks=(entry(0), entry(0)))


class TestWriting:
    def test_folders_are_made(self, tmp_path: Path) -> None:
        write_report(catalogue(2), tmp_path / "new" / "deeper" / "report.html")
        page = (tmp_path / "new" / "deeper" / "report.html").read_text("utf-8")
        assert page.startswith("<!DOCTYPE html>")
        assert page.rstrip().endswith("</html>")

    def test_full_disk_leaves_the_old_report_and_nothing_else(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "report.html"
        path.write_text("yesterday's")

        def full(descriptor: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(StoreError, match="No space left on device → free some space") as raised:
            write_report(catalogue(2), path)
        assert str(path) in raised.value.problem
        assert path.read_text() == "yesterday's"
        assert list(tmp_path.iterdir()) == [path]

    def test_unwritable_place_is_named_with_a_remedy(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(
            StoreError, match=r"file/report\.html .* → choose a file in a folder that you may"
        ):
            write_report(catalogue(2), tmp_path / "file" / "report.html")


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium to open the page with")
class TestBrowser:
    def test_script_runs_under_the_policy_and_nothing_a_site_wrote_does(self, tmp_path: Path) -> None:
        tasks = (entry(0, title=HOSTILE[0], contact=HOSTILE[1]), entry(1, modality=HOSTILE[2]), entry(2))
        html = render_report(catalogue(3, tasks=tasks, title="Consortium", notes=HOSTILE))
        page = open_in_browser(html, tmp_path)
        assert page.one("head").one("title").text == "Consortium – fedprint report"
        assert page.one("table", id="heat").attributes["role"] == "grid"
        assert "hidden" not in page.one("form", id="switches").attributes

    def test_switches_show_the_other_distance_and_its_values(self, tmp_path: Path) -> None:
        other = np.random.default_rng(0).random((11, 11))
        report = catalogue(11)
        report = replace(report, matrices={**report.matrices, "other": other})
        act = """
            document.getElementById("distance").value = "other";
            document.querySelector("input[value=values]").checked = true;
            document.getElementById("switches").dispatchEvent(new Event("change"));
        """
        page = open_in_browser(with_script(render_report(report), act), tmp_path)
        cells = matrix_cells(page)
        assert {pair: cell.text for pair, cell in cells.items()} == {
            pair: say_value(other[pair]) for pair in cells
        }
        assert len(cells) == 121
        assert tuple(dict.fromkeys(source for source, _ in cells)) == (
            Heatmap("other", other).clustering.order
        )


def open_in_browser(html: str, folder: Path) -> Element:
    """The document after its scripts ran."""
    (folder / "report.html").write_text(html, "utf-8")
    quiet = "--disable-quic --no-first-run --disable-background-networking --disable-component-update"
    switches = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-sync", *quiet.split()]
    command = [str(CHROMIUM), *switches, f"--user-data-dir={folder / 'profile'}", "--dump-dom"]
    page = (folder / "report.html").as_uri()
    return parse(subprocess.check_output([*command, page], stderr=subprocess.DEVNULL, timeout=120).decode())


def with_script(html: str, script: str) -> str:
    """The page with one more script at its end, which its policy now allows."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    allowed = html.replace("script-src ", f"script-src 'sha256-{digest}' ", 1)
    return allowed.replace("</body>", f"<script>{script}</script></body>")
