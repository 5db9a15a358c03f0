import threading

import numpy as np
import pytest
import torch
from array_source import ArraySource
from learnable_tasks import open_run, same_arrays, striped_task, train_step

from federation.errors import MemoryShortError, ModelError, TrainingError
from federation.transfer.augmentation import AugmentationPolicy, Operation
from federation.transfer.recipe import PrivateTraining
from federation.transfer.step import CotrainStep
from site_agent.training import memory
from site_agent.training.checkpoint import CHECKPOINT_FILE, read_progress

ALWAYS = 1e9
POLICY = AugmentationPolicy(chains=((Operation(name="brightness", probability=0.5),),))
STEPS = {
    "scratch": {},
    "head": {"recipe": {"trainable": "head"}},
    "every image once": {"recipe": {"draws": None}},
    "mixed": {"recipe": {"precision": "mixed", "epochs": 3}},
    "a policy": {"augmentation": POLICY, "recipe": {"epochs": 3}},
    "few images": {"n_train": 20, "seed": 2},
}


def trained(source, step, folder, **options):
    run = open_run(source, step, folder, **options)
    while not run.finished:
        run.advance(ALWAYS)
    return run


def one_class_in(part, n=40):
    labels = [i % 2 for i in range(n)]
    splits = [("train", "val", "test")[i % 3] for i in range(n)]
    labels = [0 if split == part else label for label, split in zip(labels, splits, strict=True)]
    return ArraySource(np.zeros((n, 8, 8, 3), np.uint8), labels, splits)


def test_a_learnable_task_is_learned(tmp_path):
    run = trained(striped_task(), train_step(recipe={"epochs": 8}), tmp_path / "step")
    found = run.measure("test")
    assert found.scores["auroc"].value > 0.9
    assert found.scores["ba"].value > 0.6
    assert (found.n_measured, found.n_classes, found.n_train) == (48, 3, 144)


def test_an_untrained_network_knows_nothing(tmp_path):
    run = open_run(striped_task(), train_step(), tmp_path / "step")
    assert run.measure("validation").scores["ce"].value == pytest.approx(np.log(3), abs=0.1)


@pytest.mark.parametrize("name", STEPS)
def test_an_interrupted_training_ends_with_the_same_bytes(tmp_path, name):
    step = train_step(**STEPS[name])
    whole = trained(striped_task(), step, tmp_path / "whole" / "step")
    folder = tmp_path / "parts" / "step"
    part = open_run(striped_task(), step, folder)
    epochs = [part.advance(0).epoch]
    while not part.finished:
        part = open_run(striped_task(), step, folder)
        epochs.append(part.advance(0).epoch)
    assert epochs == list(range(1, step.recipe.epochs + 1))
    assert same_arrays(part.backbone()[1], whole.backbone()[1])
    assert same_arrays(part.head(), whole.head())
    assert part.measure("test") == whole.measure("test")


def test_what_was_done_after_the_last_checkpoint_is_done_again(tmp_path):
    step = train_step()
    whole = trained(striped_task(), step, tmp_path / "whole")
    killed = open_run(striped_task(), step, tmp_path / "step")
    killed.advance(0)
    killed._train_epoch()
    again = open_run(striped_task(), step, tmp_path / "step")
    assert again.progress.epoch == 1
    again.advance(ALWAYS)
    assert same_arrays(again.backbone()[1], whole.backbone()[1])


def test_a_damaged_checkpoint_costs_time_and_nothing_else(tmp_path):
    step = train_step()
    whole = trained(striped_task(), step, tmp_path / "step")
    (tmp_path / "step" / CHECKPOINT_FILE).write_bytes(b"damaged")
    again = trained(striped_task(), step, tmp_path / "step")
    assert same_arrays(again.backbone()[1], whole.backbone()[1])


