"""A site's durable memory: released fingerprints by job, exact sketches that never leave, and a log."""

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from federation.canonical import canonical_json
from federation.errors import StoreError
from federation.files import write_atomically
from federation.names import check_name


@dataclass(frozen=True)
class SiteState:
    """Files below one folder of the site.

    Args:
        folder: Where the site keeps its key, its releases, its sketches and its log.
    """

    folder: Path

    @property
    def key_path(self) -> Path:
        """Where the signing key lives."""
        return self.folder / "identity.key"

    @property
    def log_path(self) -> Path:
        """The site's own log, with full error texts; it stays at the site."""
        return self.folder / "log.jsonl"

    def release(self, job_id: str, task: str) -> bytes | None:
        """Return what was released for a task under a job, if anything."""
        path = self._release_path(job_id, task)
        return path.read_bytes() if path.exists() else None

    def keep_release(self, job_id: str, task: str, fingerprint: bytes) -> None:
        """Store a release before it is sent.

        Raises:
            StoreError: If it cannot be made durable.
        """
        write_atomically(self._release_path(job_id, task), fingerprint)

    @property
    def sketches(self) -> Path:
        """Folder of exact sketches; they never leave."""
        return self.folder / "sketches"

    @property
    def admissions(self) -> Path:
        """Folder of the record which patients are in a released cohort; it never leaves."""
        return self.folder / "admissions"

    @property
    def exact_sums(self) -> Path:
        """Folder of what binds the site in later exact sums of its cohorts; it never leaves."""
        return self.folder / "exact-sums"

    def contact_sheet_path(self, task: str) -> Path:
        """Where the pictures are kept that a person looks at to describe a task; they never leave."""
        return self.folder / "contact-sheets" / f"{task}.png"

    def approval_path(self, task: str) -> Path:
        """Where it is kept which card of a task may leave."""
        return self.folder / "approved-cards" / f"{task}.sha256"

    def ranking_path(self, task: str) -> Path:
        """Where a listening task's latest local ranking is kept."""
        return self.folder / "rankings" / f"{task}.json"

    def record(self, event: str, **detail: Any) -> None:
        """Append one line to the site's log.

        Raises:
            StoreError: If the log cannot be written.
        """
        line = canonical_json({"at": round(time.time(), 3), "event": event, **detail})
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with os.fdopen(self._append_privately(), "ab") as file:
                # A line that a crash cut short must not swallow this one.
                file.write(b"\n" + line + b"\n")
        except OSError as error:
            raise StoreError(
                f"the site log {self.log_path} cannot be written: {error.strerror}",
                remedy="free disk space or correct the folder's permissions",
            ) from error

    def events(self) -> list[dict[str, Any]]:
        """Return the log, oldest first; a line that a crash cut short is left out."""
        if not self.log_path.exists():
            return []
        return [event for line in self.log_path.read_bytes().splitlines() if (event := _parsed(line))]

    def _append_privately(self) -> int:
        """Only the owner reads a log that can name image files."""
        return os.open(self.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def _release_path(self, job_id: str, task: str) -> Path:
        name = f"{check_name('task', task)}.safetensors"
        return self.folder / "releases" / check_name("job", job_id) / name


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        event: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return event
