import json

import numpy as np
import pytest
from array_source import ArraySource

from federation.errors import MemoryShortError, StoreError, TrainingError
from federation.transfer.recipe import Network, PrivateTraining, Recipe
from federation.transfer.result import Progress, Score
from federation.transfer.step import SearchStep
from site_agent.training.augmentation import PLAIN
from site_agent.training.candidates import candidates
from site_agent.training.metrics import Measurement
from site_agent.training.networks import PretrainedWeights
from site_agent.training.search import PolicySearch

SIDE = 32
TINY = Network(name="test_resnet", image_size=SIDE)
SHORT = Recipe(epochs=6, batch_size=10, learning_rate=3e-3)


def search_step(**changes):
    return SearchStep(**({"site": "bern", "task": "waves", "network": TINY, "recipe": SHORT} | changes))


def task(draw, seed=0):
    """A task of two classes; ``draw`` makes a picture [S, S] from label, split, number and chance."""
    chance = np.random.default_rng(seed)
    pictures, labels, splits = [], [], []
    for split, n in (("train", 40), ("validation", 40), ("test", 8)):
        for i in range(n):
            picture = draw(i % 2, split, i, chance) + chance.normal(0, 12, (SIDE, SIDE))
            pictures.append(np.repeat(np.clip(picture, 0, 255)[..., None], 3, 2))
            labels.append(i % 2)
            splits.append(split)
    return ArraySource(np.array(pictures).astype(np.uint8), labels, splits)


def wave(label, split, i, chance):
    """Saw teeth or triangles; the teeth to train on rise to the right, half of the others to the left."""
    phase = (np.arange(SIDE) + chance.integers(0, 16)) % 16 / 16
    line = phase if label == 0 else 1 - np.abs(2 * phase - 1)
    mirrored = split != "train" and i % 4 < 2
    return np.broadcast_to(60 + 130 * (line[::-1] if mirrored else line), (SIDE, SIDE))


def grey(label, split, i, chance):
    """A dark or a bright grey."""
    return np.full((SIDE, SIDE), chance.normal(110 + 30 * label, 6))


def open_search(source, step, folder):
    return PolicySearch.open(source, step, None, folder, pretrained=PretrainedWeights(), device="cpu")


def finish(open_again, slice_s=0.0):
    """Open a search for every slice, as a site does, until it is finished."""
    search = open_again()
    while not search.finished:
        search.advance(slice_s)
        search = open_again()
    return search


def names(policy):
    return {operation.name for chain in policy.chains for operation in chain}


class StagedRun:
    """Stands in for a training: a candidate's loss and AUROC are told beforehand."""

    def __init__(self, log, step, folder, measured):
        self.log, self.step, self.folder, self.measured = log, step, folder, measured
        self.done = len(list(folder.glob("*"))) if folder.exists() else 0

    @property
    def finished(self):
        return self.done >= self.step.recipe.epochs

    def advance(self, slice_s):
        self.folder.mkdir(parents=True, exist_ok=True)
        while not self.finished:
            (self.folder / str(self.done)).touch()
            self.done += 1
            self.log.append((self.step.augmentation, self.done))
            if not slice_s:
                break
        return Progress(epoch=self.done, epochs=self.step.recipe.epochs, loss=1.0)

    def measure(self, part):
        assert part == self.step.measure == "validation"
        return self.measured(self.step.augmentation)


def measurement(loss, n_measured=100):
    scores = {
        name: Score(value=value, low=value, high=value)
        for name, value in (("ce", loss), ("auroc", -loss), ("ba", 0.5))
    }
    return Measurement(scores, n_measured, 2, 77, ("a note",))


class Stage:
    """Searches over one folder whose trainings are staged."""

    def __init__(self, folder, step=None, measured=None):
        self.folder, self.step = folder, step or search_step()
        order = {policy: place for place, policy in enumerate(candidates(100, self.step.seed))}
        self.measured = measured or (lambda policy: measurement(float(order.get(policy, 50))))
        self.log, self.steps = [], []

    def open(self):
        def begin(step, folder):
            self.steps.append(step)
            return StagedRun(self.log, step, folder, self.measured)

        return PolicySearch(self.step, self.folder, begin)


def test_flips_are_found_useful_where_training_images_show_only_one_of_two_mirror_images(tmp_path):
    search = open_search(task(wave), search_step(), tmp_path)
    search.advance(1000)
    assert "horizontal_flip" in names(search.policy)
    assert search.measurement.scores["auroc"].value > 0.95


def test_an_operation_that_destroys_the_label_is_avoided(tmp_path):
    step = search_step()
    assert "equalize" in set().union(*map(names, candidates(8, seed=0)))
    search = open_search(task(grey), step, tmp_path)
    search.advance(1000)
    assert names(search.policy).isdisjoint({"equalize", "invert", "autocontrast", "solarize"})
    assert search.measurement.scores["auroc"].value > 0.95


def test_test_images_are_never_decoded(tmp_path):
    source = task(wave)
    open_search(source, search_step(candidates=2, recipe=Recipe(epochs=1)), tmp_path).advance(1000)
    splits = {source.splits[i] for i in source.decoded}
    assert splits == {"train", "validation"}


