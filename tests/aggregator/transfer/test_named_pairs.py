"""Pairs that a plan names one by one, as suggestions do."""

import pytest

from aggregator.transfer.offers import Offers
from aggregator.transfer.pairs import check_addresses, choose_pairs
from aggregator.transfer.plan import TransferPlan
from aggregator.transfer.suggest import Suggestion
from aggregator.transfer.suggested import plan_snippet
from federation.errors import ConfigError, UnknownNameError

KNOWN = ("anna/a", "bern/b", "cork/c")
HEAD = 'scenarios = ["pretraining"]\n'


def plan(tmp_path, lines):
    path = tmp_path / "PLAN.toml"
    path.write_text(f'name = "next"\n{HEAD if "scenarios" not in lines else ""}{lines}')
    return TransferPlan.read(path)


def chosen(found, apart=()):
    return choose_pairs(found, KNOWN, Offers({}), apart, {})


def test_only_the_named_pairs_are_run(tmp_path):
    found = plan(tmp_path, 'pairs = [["cork/c", "anna/a"], ["anna/a", "cork/c"], ["bern/b", "anna/a"]]')
    assert chosen(found) == (("bern/b", "anna/a"), ("cork/c", "anna/a"), ("anna/a", "cork/c"))


def test_a_named_pair_that_shares_images_is_left_out(tmp_path):
    found = plan(tmp_path, 'pairs = [["cork/c", "anna/a"], ["bern/b", "anna/a"]]')
    assert chosen(found, (frozenset({"anna/a", "bern/b"}),)) == (("cork/c", "anna/a"),)


@pytest.mark.parametrize(
    ("pairs", "complaint"),
    [
        ('[["anna/a", "anna/a"]]', "source and target"),
        ('[["anna/a", "bern/b"], ["anna/a", "bern/b"]]', "named twice"),
        ('[["anna/a", "bern"]]', "no address"),
    ],
)
def test_pairs_that_make_no_sense_are_refused(tmp_path, pairs, complaint):
    with pytest.raises(ConfigError, match=complaint):
        plan(tmp_path, f"pairs = {pairs}")


def test_a_pair_of_a_site_that_is_not_enrolled_is_refused(tmp_path):
    found = plan(tmp_path, 'pairs = [["oslo/x", "anna/a"]]')
    with pytest.raises(UnknownNameError, match="oslo/x"):
        check_addresses(found, ("anna", "bern"))


def test_suggestions_are_lines_that_a_plan_reads(tmp_path):
    measures = (0.01, 60.0, 0.02, -0.01, 0.05)
    found = [
        Suggestion("pretraining", "auroc", "cork/c", "anna/a", *measures, ("near",)),
        Suggestion("pretraining", "auroc", "anna/a", "bern/b", *measures, ("near",)),
    ]
    read = plan(tmp_path, plan_snippet(found))
    assert chosen(read) == (("cork/c", "anna/a"), ("anna/a", "bern/b"))
    assert read.scenarios == ("pretraining",)
    assert plan_snippet([]) == ""
