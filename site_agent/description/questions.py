"""Asking one person about a dataset; Enter keeps what is proposed, a dash says nothing."""

import difflib
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.prompt import Prompt

from federation.distances.semantic import normalised
from federation.expert_properties import PROPERTIES, ExpertProperties, Property
from site_agent.description.answers import Description

NOTHING = "-"

VOCABULARY = (
    *(
        "medical",
        "endoscopy",
        "gastroscopy",
        "colonoscopy",
        "capsule endoscopy",
        "laparoscopy",
        "laryngoscopy",
    ),
    *("confocal endomicroscopy", "dermatoscopy", "x-ray", "ct", "mri", "ultrasound", "fundus", "oct"),
    *("histopathology", "cytology", "microscopy", "anatomical structures", "tissue pathology", "instruments"),
    *("counting", "gynecology", "image artefacts", "natural objects", "animals", "handwriting"),
    *("characters or digits", "documents", "textures"),
)
"""Keywords that others are likely to use too: those of the published tables and the common modalities."""


def ask(console: Console, known: Description) -> Description:
    """Return one person's answers.

    Args:
        console: Where to ask.
        known: What is said already, proposed as the default.
    """
    modality = _ask_text(console, "Modality, for example chest X-ray", known.modality)
    body_part = _ask_text(console, "Body part", known.body_part)
    keywords = _ask_keywords(console, known.keywords or suggested(f"{modality} {body_part}"))
    console.print(f"Six properties of the images; {NOTHING} where you cannot tell.")
    answers = {
        one.name: _ask_property(console, one, getattr(known.properties, one.name)) for one in PROPERTIES
    }
    return Description(modality, body_part, keywords, ExpertProperties(**answers))


def suggested(text: str) -> tuple[str, ...]:
    """Return the words of the vocabulary that occur in a text."""
    said = f" {' '.join(normalised([text]))} "
    return tuple(word for word in VOCABULARY if f" {word} " in said)


def _ask_text(console: Console, question: str, default: str) -> str:
    answer = Prompt.ask(escape(question), console=console, default=default or NOTHING).strip()
    return "" if answer == NOTHING else answer


def _ask_keywords(console: Console, default: Sequence[str]) -> tuple[str, ...]:
    console.print("Keywords, separated by commas. Only equal words match, so prefer words others use too:")
    console.print(f"  {', '.join(VOCABULARY)}", style="dim", highlight=False)
    answer = _ask_text(console, "Keywords", ", ".join(default))
    keywords = tuple(dict.fromkeys(word for part in answer.split(",") if (word := " ".join(part.split()))))
    for word in keywords:
        for meant in difflib.get_close_matches(word.casefold(), VOCABULARY, 1, 0.8):
            if meant != word.casefold():
                console.print(f"  {escape(word)!r}: others may say {meant!r}", style="dim")
    return keywords


def _ask_property(console: Console, asked: Property, default: str | None) -> str | None:
    console.print(f"[bold]{asked.question}[/bold]")
    for number, (answer, meaning) in enumerate(asked.answers.items(), start=1):
        console.print(f"  {number} {answer}: {meaning}", style="dim", highlight=False)
    while True:
        said = Prompt.ask(asked.name, console=console, default=default or NOTHING).strip().casefold()
        if said == NOTHING:
            return None
        if chosen := _meant(said, tuple(asked.answers)):
            return chosen
        console.print(f"  please answer {', '.join(asked.answers)} or {NOTHING}")


def _meant(said: str, answers: Sequence[str]) -> str | None:
    """The answer given by number, name or unambiguous beginning."""
    if said.isdecimal():
        return answers[int(said) - 1] if 0 < int(said) <= len(answers) else None
    matches = [answer for answer in answers if said and answer.startswith(said)]
    return matches[0] if len(matches) == 1 else None
