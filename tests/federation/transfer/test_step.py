"""Steps are named by what they say, and nothing else can be said."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.errors import MessageError
from federation.transfer.augmentation import AugmentationPolicy, Operation
from federation.transfer.recipe import Network, PrivateTraining, Recipe
from federation.transfer.step import CotrainStep, SearchStep, TrainStep, step_from_json

DIGEST = "ab" * 32
POLICY = AugmentationPolicy(chains=((Operation(name="rotate", probability=0.5, strength=0.25),),))
TRAIN = TrainStep(
    site="anna",
    task="digits",
    recipe=Recipe(epochs=2, draws=64, private=PrivateTraining(noise_multiplier=2.0)),
    start=DIGEST,
    n_train=50,
    augmentation=POLICY,
    travels_to=("bern",),
)
SEARCH = SearchStep(site="anna", task="digits", candidates=3)
COTRAIN = CotrainStep(site="anna", task="digits", group=DIGEST, round=0, rounds=2, partners=("anna", "bern"))


@pytest.mark.parametrize("step", [TRAIN, SEARCH, COTRAIN])
def test_a_step_reads_back_with_the_same_id(step):
    again = step_from_json(step.to_json())
    assert again == step
    assert again.step_id == step.step_id
    assert len(step.step_id) == 64


@given(seed=st.integers(0, 2**31 - 1), n_train=st.none() | st.integers(4, 10_000))
def test_different_steps_have_different_ids(seed, n_train):
    other = TRAIN.model_copy(update={"seed": seed, "n_train": n_train})
    assert (other.step_id == TRAIN.step_id) == (other == TRAIN)


def test_a_step_says_which_model_it_begins_at():
    assert TRAIN.model_id == DIGEST
    assert SEARCH.model_id is None
    assert TRAIN.model_copy(update={"start": "imagenet"}).model_id is None


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "shell"},
        {"task": "../secrets"},
        {"site": "Anna"},
        {"start": "/etc/passwd"},
        {"start": DIGEST[:-1]},
        {"seed": -1},
        {"seed": 1.0},
        {"n_train": 0},
        {"code": "import os"},
        {"network": {"library": "pickle", "name": "x", "image_size": 64}},
        {"network": {"library": "timm", "name": "hf-hub:evil/model", "image_size": 64}},
        {"network": {"library": "timm", "name": "resnet18", "image_size": 100_000}},
        {"recipe": {"epochs": 10**9}},
        {"recipe": {"learning_rate": "fast"}},
        {"augmentation": {"chains": [[{"name": "exec", "probability": 1.0}]]}},
        {"augmentation": {"chains": [[{"name": "rotate", "probability": 1.5}]]}},
        {"augmentation": {"chains": []}},
        {"measure": "train"},
    ],
)
def test_whatever_is_unknown_or_out_of_range_is_refused(change):
    with pytest.raises(MessageError, match="malformed"):
        step_from_json(TRAIN.to_json() | change)


@pytest.mark.parametrize("table", [None, [], "train", {}, {"kind": "train"}, {"kind": []}])
def test_what_is_no_step_is_refused(table):
    with pytest.raises(MessageError):
        step_from_json(table)


def test_a_network_is_named_for_people():
    assert str(Network(name="resnet18", image_size=96)) == "resnet18 at 96 px"
