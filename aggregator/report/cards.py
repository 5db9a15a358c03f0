"""A card per task: what the site says about it, what protects it, and whom it should ask."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from aggregator.report.advice import Advice
from aggregator.report.data import ReportData, TaskEntry
from aggregator.report.gains import Gains, gains
from aggregator.report.groups import Group
from aggregator.report.words import (
    counted,
    is_exact,
    say_count,
    say_number,
    say_privacy,
    say_sampling,
    say_statement,
    say_uncertain,
    sentence,
    shorten,
)
from federation.ranking import Recommendation

N_TOP = 3
_N_CLASSES = 6
_N_MORE = 60
_N_KEYWORDS = 12
_TITLE_LIMIT = 110
_TEXT_LIMIT = 300


@dataclass(frozen=True)
class ClassBar:
    """One class of a task.

    Args:
        name: Name of the class.
        count: Number of images, in words.
        width: Share of the largest class, 0 to 100.
    """

    name: str
    count: str
    width: float


@dataclass(frozen=True)
class Card:
    """Everything the page says about one task.

    Args:
        index: Position of the task in the matrix.
        entry: The task itself.
        group: Its colour and symbol.
        title: Its title in one line; its name where it has none.
        facts: Label and text of what else the site states.
        bars: Its largest classes.
        n_hidden_classes: Number of classes without a bar.
        privacy: Short line and full sentence.
        statement: Label and text of everything the privacy statement states.
        exact: Whether exact histograms were released.
        provenance: Label and text of how the fingerprint was made.
        top: The first recommendations.
        more: The next ones.
        n_hidden_sources: Number of sources in neither list.
        gains: What past outcomes say, one entry per setting that was measured.
    """

    index: int
    entry: TaskEntry
    group: Group
    title: str
    facts: tuple[tuple[str, str], ...]
    bars: tuple[ClassBar, ...]
    n_hidden_classes: int
    privacy: tuple[str, str]
    statement: tuple[tuple[str, str], ...]
    exact: bool
    provenance: tuple[tuple[str, str], ...]
    top: tuple[Advice, ...]
    more: tuple[Advice, ...]
    n_hidden_sources: int
    gains: tuple[Gains, ...]


def make_cards(report: ReportData, groups: list[Group]) -> list[Card]:
    """Return a card per task, in matrix order.

    Args:
        report: The report's data.
        groups: Group per task.
    """
    places = {task.key: index for index, task in enumerate(report.tasks)}
    return [_card(index, task, groups[index], report, places) for index, task in enumerate(report.tasks)]


def _card(
    index: int,
    task: TaskEntry,
    group: Group,
    report: ReportData,
    places: Mapping[str, int],
) -> Card:
    ranking = report.recommendations.get(task.key, ())
    advice = tuple(_advice(found, places) for found in ranking[: N_TOP + _N_MORE])
    return Card(
        index=index,
        entry=task,
        group=group,
        title=shorten(task.card.title or task.card.task, _TITLE_LIMIT),
        facts=_facts(task),
        bars=_bars(task.card.classes),
        n_hidden_classes=max(len(task.card.classes) - _N_CLASSES, 0),
        privacy=say_privacy(task.privacy),
        statement=_shortened(say_statement(task.privacy)),
        exact=is_exact(task.privacy),
        provenance=_provenance(task),
        top=advice[:N_TOP],
        more=advice[N_TOP:],
        n_hidden_sources=len(ranking) - len(advice),
        gains=tuple(gains(found, places) for found in report.forecasts.get(task.key, ())),
    )


def _facts(task: TaskEntry) -> tuple[tuple[str, str], ...]:
    card = task.card
    keywords = ", ".join(card.keywords[:_N_KEYWORDS])
    properties = ", ".join(f"{name} {answer}" for name, answer in card.properties.to_json().items())
    stated = (
        ("Modality", card.modality),
        ("Body part", card.body_part),
        ("Keywords", keywords),
        ("Properties", properties),
        ("Licence", card.licence),
        ("Contact", card.contact),
    )
    return _shortened(stated)


def _shortened(stated: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple((label, shorten(text, _TEXT_LIMIT)) for label, text in stated if text.strip())


def _bars(classes: Mapping[str, int]) -> tuple[ClassBar, ...]:
    largest = sorted(classes.items(), key=lambda item: (-item[1], item[0]))[:_N_CLASSES]
    full = max([count for _, count in largest], default=0) or 1
    return tuple(
        ClassBar(shorten(name, 60), say_count(count), round(100 * count / full, 1)) for name, count in largest
    )


def _provenance(task: TaskEntry) -> tuple[tuple[str, str], ...]:
    made = task.provenance
    stated = (
        ("Images used" if task.privacy.is_exact else f"{sentence(counted(task.privacy))}s", _number(task)),
        ("Drawn", say_sampling(made)),
        ("Unreadable", _unreadable(made.n_unreadable)),
        ("Arithmetic", made.arithmetic),
        ("Made with", f"fedprint {made.fedprint}"),
        ("Trust mode", str(task.privacy.mode)),
        ("Fingerprint", task.fingerprint_id),
    )
    return _shortened(stated)


def _number(task: TaskEntry) -> str:
    said = say_number(task.n, task.privacy)
    return said if task.privacy.is_exact else f"{said}, counted with noise"


def _unreadable(count: int | None) -> str:
    return "not told" if count is None else say_count(count) if count else ""


def _advice(found: Recommendation, places: Mapping[str, int]) -> Advice:
    reasons = tuple(shorten(reason, _TEXT_LIMIT) for reason in found.reasons)
    value = say_uncertain(found.value, found.standard_error)
    return Advice(found.rank, found.source, places.get(found.source), value, reasons, bool(found.ties))
