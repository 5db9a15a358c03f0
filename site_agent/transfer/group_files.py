"""What a site keeps of a common training between its rounds: what is its own, and what it adds to a sum.

``state/transfer/groups/<group>/<task>/own-<round>.safetensors`` holds the task's head and the running
statistics of normalisation after a round, ``update-<round>.safetensors`` the backbone before and after a
round whose updates are summed under masks. None of them ever leaves.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from federation.container import pack, unpack
from federation.errors import FingerprintError, StoreError, TransferError
from federation.files import read_file, remove_durably, write_atomically
from federation.names import check_name
from federation.transfer.masked_update import training_digest
from federation.transfer.model import Weights
from federation.transfer.step import CotrainStep
from site_agent.transfer.step_files import FOLDER

_GROUPS = "groups"
_HEAD, _STATISTICS, _TRAINED, _START = "head", "statistics", "trained", "start"
_NAME = re.compile(r"(own|update)-([0-9]{1,5})\.safetensors")


@dataclass(frozen=True)
class OwnPart:
    """What of a network is the site's own.

    Args:
        head: ``weight`` and ``bias``.
        statistics: Running statistics of normalisation by name.
    """

    head: Weights = field(repr=False)
    statistics: Weights = field(repr=False)


@dataclass(frozen=True)
class Update:
    """What a site trained in a round of masked training.

    Args:
        partners: The sites that train together.
        trained: The shared arrays after the round.
        start: The same before it.
        training: Digest of what all sites of the group did alike.
    """

    partners: tuple[str, ...]
    trained: Weights = field(repr=False)
    start: Weights = field(repr=False)
    training: str = ""


@dataclass(frozen=True)
class GroupFiles:
    """One task's part in one common training.

    Args:
        folder: Where.
    """

    folder: Path

    @classmethod
    def of(cls, state: Path, group: str, task: str) -> Self:
        """Return what a site keeps.

        Args:
            state: The site's state folder.
            group: The common training, 64 hexadecimal digits.
            task: The site's task.
        """
        return cls(state / FOLDER / _GROUPS / check_name("group", group) / check_name("task", task))

    def own(self, round_number: int) -> OwnPart:
        """Return what the site kept after a round.

        Raises:
            StoreError: If it is damaged.
            TransferError: If it did not do that round.
        """
        path = self._path("own", round_number)
        if not path.exists():
            raise TransferError(
                f"this site did not do round {round_number} of the common training, so that it has no head",
                remedy="let it train from the first round on",
            )
        _, arrays = _read(path)
        return OwnPart(_part(arrays, _HEAD), _part(arrays, _STATISTICS))

    def maker(self, round_number: int) -> str | None:
        """Return the id of the step whose head the site kept after a round; None where it kept none.

        Raises:
            StoreError: If it is damaged.
        """
        path = self._path("own", round_number)
        return str(_read(path)[0].get("step", "")) if path.exists() else None

    def keep_own(self, step: CotrainStep, own: OwnPart) -> None:
        """Keep what is the site's own after a round; what only earlier rounds needed is removed.

        The round before stays, so that a step that was interrupted now can be done again.

        Raises:
            StoreError: If it cannot be written.
        """
        arrays = _named(_HEAD, own.head) | _named(_STATISTICS, own.statistics)
        write_atomically(self._path("own", step.round), pack({"step": step.step_id}, arrays))
        self._forget(step.round)

    def update(self, round_number: int) -> Update | None:
        """Return what was trained in a round; None where it was not, or is not needed any more.

        Raises:
            StoreError: If it is damaged.
        """
        path = self._path("update", round_number)
        if not path.exists():
            return None
        header, arrays = _read(path)
        partners, training = tuple(map(str, header["partners"])), str(header.get("training", ""))
        return Update(partners, _part(arrays, _TRAINED), _part(arrays, _START), training)

    def keep_update(self, step: CotrainStep, trained: Weights, start: Weights) -> None:
        """Keep what was trained in a round until it is summed.

        Raises:
            StoreError: If it cannot be written.
        """
        alike = training_digest(step)
        header = {"step": step.step_id, "partners": list(step.partners), "training": alike}
        data = pack(header, _named(_TRAINED, trained) | _named(_START, start))
        write_atomically(self._path("update", step.round), data)

    def _forget(self, round_number: int) -> None:
        """Remove what is older than the round before, and updates before this round: they are summed."""
        for path in self.folder.glob("*.safetensors"):
            found = _NAME.fullmatch(path.name)
            oldest = round_number - 1 if found and found[1] == "own" else round_number
            if found and int(found[2]) < oldest:
                remove_durably(path)

    def _path(self, kind: str, round_number: int) -> Path:
        return self.folder / f"{kind}-{round_number}.safetensors"


def _named(kind: str, weights: Weights) -> dict[str, Any]:
    return {f"{kind}/{name}": array for name, array in weights.items()}


def _part(arrays: Mapping[str, Any], kind: str) -> dict[str, Any]:
    return {
        name.removeprefix(f"{kind}/"): array for name, array in arrays.items() if name.startswith(f"{kind}/")
    }


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        return unpack(read_file(path, "a site's part in a common training"), str(path))
    except FingerprintError as error:
        raise StoreError(f"{path} is damaged", remedy="begin the common training anew") from error
