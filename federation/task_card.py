"""The public description of a task that travels beside its sketch."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from federation.errors import FingerprintError
from federation.expert_properties import NOT_DESCRIBED, ExpertProperties
from federation.names import check_name

_TEXT_LIMIT = 2000


@dataclass(frozen=True)
class TaskCard:
    """What a site says about a task in words and counts.

    Args:
        task: Name of the task at its site.
        n_images: Number of images the sketch was made from.
        classes: Class name → number of labelled images in the dataset.
        title: One line for people.
        modality: How the images were made, for example ``"chest X-ray"``.
        body_part: What they show.
        keywords: Free words for the semantic comparison.
        licence: Under which terms models trained on it may be shared.
        contact: Whom to ask at the site.
        properties: Six visual properties for the expert comparison; a card on which nobody said anything
            about them does not mention them.
    """

    task: str
    n_images: int
    classes: Mapping[str, int] = field(default_factory=dict)
    title: str = ""
    modality: str = ""
    body_part: str = ""
    keywords: tuple[str, ...] = ()
    licence: str = ""
    contact: str = ""
    properties: ExpertProperties = NOT_DESCRIBED

    def __post_init__(self) -> None:
        check_name("task", self.task)

    @property
    def n_labelled(self) -> int:
        """Number of labelled images of the dataset, or of the sketch where the card lists no classes."""
        return sum(self.classes.values()) or self.n_images

    def to_json(self) -> dict[str, Any]:
        """Return the card as a JSON-ready dict."""
        stated = {**asdict(self), "classes": dict(self.classes), "keywords": list(self.keywords)}
        del stated["properties"]
        return {**stated, "properties": self.properties.to_json()} if self.properties else stated

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "TaskCard":
        """Read a card, checking every field.

        Raises:
            FingerprintError: If a field is missing, unknown, of the wrong type or far too long.
        """
        known = {f.name for f in fields(cls)}
        odd = sorted((set(value) ^ known) - {"properties"})
        if odd:
            raise FingerprintError(
                f"task card has missing or unknown fields: {odd}", remedy="update fedprint"
            )
        _check_types(value)
        properties = _read_properties(value["properties"]) if "properties" in value else NOT_DESCRIBED
        return cls(**{**value, "keywords": tuple(value["keywords"]), "properties": properties})


def _check_types(value: Mapping[str, Any]) -> None:
    texts = [value[key] for key in ("task", "title", "modality", "body_part", "licence", "contact")]
    classes, keywords, n_images = value["classes"], value["keywords"], value["n_images"]
    if not (isinstance(classes, dict) and isinstance(keywords, list)):
        raise FingerprintError("task card: classes must be a table and keywords a list")
    texts += [*classes, *keywords]
    if not all(isinstance(text, str) and len(text) <= _TEXT_LIMIT for text in texts):
        raise FingerprintError(f"task card holds a text that is no string or longer than {_TEXT_LIMIT}")
    counts = [n_images, *classes.values()]
    if not all(type(count) is int and 0 <= count < 2**53 for count in counts):
        raise FingerprintError("task card: counts must be integers from 0 to 2^53")


def _read_properties(value: Any) -> ExpertProperties:
    if not (isinstance(value, dict) and value):
        raise FingerprintError("task card: properties must be a table that states at least one")
    return ExpertProperties.from_json(value)
