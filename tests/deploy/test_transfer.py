"""Transfer experiments of a simulated consortium, from a plan to findings, outcomes and a report."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from sealed_wire import opened
from small_transfer import write_small_transfer

from aggregator.store import Catalogue
from aggregator.transfer.plan import TransferPlan
from aggregator.transfer.queue import Queue, plan_id_of
from deploy import cli
from deploy.demo_images.holdings import HOLDINGS
from deploy.transfer_simulation import prepare_transfer, run_transfer
from federation.envelope import Envelope
from federation.identity import Identity
from federation.transfer.model import TravellingModel
from federation.transfer.result import StepResult
from site_agent.ledger.storage import LedgerFiles
from site_agent.ledger.verify import verify_ledger
from site_agent.state import SiteState
from site_agent.transfer.turn import BEGUN

SCENARIOS = {"pretraining", "architecture", "augmentation", "co_training"}


@pytest.fixture
def fedprint(monkeypatch, capsys):
    """Run ``fedprint`` with arguments; returns exit status, standard output and standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["fedprint", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        captured = capsys.readouterr()
        return stopped.value.code, captured.out, captured.err

    return run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder in which a plan was carried out, and everything that was sent."""
    folder = tmp_path_factory.mktemp("transfer")
    simulated = prepare_transfer(write_small_transfer(folder))
    return folder, run_transfer(simulated, record=True).sent


@pytest.fixture
def there(finished, tmp_path, monkeypatch):
    """A copy of the finished run that a test may change; the working directory."""
    shutil.copytree(finished[0], tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def findings(folder):
    catalogue = Catalogue(folder / "run" / "catalogue.sqlite")
    return Queue(catalogue, plan_id_of(TransferPlan.read(folder / "plan.toml"))).findings()


def figures(folder):
    return {each.experiment: (each.state, each.scores, each.baseline) for each in findings(folder)}


def begun(folder):
    """Return the steps that were begun at any site, as often as they were."""
    sites = sorted((folder / "run" / "sites").iterdir())
    return [e["step"] for site in sites for e in SiteState(site).events() if e["event"] == BEGUN]


def test_every_scenario_is_measured_against_the_same_baseline(finished):
    found = findings(finished[0])
    assert {(f.state, f.reason) for f in found} == {("done", "")}
    transfers = [f for f in found if f.experiment.arm == "transfer"]
    (without,) = [f for f in found if f.experiment.arm == "scratch"]
    assert {f.experiment.scenario for f in transfers} == SCENARIOS
    stated = {metric: score.value for metric, score in without.scores.items()}
    assert set(stated) == {"auroc", "ba", "ce"}
    assert all(f.baseline == stated for f in transfers)


def test_outcomes_are_in_the_catalogue(finished):
    outcomes = Catalogue(finished[0] / "run" / "catalogue.sqlite").outcomes()
    assert {each.scenario for each in outcomes} == SCENARIOS
    assert {(each.source, each.target) for each in outcomes} == {("anna/digits", "bern/digits")}
    assert all(each.baseline is not None for each in outcomes)


def test_no_image_and_no_file_name_leaves_a_site(finished):
    folder, sent = finished
    said = [*sent, *opened(sent)]
    up = b"".join(blob for each in said if each.direction == "up" for blob in each.blobs)
    assert b'"step_id"' in up
    for site in ("anna", "bern", "cork"):
        assert f"{site}.npz".encode() not in up
        images = np.load(folder / f"{site}.npz")["images"]
        for image in images:
            assert image.tobytes() not in up
            assert (image / 255).astype(np.float32).tobytes() not in up


def replies(sent):
    """Return what sites said, read as the aggregator reads it."""
    up = [each.message for each in opened(sent) if each.direction == "up"]
    records = [message.content for message in up if message.has_content()]
    return [Envelope.from_record(Envelope.kind_of(record), record) for record in records]


def test_only_answers_to_roll_calls_steps_and_the_log_leave_a_site(finished):
    said = replies(finished[1])
    assert {each.kind for each in said} == {"roll-call-reply", "transfer-reply", "witness-reply"}
    assert {name for each in said for name in each.blobs} == {"model"}
    keys = {key for each in said if each.kind == "transfer-reply" for key in each.body}
    assert keys == {"site", "job_id", "nonce", "step_id", "state", "progress", "result"}
    found = {key for each in said if each.body.get("result") for key in each.body["result"]}
    assert found == set(StepResult.model_fields)


def test_models_that_leave_are_signed_backbones_and_nothing_else(finished):
    for each in replies(finished[1]):
        if "model" in each.blobs:
            model = TravellingModel.from_bytes(each.blobs["model"], each.body["result"]["model_id"])
            assert (model.site, model.step_id) == (each.body["site"], each.body["step_id"])
            assert not [name for name in model.weights if "fc" in name or "head" in name]


def test_an_interrupted_run_goes_on_where_it_stopped_and_finds_the_same(finished, tmp_path, monkeypatch):
    simulated = prepare_transfer(write_small_transfer(tmp_path))
    finish, done = Queue.finish, []

    def die_at_the_fifth(self, step_id, result):
        if len(done) == 4:
            raise KeyboardInterrupt
        done.append(step_id)
        finish(self, step_id, result)

    monkeypatch.setattr(Queue, "finish", die_at_the_fifth)
    with pytest.raises(KeyboardInterrupt):
        run_transfer(simulated)
    monkeypatch.setattr(Queue, "finish", finish)
    run_transfer(prepare_transfer(tmp_path / "plan.toml"))
    assert figures(tmp_path) == figures(finished[0])
    assert sorted(begun(tmp_path)) == sorted(set(begun(tmp_path)))


def test_a_plan_that_is_done_asks_no_site_for_a_step(there):
    before = begun(there)
    sent = run_transfer(prepare_transfer(there / "plan.toml"), record=True).sent
    assert begun(there) == before
    assert {each.message.metadata.message_type for each in sent} <= {"query.roll_call", "query.witness"}


def test_a_site_that_takes_no_part_fails_alone(tmp_path, fedprint):
    plan = write_small_transfer(
        tmp_path,
        trusts=("open", "open", "listen"),
        scenarios=("pretraining",),
        sources=("anna/digits", "cork/digits"),
    )
    status, out, _ = fedprint("transfer", "run", plan)
    assert status == 3
    states = {f.experiment.source: (f.state, f.reason) for f in findings(tmp_path)}
    assert states == {
        "": ("done", ""),
        "anna/digits": ("done", ""),
        "cork/digits": ("failed", "policy at cork"),
    }
    assert "policy at cork" in out


def test_a_private_model_travels_and_is_charged_and_one_that_is_too_dear_is_told_of(tmp_path, fedprint):
    noise = "[private]\nnoise_multiplier = 8.0\n"
    plan = write_small_transfer(
        tmp_path, trusts=("private", "open", "open"), scenarios=("pretraining",), extra=noise
    )
    status, out, _ = fedprint("transfer", "run", plan)
    assert (status, "release_eps" in out) == (0, False)
    anna = SiteState(tmp_path / "run" / "sites" / "anna")
    key = Identity.load_or_create("anna", anna.key_path).public_key
    checked = verify_ledger(LedgerFiles(anna.folder), key)
    assert (checked.findings, checked.n_releases) == ((), 1)
    plan.write_text(plan.read_text().replace("= 8.0", "= 4.0"))
    status, out, _ = fedprint("transfer", "run", plan)
    words = " ".join(out.split())
    assert status == 3
    assert "a private model would cost ε = 1.7, more than release_eps = 1" in words
    assert "policy at anna" in words


def test_an_older_version_of_a_plan_that_is_run_again_is_the_latest_of_its_name(there, fedprint):
    plan = there / "plan.toml"
    old = plan.read_text()
    plan.write_text(old.replace("n_train = 40", "n_train = 80").replace('"architecture", ', ""))
    run_transfer(prepare_transfer(plan))
    plan.write_text(old)
    run_transfer(prepare_transfer(plan))
    found = json.loads(fedprint("transfer", "status", "--json")[1])
    assert {each["n_train"] for each in found["findings"]} == {40}


def test_a_consortium_that_only_listens_has_no_experiment(tmp_path, fedprint):
    plan = write_small_transfer(tmp_path, trusts=("listen",) * 3)
    plan.write_text(plan.read_text().replace("targets = ['bern/digits']", 'targets = "all"'))
    status, _, err = fedprint("transfer", "run", plan)
    assert status == 1
    assert "plan small has no experiment: 3 of 3 sites answered" in " ".join(err.split())


def test_run_prints_gains_best_sources_and_where_everything_is(there, fedprint):
    status, out, err = fedprint("transfer", "run", "plan.toml")
    assert (status, err) == (0, "")
    words = " ".join(out.split())
    for expected in ("What transfer brought", "Best source per target", "anna/digits", "fedprint simulate"):
        assert expected in words
    assert (there / "run" / "transfer" / "small" / "report.html").read_text().startswith("<!DOCTYPE html>")


def test_status_counts_experiments_by_scenario_and_state(there, fedprint):
    status, out, _ = fedprint("transfer", "status", "--json")
    found = json.loads(out)
    assert (status, found["plan"], found["experiments"]["done"]) == (0, "small", 5)
    assert {each["site"]: each["working_on"] for each in found["sites"]} == {"anna": None, "bern": None}
    assert {each["scenario"] for each in found["findings"]} == {"baseline", *SCENARIOS}


def test_a_plan_without_a_federation_is_refused_before_any_work(fedprint, tmp_path):
    plan = write_small_transfer(tmp_path)
    plan.write_text(plan.read_text().replace('federation = "federation.toml"\n', ""))
    status, _, err = fedprint("transfer", "run", plan)
    assert status == 1
    assert "names no federation" in " ".join(err.split())
    assert not (tmp_path / "run").exists()


def test_an_unknown_task_is_refused_with_one_like_it(fedprint, tmp_path):
    plan = write_small_transfer(tmp_path, targets=("bern/digit",))
    status, _, err = fedprint("transfer", "run", plan)
    assert status == 1
    words = " ".join(err.split())
    assert "names bern/digit, which is no site/task of federation.toml" in words
    assert "is it bern/digits" in words


@pytest.mark.parametrize("arguments", [(), ("plan.toml", "--demo")])
def test_run_needs_a_plan_or_the_demo(arguments, fedprint):
    status, _, err = fedprint("transfer", "run", *arguments)
    assert status == 1
    assert "--demo" in err


def test_a_plan_that_is_not_there_is_one_message(fedprint, tmp_path):
    status, _, err = fedprint("transfer", "run", tmp_path / "nowhere.toml")
    assert status == 1
    assert "nowhere.toml cannot be read" in " ".join(err.split())


def test_the_demo_s_plan_names_tasks_of_the_demo():
    plan = TransferPlan.read(Path(cli.__file__).parent / "transfer.demo.toml")
    held = {f"{each.site}/{each.task}": each.twin for each in HOLDINGS}
    assert {*plan.targets, *plan.sources} <= set(held)
    assert {held[target] for target in plan.targets} < set(plan.sources)


def test_init_writes_a_plan_that_is_read_and_never_overwrites(fedprint, tmp_path):
    path = tmp_path / "plan.toml"
    assert fedprint("init", "transfer", path)[0] == 0
    assert TransferPlan.read(path).federation == "federation.toml"
    status, _, err = fedprint("init", "transfer", path)
    assert (status, "exists already" in err) == (1, True)
