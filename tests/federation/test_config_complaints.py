"""What a person reads about a wrong configuration file."""

import math
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from federation.config_complaints import describe
from federation.config_file import read_config
from federation.errors import ConfigError


class Circle(BaseModel):
    form: Literal["circle"]
    radius: float = Field(1.0, gt=0)


class Square(BaseModel):
    form: Literal["square"]
    side: float = 1.0


class Picture(BaseModel):
    model_config = ConfigDict(extra="forbid")

    title: str = ""
    copies: Annotated[int, Field(ge=1, strict=True)] | Literal["all"] = 1
    words: tuple[str, ...] = ()
    scale: float = Field(1.0, ge=0.5, lt=2)
    shapes: tuple[Annotated[Circle | Square, Field(discriminator="form")], ...] = ()
    pair: tuple[str, ...] = Field(("a", "b"), min_length=2)

    @model_validator(mode="after")
    def _is_titled_when_copied(self):
        if self.copies == "all" and not self.title:
            raise ValueError("copies of what? give a title")
        return self


def complaint(content):
    with pytest.raises(ValidationError) as caught:
        Picture.model_validate(content)
    return describe(caught.value, content)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"titel": "x"}, "titel: unknown key"),
        ({"title": 3}, "title is 3, expected a text"),
        ({"copies": 0}, "copies is 0, expected at least 1, or 'all'"),
        ({"copies": "some"}, 'copies is "some", expected a whole number, or \'all\''),
        ({"words": "one"}, 'words is "one", expected a list'),
        ({"words": ["one", 2]}, "words[#2] is 2, expected a text"),
        ({"scale": 2}, "scale is 2, expected less than 2"),
        ({"scale": math.nan}, "scale is nan, which is no number"),
        ({"scale": []}, "scale is a list, expected a number"),
        ({"shapes": [{}]}, "shapes[#1].form is missing"),
        ({"shapes": [{"name": "sun", "form": "star"}]},
         'shapes[sun].form is "star", expected one of \'circle\', \'square\''),
        ({"shapes": [{"name": "sun", "form": "circle", "radius": -1}]},
         "shapes[sun].radius is -1, expected more than 0"),
        ({"pair": ["a"]}, "pair has 1 of at least 2 entries"),
        ({"pair": [1]}, "pair[#1] is 1, expected a text"),
        ({"copies": "all"}, "copies of what? give a title"),
        ({"title": 3, "scale": 9}, "title is 3, expected a text; scale is 9, expected less than 2"),
        ({"title": ["x"] * 99}, "title is a list, expected a text"),
    ],
)  # fmt: skip
def test_a_complaint_names_key_value_and_expectation(content, expected):
    assert complaint(content) == expected


def test_a_long_value_is_cut():
    text = complaint({"words": "x" * 500})
    assert len(text) < 100
    assert "xxx…, expected a list" in text


def test_a_file_is_named_with_its_complaints_and_the_readers_own_remedy(tmp_path):
    path = tmp_path / "picture.toml"
    path.write_text("scale = 9")
    with pytest.raises(ConfigError, match=r"picture\.toml: scale is 9, .* → correct the file$"):
        read_config(path, Picture)
    with pytest.raises(ConfigError, match=r"→ look elsewhere$"):
        read_config(path, Picture, remedy="look elsewhere")
