"""The rounds of an aggregator on its disk: what is closed is there before anybody is asked the next thing.

``rounds/<round id>/`` beside the catalogue holds ``terms.json``, one file for every closed step and, at the
end, ``unmask.safetensors`` with the opened sum until whoever wanted it has it, and ``transcript.json``, which
stays. ``abandoned.json`` says why a round was given up.
"""

import json
import time
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aggregator.catalogue_place import CataloguePlace, PlaceLike
from aggregator.rounds.round_files import (
    CLOSED_BY,
    Closed,
    Departed,
    StepFile,
    confirmations_in,
    directory_in,
    last_state,
    survivors_in,
)
from federation.canonical import canonical_json
from federation.errors import FedprintError, StoreError
from federation.files import locked, read_file, remove_durably, write_atomically
from federation.round_messages import STEPS, UNMASK
from federation.secagg.server import Opened
from federation.secagg.terms import Terms
from federation.secagg.transcript import Transcript

ROUNDS_FOLDER = "rounds"
OPENED, FINISHED, ABANDONED = "opened", "finished", "abandoned"

_TERMS, _TRANSCRIPT, _FINISHED, _ABANDONED = (
    "terms.json", "transcript.json", "finished.json", "abandoned.json",
)  # fmt: skip


@dataclass(frozen=True)
class KeptRound:
    """One round on the disk.

    Args:
        folder: Its folder.
        terms: What it is about.
        job_id: The job that began it.
        began: Unix time in seconds.
    """

    folder: Path
    terms: Terms
    job_id: str
    began: float

    @classmethod
    def read(cls, folder: Path) -> "KeptRound":
        """Read a round.

        Raises:
            StoreError: If its terms are missing or damaged.
        """
        value = _read_json(folder / _TERMS)
        try:
            kept = cls(folder, Terms.from_json(value["terms"]), str(value["job"]), float(value["began"]))
        except (KeyError, TypeError, ValueError, FedprintError) as error:
            raise StoreError(
                f"{folder / _TERMS} holds no terms of a round", remedy="remove that folder"
            ) from error
        if folder.name != kept.terms.round_id:
            raise StoreError(f"{folder} holds the terms of another round", remedy="remove that folder")
        return kept

    @property
    def status(self) -> str:
        """``"finished"``, ``"abandoned"``, ``"opened"``, or the step that is being asked for."""
        for name, status in ((_FINISHED, FINISHED), (_ABANDONED, ABANDONED)):
            if (self.folder / name).exists():
                return status
        waiting = [step for step in STEPS if not self._path(step).exists()]
        return OPENED if UNMASK not in waiting else waiting[0]

    @property
    def is_going_on(self) -> bool:
        """Whether a later run may still have something of it."""
        return self.status not in (FINISHED, ABANDONED)

    @property
    def is_waiting(self) -> bool:
        """Whether sites are still to be asked something."""
        return self.status in STEPS

    def state(self) -> Closed | None:
        """Return the state after the last closed step, None before the first.

        Raises:
            StoreError: If a file is damaged.
        """
        return last_state(self.terms, self._files())

    def close_step(self, state: Closed, departed: Departed) -> None:
        """Make the end of a step durable; nobody may be asked for the next before.

        Args:
            state: What followed the step.
            departed: Who was asked and did not answer well.

        Raises:
            StoreError: If it cannot be written; then the step is still open.
        """
        file = StepFile.of_state(state, departed, time.time())
        write_atomically(self._path(CLOSED_BY[type(state)]), file.to_bytes())
        if isinstance(state, Opened):
            self.tidy()

    def tidy(self) -> None:
        """Keep the transcript of an opened round and nothing else of its steps but the sum."""
        files = self._files()
        if not (self.folder / _TRANSCRIPT).exists():
            transcript = Transcript(
                self.terms, directory_in(files), survivors_in(files), confirmations_in(files)
            )
            told = {"at": files[UNMASK].at, "departures": _departures(files)}
            write_atomically(self.folder / _TRANSCRIPT, canonical_json(transcript.to_json() | told))
        self._forget(step for step in STEPS if step != UNMASK)

    def finish(self, result: str) -> None:
        """Mark that whoever wanted the sum has it, and forget it here.

        Args:
            result: What it became, such as the id of a fingerprint.
        """
        write_atomically(self.folder / _FINISHED, canonical_json({"at": time.time(), "result": result}))
        self._forget(STEPS)

    def abandon(self, code: str, why: str) -> None:
        """Mark that nobody goes on with the round, and forget what was sent in it.

        Args:
            code: Code of the reason.
            why: The reason in words.
        """
        told = {"at": time.time(), "code": code, "why": why, "departures": self.departures()}
        write_atomically(self.folder / _ABANDONED, canonical_json(told))
        self._forget(STEPS)

    def departures(self) -> dict[str, Departed]:
        """Return step → site → why it did not go on from there."""
        for name in (_TRANSCRIPT, _ABANDONED):
            if (self.folder / name).exists():
                return dict(_read_json(self.folder / name)["departures"])
        try:
            return _departures(self._files())
        except StoreError:  # damaged; it is told elsewhere
            return {}

    def result(self) -> str:
        """Return what the sum of a finished round became, empty of another."""
        path = self.folder / _FINISHED
        return str(_read_json(path)["result"]) if path.exists() else ""

    def why_abandoned(self) -> str:
        """Return why it was given up, empty of another."""
        path = self.folder / _ABANDONED
        return str(_read_json(path)["why"]) if path.exists() else ""

    def ended(self) -> float | None:
        """Return the Unix time at which it was opened or abandoned."""
        for name in (_TRANSCRIPT, _ABANDONED):
            if (self.folder / name).exists():
                return float(_read_json(self.folder / name)["at"])
        return None

    def told(self) -> dict[str, Any]:
        """Return what is told of a round: who contributed, who left where and why, and how it ended."""
        transcript = self.transcript()
        told = {
            "round": self.terms.round_id,
            "cohort": self.terms.cohort,
            "task": str(self.terms.purpose.get("task", "")),
            "digest": self.terms.digest.hex(),
            "state": self.status,
            "contributors": list(transcript.survivors.alive) if transcript else [],
            "departures": {step: dict(departed) for step, departed in self.departures().items()},
        }
        return told | ({"why": self.why_abandoned()} if self.status == ABANDONED else {})

    def transcript(self) -> Transcript | None:
        """Return what was signed, None of a round that was not opened.

        Raises:
            StoreError: If the file cannot be read.
            MessageError: If it is no transcript.
        """
        path = self.folder / _TRANSCRIPT
        return Transcript.from_json(_read_json(path)) if path.exists() else None

    def _files(self) -> dict[str, StepFile]:
        paths = {step: self._path(step) for step in STEPS}
        return {
            step: StepFile.from_bytes(read_file(path, "round"), str(path))
            for step, path in paths.items()
            if path.exists()
        }

    def _path(self, step: str) -> Path:
        return self.folder / f"{step}.safetensors"

    def _forget(self, steps: Iterable[str]) -> None:
        for step in steps:
            if self._path(step).exists():
                remove_durably(self._path(step))


