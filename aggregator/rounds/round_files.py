"""The aggregator's state after a step of a round as one file: messages, who departed and when.

Nothing in such a file is a secret of a site: keys are public, shares sealed, the sum still under its masks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from federation.container import Arrays, pack, unpack
from federation.errors import FedprintError, StoreError
from federation.round_messages import ADVERTISE, CONFIRM, MASK, SHARE, UNMASK
from federation.secagg.messages import Blobs, Body, Confirmations, Directory, MaskedInput, Sealed, Survivors
from federation.secagg.server import Confirming, Masking, Opened, Revealing, Sharing
from federation.secagg.terms import Terms

Departed: TypeAlias = Mapping[str, str]
"""Site → code of why it did not answer a step."""

Closed: TypeAlias = Sharing | Masking | Confirming | Revealing | Opened
CLOSED_BY: Mapping[type[Closed], str] = {
    Sharing: ADVERTISE, Masking: SHARE, Confirming: MASK, Revealing: CONFIRM, Opened: UNMASK,
}  # fmt: skip
"""State → the step that was closed when it began."""

_TOTAL = "total"


@dataclass(frozen=True)
class StepFile:
    """One closed step.

    Args:
        at: Unix time in seconds at which it was closed.
        departed: Who was asked and did not answer well, and why.
        bodies: Name of a message → its plain values.
        arrays: ``message/blob`` → uint8 bytes, and the opened sum.
    """

    at: float
    departed: Departed
    bodies: Mapping[str, Body]
    arrays: Arrays

    @classmethod
    def of_state(cls, state: Closed, departed: Departed, at: float) -> "StepFile":
        """Return what must be kept of a state beyond what was kept of those before."""
        if isinstance(state, Opened):
            bodies = {_TOTAL: {"contributors": list(state.contributors)}}
            return cls(at, departed, bodies, {_TOTAL: state.total})
        messages = _messages(state)
        blobs = {f"{name}/{key}": blob for name, m in messages.items() for key, blob in m.blobs().items()}
        arrays = {name: np.frombuffer(blob, np.uint8) for name, blob in blobs.items()}
        return cls(at, departed, {name: m.body() for name, m in messages.items()}, arrays)

    def to_bytes(self) -> bytes:
        """Return the file's content."""
        bodies = {name: dict(body) for name, body in self.bodies.items()}
        return pack({"at": self.at, "departed": dict(self.departed), "bodies": bodies}, self.arrays)

    @classmethod
    def from_bytes(cls, data: bytes, what: str) -> "StepFile":
        """Read what ``to_bytes`` returned.

        Raises:
            StoreError: If it is damaged.
        """
        try:
            header, arrays = unpack(data, what)
            return cls(header["at"], header["departed"], header["bodies"], arrays)
        except (KeyError, FedprintError) as error:
            raise StoreError(f"{what} is damaged", remedy="the round cannot go on; begin another") from error

    def parts(self, name: str) -> tuple[Body, Blobs]:
        """Return plain values and byte strings of a message."""
        prefix = f"{name}/"
        blobs = {k.removeprefix(prefix): a.tobytes() for k, a in self.arrays.items() if k.startswith(prefix)}
        return self.bodies[name], blobs

    @property
    def opened(self) -> Opened:
        """The opened sum, of the file that holds it."""
        return Opened(self.arrays[_TOTAL], tuple(self.bodies[_TOTAL]["contributors"]))


def directory_in(files: Mapping[str, StepFile]) -> Directory:
    """Return everybody's keys, from the files of a round by step."""
    return Directory.from_parts(*files[ADVERTISE].parts("directory"))


def survivors_in(files: Mapping[str, StepFile]) -> Survivors:
    """Return who is in the sum, from the files of a round by step."""
    return Survivors.from_parts(*files[MASK].parts("survivors"))


def confirmations_in(files: Mapping[str, StepFile]) -> Confirmations:
    """Return who signed that, from the files of a round by step."""
    return Confirmations.from_parts(*files[CONFIRM].parts("confirmations"))


def last_state(terms: Terms, files: Mapping[str, StepFile]) -> Closed | None:
    """Return the state that followed the last closed step, None where none was closed.

    Args:
        terms: Those of the round.
        files: Step → its file, of every closed step.

    Raises:
        StoreError: If they do not fit together.
    """
    if not files:
        return None
    try:
        return _rebuilt(terms, files)
    except (KeyError, TypeError, ValueError, FedprintError) as error:
        raise StoreError(
            f"what is kept of round {terms.round_id} is damaged",
            remedy="the round cannot go on; begin another",
        ) from error


def _rebuilt(terms: Terms, files: Mapping[str, StepFile]) -> Closed:
    if UNMASK in files:
        return files[UNMASK].opened
    sharing = Sharing(terms, directory_in(files))
    if MASK not in files:
        return Masking(sharing, _sealed(files[SHARE])) if SHARE in files else sharing
    masked = MaskedInput.from_parts(*files[MASK].parts("masked")).vector.copy()
    confirming = Confirming(sharing, survivors_in(files), masked)
    return Revealing(confirming, confirmations_in(files)) if CONFIRM in files else confirming


def _sealed(file: StepFile) -> dict[str, Sealed]:
    return {site: Sealed.from_parts(*file.parts(site)) for site in sorted(file.bodies)}


def _messages(state: Closed) -> Mapping[str, Any]:
    match state:
        case Sharing():
            return {"directory": state.directory}
        case Masking():
            return dict(state.sealed)
        case Confirming():
            return {"survivors": state.survivors, "masked": MaskedInput(state.masked)}
        case Revealing():
            return {"confirmations": state.confirmations}
        case Opened():
            return {}
