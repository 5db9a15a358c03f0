"""Six visual properties of a dataset that a person can judge from nine images.

The idea – several people, nine random images, six properties, majority vote, Hamming distance – is that of
van den Brandt et al., "Cats, not CAT scans". Their wording could not be verified: properties and answers here
are fedprint's own.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from federation.errors import FingerprintError


@dataclass(frozen=True)
class Property:
    """One property and what may be said about it.

    Args:
        name: As it is written in configuration files and task cards.
        question: What a person is asked.
        answers: Answer → what it means.
    """

    name: str
    question: str
    answers: Mapping[str, str]


PROPERTIES = (
    Property(
        "subject",
        "What do the images show?",
        {
            "body": "a body or its inside",
            "specimen": "tissue, cells or fluids outside the body",
            "object": "things, animals, people, scenes",
            "symbol": "writing, print, signs",
            "surface": "materials and textures",
        },
    ),
    Property(
        "colour",
        "Are they in colour?",
        {"grey": "grey only", "colour": "colour", "mixed": "some of each"},
    ),
    Property(
        "alignment",
        "Is the same thing at the same place in every image?",
        {"aligned": "yes, within a little", "varying": "no, position or view varies"},
    ),
    Property(
        "objects",
        "How many things that matter are in one image?",
        {"one": "one", "several": "several", "field": "no single thing: the pattern fills the image"},
    ),
    Property(
        "background",
        "What is around them?",
        {"plain": "even background", "cluttered": "other structures", "none": "nothing, the image is filled"},
    ),
    Property(
        "cue",
        "What tells the classes apart?",
        {"shape": "shape or outline", "texture": "texture", "colour": "colour or brightness"},
    ),
)


@dataclass(frozen=True)
class ExpertProperties:
    """What people saw in a dataset; None where nobody said.

    Args:
        subject: What the images show.
        colour: Whether they are in colour.
        alignment: Whether the same thing is at the same place in every image.
        objects: How many things that matter are in one image.
        background: What is around them.
        cue: What tells the classes apart.

    Raises:
        FingerprintError: If an answer is none of the property's answers.
    """

    subject: str | None = None
    colour: str | None = None
    alignment: str | None = None
    objects: str | None = None
    background: str | None = None
    cue: str | None = None

    def __post_init__(self) -> None:
        for known in PROPERTIES:
            answer = getattr(self, known.name)
            if answer is not None and not (isinstance(answer, str) and answer in known.answers):
                raise FingerprintError(
                    f"property {known.name} is {answer!r}", remedy=f"use one of: {', '.join(known.answers)}"
                )

    def __bool__(self) -> bool:
        return bool(self.to_json())

    def to_json(self) -> dict[str, str]:
        """Return the stated properties."""
        return {name: answer for name, answer in asdict(self).items() if answer is not None}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "ExpertProperties":
        """Read stated properties.

        Raises:
            FingerprintError: If a property or answer is unknown.
        """
        names = [known.name for known in PROPERTIES]
        unknown = sorted(set(value) - set(names))
        if unknown:
            raise FingerprintError(
                f"there is no property {unknown[0]!r}", remedy=f"use some of: {', '.join(names)}"
            )
        missing = sorted(name for name, answer in value.items() if answer is None)
        if missing:
            raise FingerprintError(
                f"property {missing[0]} holds no answer", remedy="leave it out where nobody said"
            )
        return cls(**value)


NOT_DESCRIBED = ExpertProperties()
