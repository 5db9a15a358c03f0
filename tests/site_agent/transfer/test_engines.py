"""Real training and a real search behind the answers of a site, with a network of milliseconds."""

import pytest
from transfer_site import FILE, NETWORK, PATIENT, train, write_transfer_site

from federation.transfer.model import TravellingModel
from federation.transfer.recipe import Network, Recipe
from federation.transfer.step import SearchStep
from site_agent.config import PretrainedConfig
from site_agent.transfer.lending import published_weights
from site_agent.transfer.participation import WORK
from site_agent.transfer.search_work import SearchWork
from site_agent.transfer.train_work import TrainWork

RECIPE = Recipe(epochs=2, batch_size=8)


@pytest.fixture(autouse=True)
def real(counting, monkeypatch):
    del counting
    monkeypatch.setitem(WORK, "train", TrainWork)
    monkeypatch.setitem(WORK, "search", SearchWork)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("engines")


@pytest.fixture(scope="module")
def anna(folder):
    return write_transfer_site(folder, settings={"device": "cpu"}, n_images=60)


def test_a_model_is_trained_measured_and_fine_tuned_from(anna):
    source = anna.finish(train(recipe=RECIPE, travels_to=("bern",)))[-1]
    assert source.state == "done", anna.texts()
    assert 0 <= source.result.scores["auroc"].value <= 1
    assert (source.result.epochs, source.result.n_classes) == (2, 2)
    model = TravellingModel.from_bytes(source.model, source.result.model_id)
    assert model.weights
    assert model.travels_to == ("bern",)
    target = anna.finish(train(recipe=RECIPE, start=source.result.model_id, n_train=12, seed=1))[-1]
    assert (target.state, target.model) == ("done", b""), anna.texts()
    assert target.result.n_train <= 12


def test_training_replies_after_every_slice_and_gives_the_same_at_another_site(anna, tmp_path):
    step = train(recipe=RECIPE, travels_to=("bern",), seed=5)
    replies = anna.finish(step)
    assert [reply.state for reply in replies][-2:] == ["running", "done"]
    again = write_transfer_site(tmp_path, settings={"device": "cpu"}, n_images=60)
    repeated = again.finish(step)[-1].result
    assert repeated.scores == replies[-1].result.scores


def test_a_policy_is_searched(anna):
    step = SearchStep(site="anna", task="digits", network=NETWORK, recipe=RECIPE, candidates=2)
    done = anna.finish(step, most=100)[-1]
    assert done.state == "done", anna.texts()
    assert done.result.augmentation.chains
    assert done.model == b""


def test_one_class_in_the_data_fails_the_step_alone(anna, tmp_path):
    site = write_transfer_site(tmp_path, settings={"device": "cpu"}, n_images=4)
    assert site.finish(train(recipe=RECIPE))[-1].state == "training"
    assert anna.finish(train(recipe=RECIPE, seed=7))[-1].state == "done"


def test_no_answer_of_real_work_names_a_file_or_a_patient(anna):
    done = anna.finish(train(recipe=RECIPE, travels_to=("bern",)))[-1]
    said = done.model + done.result.model_dump_json().encode()
    assert FILE.encode() not in said
    assert PATIENT.encode() not in said


def test_decoded_images_stay_in_the_sites_state(anna):
    anna.finish(train(recipe=RECIPE))
    kept = [path for path in (anna.site.state.folder / "images").rglob("*") if path.is_file()]
    assert kept
    assert {path.stat().st_mode & 0o077 for path in kept} == {0}


def test_published_weights_are_those_that_the_site_names_for_the_library(anna):
    named = PretrainedConfig(library="torchvision", name="resnet18", source="/weights", sha256="ab" * 32)
    config = anna.site.config.model_copy(update={"pretrained": (named,)})
    places = published_weights(config, Network(library="torchvision", name="resnet18")).places
    assert places["resnet18"].source == "/weights"
    assert "resnet18" not in published_weights(config, Network(name="resnet18")).places
    lite = Network(name="tf_efficientnet_lite0")
    assert published_weights(config, lite).place(lite).source.startswith("package:")