def test_two_trainings_at_once_do_not_disturb_each_other(tmp_path):
    steps = [train_step(seed=seed, recipe={"epochs": 2}) for seed in (0, 1)]
    alone = [trained(striped_task(), step, tmp_path / "alone" / f"{i}") for i, step in enumerate(steps)]
    found = {}

    def work(number):
        found[number] = trained(striped_task(), steps[number], tmp_path / "together" / f"{number}")

    state = torch.get_rng_state()
    threads = [threading.Thread(target=work, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, run in enumerate(alone):
        assert same_arrays(found[number].backbone()[1], run.backbone()[1])
        assert found[number].measure("test") == run.measure("test")
    assert torch.equal(torch.get_rng_state(), state)


def test_seeds_differ(tmp_path):
    runs = [trained(striped_task(), train_step(seed=seed), tmp_path / f"{seed}") for seed in (0, 1)]
    assert runs[0].measure("test").scores != runs[1].measure("test").scores


def test_progress_is_told_epoch_by_epoch(tmp_path):
    run = open_run(striped_task(), train_step(), tmp_path / "step")
    assert run.progress.epoch == 0
    assert run.advance(0).share == 0.25
    assert read_progress(tmp_path / "step") == run.progress
    run.advance(ALWAYS)
    assert run.advance(ALWAYS).epoch == 4


def test_a_model_is_trained_further(tmp_path):
    first = trained(striped_task(), train_step(), tmp_path / "source")
    step = train_step(start="0" * 64, recipe={"epochs": 1, "learning_rate": 1e-4})
    run = open_run(striped_task(seed=1), step, tmp_path / "target", start=first.backbone()[1])
    assert same_arrays(run.backbone()[1], first.backbone()[1])
    run.advance(ALWAYS)
    assert not same_arrays(run.backbone()[1], first.backbone()[1])


def test_a_model_of_another_network_is_refused(tmp_path):
    with pytest.raises(ModelError, match="does not fit test_resnet"):
        open_run(striped_task(), train_step(start="0" * 64), tmp_path, start={"a": np.zeros(3, np.float32)})


def test_a_step_that_begins_at_a_model_needs_it(tmp_path):
    with pytest.raises(ModelError, match="begins at a model, which is missing"):
        open_run(striped_task(), train_step(start="0" * 64), tmp_path)


def test_few_training_images_are_used_where_few_are_asked_for(tmp_path):
    source = striped_task()
    run = trained(source, train_step(n_train=20, recipe={"epochs": 1}), tmp_path / "step")
    assert run.measure("test").n_train == 20
    assert len(source.decoded) == 20 + 48


@pytest.mark.parametrize("rate", [1e3, 10.0])
def test_a_training_that_diverges_is_stopped(tmp_path, rate, monkeypatch):
    run = open_run(striped_task(), train_step(recipe={"epochs": 2}), tmp_path / "step")
    with torch.no_grad():
        run._classifier.head.weight.fill_(torch.nan if rate > 10 else torch.inf)
    with pytest.raises(TrainingError, match="diverged: the loss of epoch 1 is"):
        run.advance(ALWAYS)
    assert not (tmp_path / "step" / CHECKPOINT_FILE).exists()


def test_a_network_that_is_not_finite_neither_leaves_nor_is_measured(tmp_path):
    run = open_run(striped_task(), train_step(), tmp_path / "step")
    with torch.no_grad():
        next(run._classifier.backbone.parameters()).fill_(torch.nan)
    with pytest.raises(TrainingError, match="not finite"):
        run.backbone()
    with pytest.raises(TrainingError, match="not finite"):
        run.measure("test")


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_part_with_one_class_is_refused_before_anything_is_trained(tmp_path, part):
    with pytest.raises(TrainingError, match=f"one class in a split: the {part} images"):
        open_run(one_class_in(part), train_step(), tmp_path)


def test_a_validation_part_with_one_class_is_refused_where_it_is_measured(tmp_path):
    source = one_class_in("val")
    run = open_run(source, train_step(), tmp_path / "step")
    with pytest.raises(TrainingError, match="one class in a split: the validation images"):
        run.measure("validation")


def test_a_class_without_measured_images_is_noted(tmp_path):
    labels = [0, 1, 2] * 20
    splits = ["train" if i < 30 or labels[i] == 2 else "test" for i in range(60)]
    source = ArraySource(np.zeros((60, 8, 8, 3), np.uint8), labels, splits)
    found = open_run(source, train_step(), tmp_path / "step").measure("test")
    assert found.notes == ("1 of 3 classes have no measured image and do not count",)


def test_a_network_that_does_not_fit_in_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda device: 0)
    with pytest.raises(MemoryShortError):
        open_run(striped_task(), train_step(), tmp_path)


def test_training_with_noise_refuses_a_number_of_images(tmp_path):
    recipe = {"private": PrivateTraining(noise_multiplier=1.0)}
    with pytest.raises(TrainingError, match="with noise names a number"):
        open_run(striped_task(), train_step(recipe=recipe, n_train=20), tmp_path)


def test_training_with_noise_goes_on_after_an_interruption_and_tells_no_loss(tmp_path):
    recipe = {"private": PrivateTraining(noise_multiplier=1.0), "epochs": 2, "draws": 32}
    step = train_step(recipe=recipe)
    assert open_run(striped_task(60), step, tmp_path / "step").advance(0).loss is None
    run = open_run(striped_task(60), step, tmp_path / "step")
    assert run.progress.epoch == 1
    assert run.advance(0).epoch == 2
    assert run.backbone()[0] == "group"


def test_the_rate_of_co_training_falls_over_all_rounds(tmp_path):
    common = train_step().model_dump(exclude={"kind", "measure", "travels_to"})
    step = CotrainStep(**common, group="0" * 64, round=1, rounds=3, partners=("a", "b"))
    epoch = open_run(striped_task(), step, tmp_path)._next_epoch()
    assert (epoch.number, epoch.total) == (4, 12)


def test_a_head_can_be_given(tmp_path):
    first = open_run(striped_task(), train_step(seed=5), tmp_path / "one")
    second = open_run(striped_task(), train_step(), tmp_path / "two", head=first.head())
    assert same_arrays(first.head(), second.head())


def test_no_name_of_patient_or_image_is_in_what_is_kept(tmp_path):
    trained(striped_task(), train_step(recipe={"epochs": 1}), tmp_path / "step")
    kept = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(b"patient " in data or b".png" in data for data in kept)
