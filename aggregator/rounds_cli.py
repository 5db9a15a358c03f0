"""``fedprint hub rounds``: what became of every round, and whether its transcript holds."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from aggregator.config import HubConfig
from aggregator.options import JsonOption, find_catalogue, print_json
from aggregator.rounds.round_store import ROUNDS_FOLDER, KeptRound, RoundStore
from aggregator.tables import wide_console
from federation.errors import FedprintError, MessageError, StoreError
from federation.round_messages import STEPS

VERIFIED, NOT_OPENED = "verified", "not opened"


def rounds(
    place: Annotated[
        Path | None,
        typer.Argument(help="Hub file, catalogue or their folder; by default the newest catalogue here."),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Verify all signatures of every transcript.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List the rounds of cohorts: who contributed, who left where and why."""
    store = _store(place)
    told = [_told(kept, verify=verify) for kept in store.rounds()]
    if as_json:
        print_json({"rounds": told})
    elif told:
        wide_console().print(_table(told, verify=verify))
    else:
        wide_console().print(f"no round has begun in {store.folder}", highlight=False)
    false = [each for each in told if each.get("transcript") not in (None, VERIFIED, NOT_OPENED)]
    if false:
        raise MessageError(
            f"the transcript of round {false[0]['round']} does not hold: {false[0]['transcript']}",
            remedy="restore it from a backup; without it nobody can show who signed what",
        )


def _store(place: Path | None) -> RoundStore:
    """Return the rounds beside a catalogue, which a hub file may name."""
    if place is None:
        return RoundStore.beside(find_catalogue(Path.cwd()))
    if place.suffix == ".toml":
        return RoundStore.beside(HubConfig.read(place).catalogue)
    folder = place if place.is_dir() else place.parent
    if not place.exists():
        raise StoreError(f"{place} does not exist", remedy="name a hub file, a catalogue or its folder")
    return RoundStore(folder if folder.name == ROUNDS_FOLDER else folder / ROUNDS_FOLDER)


def _told(kept: KeptRound, *, verify: bool) -> dict[str, Any]:
    """Return what is told of a round; with a damaged transcript nothing of it but that."""
    try:
        told = kept.told()
    except MessageError as error:
        told = {"round": kept.terms.round_id, "cohort": kept.terms.cohort, "state": kept.status}
        told |= {"task": "", "contributors": [], "departures": {}, "transcript": error.problem}
    told |= {"members": sorted(kept.terms.members), "began": kept.began, "ended": kept.ended()}
    if verify and "transcript" not in told:
        told["transcript"] = _verified(kept)
    return told


def _verified(kept: KeptRound) -> str:
    """Return whether the transcript holds, or what is wrong with it."""
    try:
        transcript = kept.transcript()
        if transcript is None:
            return NOT_OPENED
        if transcript.terms != kept.terms:
            return "it is about other terms than the round"
        transcript.verify()
    except FedprintError as error:
        return error.problem
    return VERIFIED


def _table(told: Sequence[Mapping[str, Any]], *, verify: bool) -> Table:
    headings = ["began", "cohort", "task", "state", "in the sum", "left", "round"]
    table = Table(*headings, *(["transcript"] if verify else []), box=box.SIMPLE_HEAD)
    for each in told:
        opened = f"{len(each['contributors'])} of {len(each['members'])}" if each["contributors"] else "–"
        cells = [_moment(each["began"]), each["cohort"], each["task"], _say_state(each), opened]
        cells += [_say_departures(each["departures"]), each["round"]]
        table.add_row(*map(escape, cells + ([each["transcript"]] if verify else [])))
    return table


def _say_state(told: Mapping[str, Any]) -> str:
    state, why = told["state"], told.get("why")
    if state in STEPS:
        return f"waits at {state}"
    return f"{state}: {why}" if why else str(state)


def _say_departures(departures: Mapping[str, Mapping[str, str]]) -> str:
    said = [f"{site} at {step} ({code})" for step, left in departures.items() for site, code in left.items()]
    return ", ".join(said) or "nobody"


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
