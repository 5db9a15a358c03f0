"""Where a site keeps its rounds: one file for each, replaced as a whole and durable before anything is said.

``state/rounds/<round id>/round.safetensors`` holds a round's secrets while it runs. When it ends the same
file becomes a note without secrets, which stays: a round id is never used again.
"""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from federation.errors import FingerprintError, MessageError, StoreError
from federation.files import locked, read_file, remove_durably, write_atomically
from site_agent.rounds.memory import OPEN, EndedRound, KnownRound, OpenRound, read_round
from site_agent.rounds.payment import ROUND_FILE, ROUNDS, round_header, round_paths

_LOCK = "lock"
_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class RoundFiles:
    """What one site keeps of one round.

    Args:
        folder: Where.
        site: The site.
    """

    folder: Path
    site: str

    @property
    def path(self) -> Path:
        """The one file that says everything."""
        return self.folder / ROUND_FILE

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other threads and processes of the site from answering in this round."""
        with locked(self.folder / _LOCK):
            yield

    def read(self) -> KnownRound | None:
        """Return what is known of the round; None: nothing.

        Raises:
            StoreError: If that is damaged.
        """
        return read_round(read_file(self.path, "a round"), self.site) if self.path.exists() else None

    def about(self) -> dict[str, Any]:
        """Return the plain values of what is known, without reading all of it; none where it is damaged."""
        try:
            return round_header(self.path) if self.path.exists() else {}
        except (OSError, FingerprintError):
            return {}

    def keep(self, known: OpenRound) -> None:
        """Make it durable how far the round is.

        Raises:
            StoreError: If that fails; nothing may be said then.
        """
        write_atomically(self.path, known.to_bytes())

    def end(self, ended: EndedRound) -> None:
        """Forget every secret of the round, and what a crash in the middle of a write left of it.

        Raises:
            StoreError: If that fails; ending it again goes on there.
        """
        for path in sorted(self.folder.iterdir()):
            if path.name not in (ROUND_FILE, _LOCK):
                remove_durably(path)
        write_atomically(self.path, ended.to_bytes())


@dataclass(frozen=True)
class SiteRounds:
    """All rounds that a site took part in.

    Args:
        state: The site's state folder.
        site: The site.
    """

    state: Path
    site: str

    def of(self, round_id: str) -> RoundFiles:
        """Return what is kept of a round.

        Raises:
            MessageError: If no round can have this id.
        """
        if not _ID.fullmatch(round_id):
            raise MessageError("a round id is none", remedy="use the same fedprint version everywhere")
        return RoundFiles(self.state / ROUNDS / round_id, self.site)

    def all(self) -> tuple[RoundFiles, ...]:
        """Return every round that something is kept of."""
        return tuple(RoundFiles(path.parent, self.site) for path in round_paths(self.state))


def forget_if_expired(files: RoundFiles) -> EndedRound | None:
    """Forget the secrets of a round if its time is over.

    Returns:
        What stays of it; None if it goes on, had ended before, or cannot be read.

    Raises:
        StoreError: If the file cannot be written.
    """
    about = files.about()
    if about.get("is") != OPEN or time.time() <= about["terms"]["expires"]:
        return None
    with files.alone():
        try:
            known = files.read()
        except StoreError:
            return None
        if not isinstance(known, OpenRound):
            return None
        ended = EndedRound.of(known, round(time.time(), 3))
        files.end(ended)
        return ended
