"""Where a site keeps its steps: one folder for each, with a file that says how far it is or how it ended.

``state/transfer/<step id>/running.json`` is there while a step runs, ``ended.json`` once it is done or can
never be. Both are replaced as a whole and durable before anything is said.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from federation.canonical import canonical_json
from federation.errors import MessageError, StoreError
from federation.files import locked, read_file, remove_durably, write_atomically
from federation.transfer.result import Progress, StepResult
from federation.transfer.step import Step

FOLDER = "transfer"
_RUNNING, _ENDED = "running.json", "ended.json"
_ID = re.compile(r"[0-9a-f]{64}")


class _Kept(BaseModel):
    # A step is frozen and strict by itself; from JSON its tuples are lists.
    model_config = ConfigDict(extra="forbid", frozen=True)

    step: Step = Field(discriminator="kind")
    job_id: str
    began: float


class Running(_Kept):
    """A step that was begun.

    Args:
        step: The step.
        job_id: The job that began it.
        began: Unix time in seconds.
        seconds: Time that was spent on it.
        progress: How far it is; None: no slice has ended.
    """

    seconds: float = 0.0
    progress: Progress | None = None


class Ended(_Kept):
    """A step that is done, or can never be.

    Args:
        step: The step.
        job_id: The job that began it.
        began: Unix time in seconds.
        ended: Unix time in seconds.
        result: What was found, where it is done.
        code: Code of the error, where it failed.
        text: What the error said; it stays at the site.
        temporary: Names of what the work needs no more.
    """

    ended: float
    temporary: tuple[str, ...] = ()
    result: StepResult | None = None
    code: str = ""
    text: str = ""


Model = TypeVar("Model", Running, Ended)


@dataclass(frozen=True)
class StepFiles:
    """What a site keeps of one step.

    Args:
        folder: Where.
    """

    folder: Path

    def running(self) -> Running | None:
        """Return how far the step is; None where it was not begun.

        Raises:
            StoreError: If that is damaged.
        """
        return _read(self.folder / _RUNNING, Running)

    def ended(self) -> Ended | None:
        """Return how the step ended; None where it did not.

        Raises:
            StoreError: If that is damaged.
        """
        return _read(self.folder / _ENDED, Ended)

    def keep(self, running: Running) -> None:
        """Make it durable how far the step is.

        Raises:
            StoreError: If that fails.
        """
        write_atomically(self.folder / _RUNNING, canonical_json(running.model_dump(mode="json")))

    def end(self, ended: Ended) -> None:
        """Make it durable how the step ended, then remove what it only needed to go on.

        Raises:
            StoreError: If it cannot be made durable.
        """
        write_atomically(self.folder / _ENDED, canonical_json(ended.model_dump(mode="json")))
        self.tidy(ended)

    def tidy(self, ended: Ended) -> None:
        """Remove what a step that ended does not need any more, as far as that can be removed."""
        for path in [self.folder / name for name in (*ended.temporary, _RUNNING)]:
            with suppress(StoreError):
                if path.is_dir():
                    rmtree(path, ignore_errors=True)
                elif path.exists():
                    remove_durably(path)


@dataclass(frozen=True)
class SiteSteps:
    """All steps that a site was asked for.

    Args:
        state: The site's state folder.
    """

    state: Path

    def of(self, step_id: str) -> StepFiles:
        """Return what is kept of a step.

        Raises:
            MessageError: If no step can have this id.
        """
        if not _ID.fullmatch(step_id):
            raise MessageError("a step id is none", remedy="use the same fedprint version everywhere")
        return StepFiles(self.state / FOLDER / step_id)

    def all(self) -> tuple[StepFiles, ...]:
        """Return every step that something is kept of."""
        folders = (self.state / FOLDER).glob("*/")
        return tuple(StepFiles(path) for path in sorted(folders) if _ID.fullmatch(path.name))

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other threads and processes of the site from working on any step.

        Raises:
            BusyError: If one of them does.
        """
        with locked(self.state / FOLDER / "lock", wait=False):
            yield


def _read(path: Path, kind: type[Model]) -> Model | None:
    if not path.exists():
        return None
    try:
        return kind.model_validate_json(read_file(path, "a step"))
    except ValidationError as error:
        raise StoreError(
            f"{path} is damaged", remedy="remove its folder; the step is done anew when it is asked for again"
        ) from error
