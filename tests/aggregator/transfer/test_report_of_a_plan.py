"""Report and suggestions from a catalogue and its queue."""

import json

import pytest
from factories import make_fingerprint, make_identity, make_space
from transfer_findings import failed, finding

from aggregator.store import Catalogue
from aggregator.transfer.next_experiments import suggest_next
from aggregator.transfer.offers import Offers
from aggregator.transfer.plan import TransferPlan
from aggregator.transfer.queue import Queue, QueuedStep
from aggregator.transfer.report import report_plan
from aggregator.transfer.report.load import rankings_of
from federation.errors import TransferError, UnknownNameError
from federation.transfer.messages import Offer
from federation.transfer.result import Score, StepResult

SITES = ("anna", "bern", "cork", "oslo")
TASKS = tuple(f"{site}/cxr" for site in SITES)


@pytest.fixture
def catalogue(tmp_path):
    store, space = Catalogue(tmp_path / "catalogue.sqlite", create=True), make_space()
    with store.writing() as writer:
        writer.add_space(space)
        for i, site in enumerate(SITES):
            identity = make_identity(site, tmp_path)
            writer.add_fingerprint(make_fingerprint(identity, "cxr", space, seed=i, shift=0.3 * i))
    yield store
    store.close()


def begin(catalogue, found, offers=None):
    plan = TransferPlan(name="night", scenarios=("pretraining",), seeds=(0, 1))
    queue = Queue.begin(catalogue, plan, Offers(offers or {}), ())
    queue.keep_findings(dict(enumerate(found)))


MEASURED = [
    *(finding(TASKS[s], TASKS[t], 0.7 + 0.02 * s - 0.01 * t) for s in range(3) for t in range(3) if s != t),
    failed(TASKS[3], TASKS[0], "no-reply at oslo"),
]


def test_a_plan_in_the_queue_is_reported_with_the_distances_of_the_catalogue(catalogue, tmp_path):
    begin(catalogue, MEASURED)
    written = report_plan(catalogue, tmp_path / "out", "night")
    assert written[0].name == "report.html"
    assert all(path.is_file() for path in written)
    found = json.loads((tmp_path / "out/results.json").read_text())
    assert found["title"] == "night"
    assert {"bkld-small", "recommender", "random"} <= {each["selector"] for each in found["selectors"]}
    assert [row["reason"] for row in found["failures"]] == ["no-reply at oslo"]


def test_a_plan_that_was_never_begun_has_no_report(catalogue, tmp_path):
    with pytest.raises(UnknownNameError):
        report_plan(catalogue, tmp_path / "out", "day")
    begin(catalogue, [])
    with pytest.raises(TransferError, match="no experiment"):
        report_plan(catalogue, tmp_path / "out")


def test_a_catalogue_without_plan_and_outcomes_has_suggestions(catalogue):
    found = suggest_next(catalogue, n=4)
    assert len(found) == 4
    assert {each.scenario for each in found} == {"pretraining"}
    assert len({each.target for each in found}) >= 3


def test_what_was_measured_or_failed_in_the_plan_is_not_suggested_again(catalogue):
    begin(catalogue, MEASURED)
    found = {(each.source, each.target) for each in suggest_next(catalogue, n=100)}
    tried = {(each.experiment.source, each.experiment.target) for each in MEASURED}
    assert not found & tried
    assert len(found) == 12 - len(tried)


def test_what_sites_offer_bars_suggestions(catalogue):
    offers = {site: (Offer("cxr", measured=True, models="exact"),) for site in SITES[:2]}
    begin(catalogue, MEASURED[-1:], offers)
    found = {(each.source, each.target) for each in suggest_next(catalogue, n=100)}
    assert found == {(TASKS[0], TASKS[1]), (TASKS[1], TASKS[0])}


def test_an_unknown_target_is_refused_by_name(catalogue):
    with pytest.raises(UnknownNameError, match="rome/x"):
        suggest_next(catalogue, targets=["rome/x"])


def ranked(site, network, auroc, *, measure="validation", seed=0):
    content = {
        "kind": "train",
        "site": site,
        "task": "cxr",
        "measure": measure,
        "seed": seed,
        "network": {"library": "timm", "name": network, "image_size": 32},
    }
    scores = {"auroc": Score(value=auroc, low=auroc, high=auroc)}
    result = StepResult(scores=scores, n_train=10, n_classes=2)
    return QueuedStep(f"{site}{network}{seed}", site, content, "done", 0, None, result, "", None, 0.0)


def test_architectures_are_ranked_by_validation_images_only_and_seeds_averaged():
    steps = [
        ranked("anna", "small", 0.6),
        ranked("anna", "small", 0.8, seed=1),
        ranked("anna", "large", 0.9, measure="test"),
        ranked("bern", "large", 0.5),
    ]
    assert rankings_of(steps) == {
        "anna/cxr": {"timm:small": pytest.approx(0.7)},
        "bern/cxr": {"timm:large": 0.5},
    }
