"""What is kept of a round, and what anybody can verify of it afterwards."""

import json

import pytest
from round_sites import Mortal, cohort, run, terms_for, unreachable

from aggregator.rounds.round_store import RoundStore, same_question
from federation.errors import FedprintError, StoreError
from federation.round_messages import CONFIRM, MASK, STEPS
from federation.secagg.transcript import Transcript


@pytest.fixture
def opened(tmp_path):
    sites = cohort(s3={MASK: unreachable})
    return run(sites, terms_for(sites), tmp_path).result.kept


def test_an_opened_round_keeps_its_sum_and_its_transcript(opened):
    names = {path.name for path in opened.folder.iterdir()}
    assert names == {"terms.json", "transcript.json", "unmask.safetensors"}
    opened.finish("an id")
    assert {path.name for path in opened.folder.iterdir()} == {
        "terms.json",
        "transcript.json",
        "finished.json",
    }
    assert opened.result() == "an id"


def test_only_the_owner_reads_it(opened):
    assert {path.stat().st_mode & 0o777 for path in opened.folder.iterdir()} == {0o600}


def test_the_transcript_tells_who_signed_what(opened):
    transcript = opened.transcript()
    transcript.verify()
    assert transcript.terms == opened.terms
    assert len(transcript.survivors.alive) == 3
    assert transcript.survivors.dead == tuple(opened.departures()[MASK])
    assert Transcript.from_json(transcript.to_json()) == transcript


def alter(transcript, path, change):
    value = json.loads(json.dumps(transcript.to_json()))
    *above, last = path
    inner = value
    for key in above:
        inner = inner[key]
    inner[last] = change(inner[last])
    return value


LIES = {
    "other terms": (("terms", "purpose"), lambda _: {"purpose": "another"}),
    "later expiry": (("terms", "expires"), lambda at: at + 1),
    "other keys": (("directory", "blobs", "directory"), lambda text: "00" + text[2:]),
    "a survivor less": (("survivors", "body", "alive"), lambda names: names[1:]),
    "a survivor more": (("survivors", "body", "dead"), lambda _: []),
    "one alive and dead": (("survivors", "body", "dead"), lambda dead: ["site-0000", *dead]),
    "a signature of another": (("confirmations", "blobs", "signatures"), lambda t: t[128:256] + t[128:]),
    "too few confirmations": (("confirmations", "body", "sites"), lambda names: names[1:]),
    "a missing part": (("survivors",), lambda _: {}),
}


@pytest.mark.parametrize("lie", LIES)
def test_an_altered_transcript_is_noticed(opened, lie):
    altered = alter(opened.transcript(), *LIES[lie])
    with pytest.raises(FedprintError):
        Transcript.from_json(altered).verify()


def test_a_round_id_begins_once(tmp_path):
    sites, store = cohort(), RoundStore(tmp_path)
    store.begin(terms_for(sites), "job-1")
    with pytest.raises(StoreError, match="there was a round"):
        store.begin(terms_for(sites), "job-2")


def test_rounds_differ_in_what_they_ask_and_not_in_when():
    sites = cohort()
    terms = terms_for(sites)
    assert same_question(terms, terms_for(sites, "2" * 32, expires=3e9))
    assert not same_question(terms, terms_for(sites, length=6))
    assert not same_question(terms, terms_for(sites[:3]))


@pytest.mark.parametrize("step", STEPS[:3])
def test_a_damaged_step_ends_the_round_and_the_next_run_begins_another(tmp_path, step):
    sites = cohort()
    run(sites, terms_for(sites), tmp_path, wrap=lambda grid: Mortal(grid, CONFIRM, "push"))
    [kept] = RoundStore(tmp_path).rounds()
    path = kept.folder / f"{step}.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    assert isinstance(run(sites, terms_for(sites), tmp_path).error, StoreError)
    done = run(sites, terms_for(sites, "1" * 32), tmp_path)
    assert done.result.terms.round_id == "1" * 32