class RoundStore:
    """Every round of an aggregator.

    Args:
        folder: ``rounds`` beside the catalogue; made with the first round.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def beside(cls, catalogue: PlaceLike) -> "RoundStore":
        """Return the rounds of an aggregator with this catalogue."""
        return cls(CataloguePlace.of(catalogue).folder / ROUNDS_FOLDER)

    def locked(self, what: str) -> AbstractContextManager[None]:
        """Keep other runs waiting that would do the same with these rounds."""
        return locked(self.folder / f".{what}.lock")

    def rounds(self) -> list[KeptRound]:
        """Return every round, in the order in which they began.

        Raises:
            StoreError: If the terms of one are damaged.
        """
        begun = self.folder.glob(f"*/{_TERMS}")
        return sorted((KeptRound.read(path.parent) for path in begun), key=lambda each: each.began)

    def begin(self, terms: Terms, job_id: str) -> KeptRound:
        """Make the beginning of a round durable.

        Raises:
            StoreError: If it cannot be written, or there was such a round.
        """
        kept = KeptRound(self.folder / terms.round_id, terms, job_id, time.time())
        if (kept.folder / _TERMS).exists():
            raise StoreError(
                f"there was a round {terms.round_id} before", remedy="give every round its own id"
            )
        value = {"terms": terms.to_json(), "job": job_id, "began": kept.began}
        write_atomically(kept.folder / _TERMS, canonical_json(value))
        return kept

    def going_on(self, terms: Terms) -> list[KeptRound]:
        """Return the rounds, oldest first, that ask the same as these terms and are not at their end."""
        return [each for each in self.rounds() if each.is_going_on and same_question(each.terms, terms)]


def same_question(one: Terms, other: Terms) -> bool:
    """Return whether two terms differ in nothing but round id and expiry."""
    return replace(one, round_id=other.round_id, expires=other.expires).digest == other.digest


def _departures(files: Mapping[str, StepFile]) -> dict[str, Departed]:
    return {step: dict(file.departed) for step, file in files.items() if file.departed}


def _read_json(path: Path) -> dict[str, Any]:
    data = read_file(path, "record of a round")
    try:
        value = json.loads(data)
        if not isinstance(value, dict):
            raise TypeError
    except (ValueError, TypeError) as error:
        raise StoreError(
            f"{path} is damaged", remedy="restore it from a backup, or remove its folder"
        ) from error
    return value
