"""What people say about a dataset, and what several of them agree on."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from federation.config_file import read_config
from federation.distances.semantic import normalised
from federation.expert_properties import NOT_DESCRIBED, PROPERTIES, ExpertProperties
from site_agent.dataset_config import KnownProperties


@dataclass(frozen=True)
class Description:
    """What one person, or a majority, says about a dataset; empty where nothing is said.

    Args:
        modality: How the images were made.
        body_part: What they show.
        keywords: Words for the semantic comparison.
        properties: Six visual properties.
    """

    modality: str = ""
    body_part: str = ""
    keywords: tuple[str, ...] = ()
    properties: ExpertProperties = NOT_DESCRIBED


class _Rater(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    modality: str = ""
    body_part: str = ""
    keywords: tuple[str, ...] = Field(default=(), strict=False)
    properties: KnownProperties = Field(default_factory=dict)

    @property
    def description(self) -> Description:
        properties = ExpertProperties.from_json(self.properties)
        return Description(self.modality, self.body_part, self.keywords, properties)


class _Answers(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    rater: tuple[_Rater, ...] = Field(min_length=1, strict=False)


def read_answers(path: Path) -> tuple[Description, ...]:
    """Return what each rater of an answers file says: one ``[[rater]]`` table per person.

    Raises:
        ConfigError: If the file is missing or wrong.
    """
    return tuple(rater.description for rater in read_config(path, _Answers).rater)


def majority(raters: Sequence[Description]) -> Description:
    """Return what most raters say.

    The modality, body part and each property that most of those name who name any; where two lead together
    nothing is agreed and it stays empty. The keywords that more than half of those name who name any.

    Args:
        raters: At least one.
    """
    return Description(
        modality=_leading([rater.modality for rater in raters]),
        body_part=_leading([rater.body_part for rater in raters]),
        keywords=_shared([rater.keywords for rater in raters if rater.keywords]),
        properties=ExpertProperties(
            **{
                known.name: _leading([getattr(rater.properties, known.name) or "" for rater in raters])
                or None
                for known in PROPERTIES
            }
        ),
    )


def _leading(answers: Sequence[str]) -> str:
    """The most frequent answer in its first spelling; empty where there is none or two lead together."""
    spellings: dict[str, str] = {}
    for answer in filter(str.strip, answers):
        spellings.setdefault(_folded(answer), answer)
    counts = Counter(_folded(answer) for answer in answers if answer.strip()).most_common(2)
    if not counts or (len(counts) == 2 and counts[0][1] == counts[1][1]):
        return ""
    return spellings[counts[0][0]]


def _shared(lists: Sequence[Sequence[str]]) -> tuple[str, ...]:
    counts = Counter(word for words in lists for word in normalised(words))
    agreed = {word for word, count in counts.items() if 2 * count > len(lists)}
    spellings: dict[str, str] = {}
    for words in lists:
        for word in words:
            if _folded(word) in agreed:
                spellings.setdefault(_folded(word), word)
    return tuple(spellings.values())


def _folded(text: str) -> str:
    return next(iter(normalised([text])), "")