def test_a_search_interrupted_after_every_epoch_finds_what_an_uninterrupted_one_finds(tmp_path):
    step, source = search_step(candidates=4, recipe=SHORT.model_copy(update={"epochs": 2})), task(wave)
    whole = open_search(source, step, tmp_path / "whole")
    whole.advance(1000)
    again = finish(lambda: open_search(source, step, tmp_path / "slices"))
    assert again.policy == whole.policy
    assert again.measurement == whole.measurement
    states = [(tmp_path / name / "search.json").read_bytes() for name in ("whole", "slices")]
    assert states[0] == states[1]


def test_every_candidate_is_trained_alike_but_for_its_policy_and_judged_on_validation_images(tmp_path):
    stage = Stage(tmp_path, search_step(n_train=50, seed=3, start="imagenet"))
    finish(stage.open, slice_s=1000)
    for step in stage.steps:
        assert (step.site, step.task, step.network, step.start) == ("bern", "waves", TINY, "imagenet")
        assert (step.n_train, step.seed, step.measure) == (50, 3, "validation")
        assert step.recipe == SHORT.model_copy(update={"epochs": step.recipe.epochs})
    assert [step.recipe.epochs for step in stage.steps] == [2] * 8 + [6] * 4


def test_a_slice_of_no_time_is_one_epoch_and_progress_counts_all_epochs(tmp_path):
    stage = Stage(tmp_path, search_step(candidates=2))
    progress = [stage.open().advance(0.0) for _ in range(18)]
    assert [p.epoch for p in progress] == list(range(1, 19))
    assert {p.epochs for p in progress} == {18}
    assert stage.open().finished


def test_a_candidate_that_was_measured_is_never_trained_again(tmp_path):
    stage = Stage(tmp_path)
    finish(stage.open)
    assert len(stage.log) == 8 * 2 + 3 * 6 + 6
    before = len(stage.log)
    assert stage.open().advance(1000).share == 1
    assert len(stage.log) == before


def test_only_the_state_is_left_behind(tmp_path):
    finish(Stage(tmp_path).open)
    assert [path.name for path in tmp_path.iterdir()] == ["search.json"]


def test_the_policy_says_where_it_was_found(tmp_path):
    search = finish(Stage(tmp_path).open)
    assert search.policy.chains == PLAIN.chains
    assert search.policy.origin == "searched at bern/waves: best of 8, seed 0"
    assert search.measurement == measurement(0.0)


def test_notes_compare_with_the_plain_policy_and_warn_of_few_images(tmp_path):
    stage = Stage(tmp_path, measured=lambda policy: measurement(0.5 if policy == PLAIN else 0.25, 20))
    notes = finish(stage.open).notes
    assert notes == (
        "on 20 validation images the policy found reaches cross-entropy 0.250 and AUROC -0.250, "
        "the plain one cross-entropy 0.500 and AUROC -0.500",
        "with fewer than 50 validation images the choice of a policy is largely chance",
        "a note",
    )


def failing(error):
    def measured(policy):
        raise error

    return measured


def test_a_candidate_that_diverges_is_ranked_last_and_counted(tmp_path):
    bad = candidates(8, seed=0)[1]

    def measured(policy):
        if policy == bad:
            raise TrainingError("diverged")
        return measurement(1.0 if policy == PLAIN else 0.5)

    search = finish(Stage(tmp_path, measured=measured).open)
    assert bad.chains[0] not in search.policy.chains
    assert "1 of 12 trainings of candidates failed and were ranked last" in search.notes


def test_what_the_plain_policy_cannot_do_fails_the_search(tmp_path):
    with pytest.raises(TrainingError, match="one class"):
        Stage(tmp_path, measured=failing(TrainingError("one class"))).open().advance(1000)


def test_a_shortage_of_memory_is_not_the_fault_of_a_candidate(tmp_path):
    stage = Stage(tmp_path)
    stage.open().advance(0.0)
    stage.open().advance(0.0)
    stage.measured = failing(MemoryShortError("too large"))
    with pytest.raises(MemoryShortError):
        stage.open().advance(1000)


@pytest.mark.parametrize(
    "recipe", [Recipe(trainable="head"), Recipe(private=PrivateTraining(noise_multiplier=1.0))]
)
def test_training_that_no_policy_can_be_judged_by_is_refused(tmp_path, recipe):
    with pytest.raises(TrainingError, match="bern/waves"):
        open_search(task(wave), search_step(recipe=recipe), tmp_path)


def test_the_folder_of_another_search_is_refused(tmp_path):
    Stage(tmp_path).open().advance(1000)
    with pytest.raises(StoreError, match="belongs to the search"):
        Stage(tmp_path, search_step(seed=1)).open()


@pytest.mark.parametrize("damage", ["", "{", '{"step_id": "x"}', '{"step_id": "x", "trials": [{"a": 1}]}'])
def test_a_damaged_state_is_refused(tmp_path, damage):
    Stage(tmp_path).open().advance(1000)
    (tmp_path / "search.json").write_text(damage)
    with pytest.raises(StoreError, match="damaged"):
        Stage(tmp_path).open()


def test_the_state_is_readable_json(tmp_path):
    Stage(tmp_path).open().advance(1000)
    state = json.loads((tmp_path / "search.json").read_text())
    assert state["trials"][0]["policy"]["chains"][0][0]["name"] == "horizontal_flip"
