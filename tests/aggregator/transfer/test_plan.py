"""PLAN.toml: what it may say, and how it complains."""

import pytest

from aggregator.transfer.plan import TransferPlan
from federation.errors import ConfigError

FULL = """
name = "night"
federation = "federation.toml"
seeds = [0, 1]
scenarios = ["pretraining", "architecture", "augmentation", "co_training", "combined"]
targets = ["anna/eyes"]
sources = "all"
sources_per_target = 3
n_train = 200
slice_s = 20
deadline_s = 3600
[network]
library = "timm"
name = "test_resnet"
image_size = 32
start = "scratch"
[source_training]
epochs = 2
learning_rate = 1e-3
[target_training]
epochs = 4
draws = 100
[architecture]
networks = ["timm:test_resnet", "timm:test_efficientnet"]
start = "imagenet"
[augmentation]
candidates = 4
[co_training]
rounds = 2
[combined]
parts = ["architecture", "pretraining"]
[private]
noise_multiplier = 1.5
tasks = ["bern/skin"]
"""


def read(tmp_path, text):
    path = tmp_path / "PLAN.toml"
    path.write_text(text)
    return TransferPlan.read(path)


def test_every_table_is_read(tmp_path):
    plan = read(tmp_path, FULL)
    assert plan.seeds == (0, 1)
    assert plan.targets == ("anna/eyes",)
    assert plan.target_training.draws == 100
    assert [str(network) for network in plan.candidates] == [
        "test_resnet at 32 px",
        "test_efficientnet at 32 px",
    ]
    assert plan.private.training.noise_multiplier == 1.5


def test_groups_have_names_where_they_are_masked_or_wanted(tmp_path):
    groups = 'groups = {chests = ["a/x", "b/y", "c/z"]}'
    said = 'name = "p"\nscenarios = ["co_training"]\n[co_training]\n'
    members = ("a/x", "b/y", "c/z")
    assert read(tmp_path, f"{said}masked = true\n{groups}").co_training.parties == (("chests", members),)
    assert read(tmp_path, f"{said}{groups}").co_training.parties == (("", members),)
    listed = read(tmp_path, f'{said}groups = [["a/x", "b/y", "c/z"]]')
    assert listed.co_training.parties == (("", members),)


def test_a_short_plan_has_sensible_defaults(tmp_path):
    plan = read(tmp_path, 'name = "short"\nscenarios = ["pretraining"]')
    assert plan.seeds == (0, 1, 2)
    assert plan.shrunk_to is None
    assert plan.baselines == ("imagenet", "scratch")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("unknown = 1", "unknown: unknown key"),
        ("seeds = []", "seeds has 0 of at least 1 entries"),
        ("seeds = [0, 0]", "seeds: the entry 0 is named twice"),
        ('scenarios = ["magic"]', "scenarios"),
        ('targets = ["eyes"]', "'eyes' is no address"),
        ("n_train = 3", "n_train: 3 images train nothing"),
        ('network = {name = "../evil"}', "network.name"),
        ('network = {image_size = "64"}', 'network.image_size is "64", expected a whole number'),
        ("source_training = {epochs = 0}", "source_training.epochs is 0, expected at least 1"),
        ('architecture = {networks = ["keras:x", "timm:y"]}', "'keras:x' is no network"),
        ('combined = {parts = ["architecture"]}', "combined.parts has 1 of at least 2 entries"),
        ("co_training = {masked = true}\nscenarios=['co_training']", "needs co_training.groups"),
        ("co_training = {masked = true, groups = [['a/x', 'b/x', 'c/x']]}", "masked needs names of groups"),
        ("co_training = {masked = true, groups = {m = ['a/x', 'b/x']}}", "group m has 2 tasks, expected 3"),
        (
            "co_training = {masked = true, groups = {m = ['a/x', 'b/x', 'a/y']}}",
            "the site 'a' is named twice",
        ),
        ("co_training = {masked = true, groups = {'M m' = ['a/x', 'b/x', 'c/x']}}", "cohort name 'M m'"),
        (
            "co_training = {masked = true, groups = {m = ['a/x', 'b/x', 'c/x'], n = ['d/x', 'c/x', 'e/x']}}",
            "the task of a masked group 'c/x' is named twice",
        ),
        ("co_training = {groups = [['a/x']]}", "co_training.groups[#1] has 1 of at least 2 entries →"),
        ("co_training = {groups = {m = ['a/x']}}", "co_training.groups.m has 1 of at least 2 entries →"),
        ("co_training = {groups = 3}", "co_training.groups is 3, expected a list"),
        ("target_training = {private = {noise_multiplier = 1.0}}", "belongs into the table [private]"),
        ("scenarios = ['architecture']", "architecture.networks has 0 of at least 2"),
        ("private = {}", "private.noise_multiplier is missing"),
        ("baselines = ['scratch']", "baselines leaves out 'imagenet', with which pretraining is compared"),
        (
            "scenarios = ['architecture']\nbaselines = ['imagenet']\n"
            "architecture = {networks = ['timm:a', 'timm:b']}",
            "baselines leaves out 'scratch', with which architecture is compared",
        ),
        (
            "scenarios = ['co_training']\ntarget_training = {epochs = 3}",
            "target_training.epochs is 3, expected a multiple of co_training.rounds, 5",
        ),
    ],
)
def test_a_wrong_plan_is_refused_by_name(tmp_path, line, complaint):
    scenario = "" if "scenarios" in line else '\nscenarios = ["pretraining"]'
    with pytest.raises(ConfigError) as refused:
        read(tmp_path, f'name = "p"\n{line}{scenario}')
    assert complaint in str(refused.value)
