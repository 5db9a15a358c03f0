import pytest

from federation.errors import FingerprintError
from federation.expert_properties import ExpertProperties
from federation.task_card import TaskCard

SOME = ExpertProperties(subject="body", cue="shape")


def test_properties_survive_json():
    card = TaskCard("t", 3, {"a": 1, "b": 2}, keywords=("x",), properties=SOME)
    assert card.to_json()["properties"] == {"subject": "body", "cue": "shape"}
    assert TaskCard.from_json(card.to_json()) == card


def test_a_card_without_properties_does_not_mention_them():
    card = TaskCard("t", 3)
    assert "properties" not in card.to_json()
    assert TaskCard.from_json(card.to_json()) == card


@pytest.mark.parametrize(
    "properties",
    [
        {},
        None,
        [],
        "body",
        {"subject": "ghost"},
        {"shine": "yes"},
        {"cue": None},
        {"cue": ["shape"]},
        {"cue": 1},
    ],
)
def test_every_other_encoding_is_refused(properties):
    with pytest.raises(FingerprintError):
        TaskCard.from_json({**TaskCard("t", 3).to_json(), "properties": properties})


def test_a_wrong_answer_names_the_answers():
    with pytest.raises(FingerprintError, match=r"property colour is 'red' → use one of: grey, colour, mixed"):
        ExpertProperties(colour="red")


def test_the_size_of_a_task_is_that_of_the_dataset_not_of_the_sketch():
    assert TaskCard("t", 100, {"a": 5000, "b": 1}).n_labelled == 5001
    assert TaskCard("t", 100).n_labelled == 100
