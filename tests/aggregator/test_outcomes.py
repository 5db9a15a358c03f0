"""Measured transfer: values, files, and their place in the catalogue."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.outcome_table import Imported
from aggregator.outcomes import COLUMNS, Outcome, baselines, read_outcomes, to_csv, unknown_tasks
from aggregator.store import Catalogue
from aggregator.study import SCENARIOS
from federation.errors import OutcomeError

HEADER = "scenario,metric,seed,source,target,value,baseline\n"
ONE = Outcome("pretraining", "auroc", 0, "anna/cxr", "bern/cxr", 0.93, 0.9)

addresses = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,9}/[a-z0-9][a-z0-9._-]{0,9}", fullmatch=True)
numbers = st.floats(0, 1)
outcomes = st.builds(
    Outcome,
    scenario=st.sampled_from(SCENARIOS),
    metric=st.just("auroc"),
    seed=st.integers(0, 2**31 - 1),
    source=addresses,
    target=addresses.map(lambda address: "t" + address),
    value=numbers,
    baseline=st.none(),
)


@pytest.fixture
def catalogue(place):
    store = Catalogue(place, create=True)
    yield store
    store.close()


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "outcomes.csv"
        path.write_text(text)
        return path

    return write


def add(catalogue, *given, replace=False):
    with catalogue.writing() as writer:
        return writer.add_outcomes(given, replace=replace)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"scenario": "distillation"}, "no scenario 'distillation' → use one of: architecture, pretraining"),
        ({"metric": "AUROC"}, "metric name 'AUROC' is not allowed"),
        ({"seed": -1}, "seed is -1"),
        ({"source": "cxr"}, "'cxr' is no address → write site/task"),
        ({"target": "bern/CXR"}, "task name 'CXR'"),
        ({"target": "anna/cxr"}, "is source and target"),
        ({"value": float("nan")}, "value is nan"),
        ({"baseline": float("inf")}, "baseline is inf"),
    ],
)
def test_what_cannot_be_an_outcome_is_refused(change, complaint):
    with pytest.raises(OutcomeError, match=complaint):
        replace(ONE, **change)


@given(st.lists(outcomes, unique_by=lambda each: each.key, max_size=5))
def test_outcomes_survive_a_file_to_the_last_bit(tmp_path_factory, given_outcomes):
    path = tmp_path_factory.mktemp("csv") / "outcomes.csv"
    path.write_text(to_csv(given_outcomes))
    assert read_outcomes(path).outcomes == tuple(given_outcomes)


def test_comments_blank_lines_and_pairs_without_a_value_are_passed_over(written):
    path = written(
        f"# measured in spring\n{HEADER}\n# anna/cxr\n"
        "pretraining,auroc,0,anna/cxr,bern/cxr,0.93,0.9\n"
        "pretraining,auroc,1,anna/cxr,bern/cxr,,\n"
    )
    content = read_outcomes(path)
    assert (content.outcomes, content.n_unmeasured, content.n_baseline_only) == ((ONE,), 1, 0)


def test_a_baseline_without_a_value_is_counted_apart(written):
    lines = "pretraining,auroc,0,a/x,b/x,,0.5\npretraining,auroc,0,c/x,b/x,,\n"
    content = read_outcomes(written(HEADER + lines))
    assert (content.outcomes, content.n_unmeasured, content.n_baseline_only) == ((), 1, 1)


def test_a_line_that_says_the_same_twice_counts_once(written):
    line = "pretraining,auroc,0,anna/cxr,bern/cxr,0.93,0.9\n"
    assert read_outcomes(written(HEADER + line + line)).outcomes == (ONE,)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", r"outcomes.csv is empty → its first line must be scenario,metric"),
        ("a,b\n1,2\n", r"outcomes.csv begins with 'a,b' → its first line must be"),
        (HEADER + "pretraining,auroc,0,a/x\n", r"outcomes.csv: line 2 has 4 cells, expected 7"),
        (HEADER + "pretraining,auroc,x,a/x,b/x,1,\n", r"outcomes.csv: line 2: seed is 'x'"),
        (HEADER + "#\npretraining,auroc,0,a/x,b/x,high,\n", r"line 3: value is 'high' → use a number"),
        (HEADER + "pretraining,auroc,0,a/x,b/x,nan,\n", r"line 2: value is nan → use a finite number"),
        (
            HEADER + "pretraining,auroc,0,a/x,b/x,93,\n",
            r"value is 93, but auroc lies between 0 and 1 → give sh",
        ),
        (HEADER + "pretraining,ba,0,a/x,b/x,0.9,-1\n", r"baseline is -1, but ba lies between 0 and 1"),
        (HEADER + "pretraining,psnr,0,a/x,b/x,1e300,\n", r"value is 1e\+300, which no metric reaches"),
        (HEADER + "pretraining,psnr,0,a/x,b/x,1_0,\n", r"value is '1_0' → use a number"),
        (HEADER + f"pretraining,psnr,{'9' * 5000},a/x,b/x,1,\n", r"seed is '9+' → use a whole number"),
        (HEADER + "p,auroc,0,a/x,b/x,1,\nq,auroc,0,a/x,b/x,1,\n", r"line 2: .*'p'.*; line 3: .*'q'"),
        (
            HEADER + "pretraining,auroc,0,a/x,b/x,0.1,\npretraining,auroc,0,a/x,b/x,0.2,\n",
            r"lines 2 and 3 measure the same and differ",
        ),
        (
            HEADER + "pretraining,auroc,0,a/x,b/x,0.1,0.5\npretraining,auroc,0,c/x,b/x,0.2,0.6\n",
            r"lines 2 and 3 state two baselines of b/x for pretraining, auroc, seed 0",
        ),
    ],
)
def test_every_problem_of_a_file_names_file_and_line(written, text, complaint):
    with pytest.raises(OutcomeError, match=complaint):
        read_outcomes(written(text))


def test_a_file_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "outcomes.csv"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(OutcomeError, match="is not UTF-8"):
        read_outcomes(path)


def test_outcomes_are_read_back_in_order(catalogue):
    later = replace(ONE, seed=1, value=0.1 + 0.2, baseline=None)
    other = replace(ONE, scenario="architecture", value=-1e-300)
    assert add(catalogue, later, ONE, other) == Imported(added=3, replaced=0, unchanged=0)
    assert catalogue.outcomes() == [other, ONE, later]


def test_importing_the_same_again_changes_nothing(catalogue):
    add(catalogue, ONE)
    assert add(catalogue, ONE) == Imported(added=0, replaced=0, unchanged=1)
    assert catalogue.outcomes() == [ONE]


@pytest.mark.parametrize(("change", "what"), [({"value": 0.5}, "value"), ({"baseline": None}, "baseline")])
def test_another_value_is_refused_unless_it_shall_replace(catalogue, change, what):
    add(catalogue, ONE)
    other = replace(ONE, **change)
    with pytest.raises(OutcomeError, match=rf"another {what} for anna/cxr → bern/cxr.*`--replace`"):
        add(catalogue, replace(ONE, seed=7), other)
    assert catalogue.outcomes() == [ONE]
    assert add(catalogue, other, replace=True) == Imported(added=0, replaced=1, unchanged=0)
    assert catalogue.outcomes() == [other]


def test_a_target_has_one_baseline_per_repetition(catalogue):
    add(catalogue, ONE)
    with pytest.raises(OutcomeError, match=r"bern/cxr has two baselines .*: 0.9 and 0.8"):
        add(catalogue, replace(ONE, source="cork/cxr", baseline=0.8))
    assert catalogue.outcomes() == [ONE]
    elsewhere = replace(ONE, scenario="co_training", baseline=0.8)
    add(catalogue, elsewhere)
    assert baselines([ONE, elsewhere]) == {
        ("pretraining", "auroc", 0, "bern/cxr"): 0.9,
        ("co_training", "auroc", 0, "bern/cxr"): 0.8,
    }


def test_replacing_a_baseline_replaces_it_for_every_source(catalogue):
    other, without = replace(ONE, source="cork/cxr"), replace(ONE, source="dora/cxr", baseline=None)
    add(catalogue, ONE, other, without, replace(ONE, seed=1))
    corrected = replace(ONE, baseline=0.7)
    assert add(catalogue, corrected, replace=True) == Imported(added=0, replaced=2, unchanged=0)
    assert catalogue.outcomes() == [corrected, replace(other, baseline=0.7), without, replace(ONE, seed=1)]


def test_a_second_baseline_is_refused_with_the_way_to_replace_the_first(catalogue):
    add(catalogue, ONE)
    with pytest.raises(OutcomeError, match=r"`--replace` puts the new one in place for all of them"):
        add(catalogue, replace(ONE, source="cork/cxr", baseline=0.8))
    add(catalogue, replace(ONE, source="cork/cxr", baseline=0.8), replace=True)
    assert [each.baseline for each in catalogue.outcomes()] == [0.8, 0.8]


def test_outcomes_that_are_removed_are_gone(catalogue):
    add(catalogue, ONE, replace(ONE, seed=1))
    with catalogue.writing() as writer:
        writer.remove_outcomes([ONE])
    assert catalogue.outcomes() == [replace(ONE, seed=1)]


def test_addresses_that_the_catalogue_does_not_hold_come_with_those_like_them():
    assert unknown_tasks([ONE], ["anna/cxr", "bern/cxr2"]) == {"bern/cxr": ["bern/cxr2"]}
    assert unknown_tasks([replace(ONE, source="zoo/ape")], ["bern/cxr"]) == {"zoo/ape": []}


def test_a_new_catalogue_has_no_outcomes_and_takes_some(catalogue):
    assert catalogue.outcomes() == []
    add(catalogue, ONE)
    assert catalogue.outcomes() == [ONE]


def test_the_columns_of_a_file_are_the_fields_of_an_outcome():
    assert ",".join(COLUMNS) + "\n" == HEADER
