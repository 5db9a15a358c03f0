"""``fedprint hub rounds``: every round, and whether its transcript holds."""

import json

import pytest
from round_sites import Mortal, cohort, refusing, run, terms_for, unreachable
from typer.testing import CliRunner

from aggregator.cli import app
from aggregator.rounds.round_store import RoundStore
from federation.errors import MessageError, StoreError
from federation.round_messages import MASK, SHARE


@pytest.fixture
def folder(tmp_path):
    """An opened round without one site, an abandoned one, and one that waits."""
    sites = cohort(s3={MASK: unreachable})
    run(sites, terms_for(sites), tmp_path / "rounds").result.kept.finish("an id")
    refusers = cohort(s2={SHARE: refusing("policy")}, s3={SHARE: refusing("policy")})
    run(refusers, terms_for(refusers, "1" * 32, purpose={"task": "lungs"}), tmp_path / "rounds")
    sites = cohort()
    waiting = terms_for(sites, "2" * 32, purpose={"task": "hearts"})
    run(sites, waiting, tmp_path / "rounds", wrap=lambda grid: Mortal(grid, MASK, "push"))
    return tmp_path


def rounds(*arguments):
    return CliRunner().invoke(app, ["rounds", *map(str, arguments)], catch_exceptions=True)


def listed(*arguments):
    return json.loads(rounds(*arguments, "--json").stdout)["rounds"]


def test_every_round_is_told_with_its_end(folder):
    told = listed(folder)
    assert [(each["state"], each["task"]) for each in told] == [
        ("finished", ""), ("abandoned", "lungs"), ("mask", "hearts"),
    ]  # fmt: skip
    assert told[0]["departures"] == {MASK: {"site-0003": "failed"}}
    assert told[0]["contributors"] == ["site-0000", "site-0001", "site-0002"]
    assert "2 sites" in told[1]["why"]
    assert told[0]["ended"] >= told[0]["began"]
    assert told[2]["ended"] is None


def test_catalogue_and_folder_name_the_same_rounds(folder):
    (folder / "catalogue.sqlite").touch()
    assert listed(folder / "catalogue.sqlite") == listed(folder) == listed(folder / "rounds")


def test_transcripts_are_verified(folder):
    assert [each["transcript"] for each in listed(folder, "--verify")] == [
        "verified", "not opened", "not opened",
    ]  # fmt: skip
    assert rounds(folder, "--verify").exit_code == 0


@pytest.mark.parametrize(
    ("before", "after"), [('"alive":["site-0000"', '"alive":["site-0009"'), ('"survivors"', '"others"')]
)
def test_an_altered_transcript_is_told_and_is_an_error(folder, before, after):
    kept = RoundStore(folder / "rounds").rounds()[0]
    path = kept.folder / "transcript.json"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
    found = rounds(folder, "--verify")
    assert isinstance(found.exception, MessageError)
    assert kept.terms.round_id in str(found.exception)
    assert "abandoned" in found.stdout


def test_people_read_who_left_where(folder):
    table = rounds(folder).stdout
    assert "site-0003 at mask (failed)" in table
    assert "3 of 4" in table
    assert "waits at mask" in table


def test_a_place_that_is_not_there_is_an_error(folder):
    assert isinstance(rounds(folder / "nowhere").exception, StoreError)
    assert "no round" in rounds(folder / "rounds" / ("0" * 32)).stdout
