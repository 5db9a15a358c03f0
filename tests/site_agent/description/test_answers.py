import pytest

from federation.errors import ConfigError
from federation.expert_properties import ExpertProperties
from site_agent.description.answers import Description, majority, read_answers
from site_agent.description.questions import suggested


def says(**words):
    properties = ExpertProperties(**words.pop("properties", {}))
    return Description(properties=properties, **words)


def test_most_raters_decide_and_spelling_does_not():
    agreed = majority([says(modality="Chest X-ray"), says(modality="CT"), says(modality="chest  x-ray")])
    assert agreed.modality == "Chest X-ray"


def test_where_two_answers_lead_nothing_is_agreed():
    raters = [says(properties={"cue": "shape"}), says(properties={"cue": "texture"})]
    assert majority(raters).properties.cue is None
    assert majority([*raters, says(properties={"cue": "shape"})]).properties.cue == "shape"


def test_who_does_not_say_does_not_count():
    agreed = majority([says(), says(properties={"colour": "grey"}, keywords=("ct",)), says()])
    assert (agreed.properties.colour, agreed.keywords) == ("grey", ("ct",))


def test_keywords_need_more_than_half_of_those_who_name_any():
    raters = [says(keywords=("CT", "lung")), says(keywords=("ct", "chest")), says(keywords=("ct", "Lung"))]
    assert majority(raters).keywords == ("CT", "lung")
    assert majority(raters[:2]).keywords == ("CT",)


def test_one_rater_is_a_majority():
    alone = says(modality="CT", keywords=("ct",), properties={"subject": "body"})
    assert majority([alone]) == alone


def test_an_answers_file_holds_one_table_per_rater(tmp_path):
    path = tmp_path / "answers.toml"
    path.write_text(
        '[[rater]]\nmodality = "CT"\nproperties = { cue = "shape" }\n[[rater]]\nkeywords = ["a"]\n'
    )
    assert read_answers(path) == (
        says(modality="CT", properties={"cue": "shape"}),
        says(keywords=("a",)),
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "rater is missing"),
        ('[[rater]]\nmodalty = "CT"', r"rater\[#1\]\.modalty: unknown key"),
        ('[[rater]]\nproperties = { cue = "smell" }', "use one of: shape, texture, colour"),
        ('[[rater]]\nproperties = { smell = "bad" }', "there is no property 'smell'"),
        ("[[rater]", "is not valid TOML"),
    ],
)
def test_a_wrong_answers_file_is_one_error(tmp_path, text, complaint):
    path = tmp_path / "answers.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=complaint):
        read_answers(path)


def test_keywords_are_suggested_from_whole_words():
    assert suggested("Head CT") == ("ct",)
    assert suggested("octopus") == ()
