"""App bundles: what the hub may start here, approved by a person, named by the hash of its bytes.

``bundles/approved/SHA256.fab`` may run; ``bundles/waiting/SHA256.fab`` was refused and waits for somebody who
looks at it. Both folders are read anew for every decision, so that approving and revoking need no restart. A
bundle that waits is bytes in a file and nothing more: only a person's command opens it, in memory.
"""

import logging
import re
import time
from dataclasses import dataclass
from pathlib import Path

from federation.app_bundle import MAXIMUM_BYTES
from federation.canonical import sha256_hex
from federation.errors import BundleError
from federation.files import read_file, remove_durably, write_atomically
from site_agent.site_folder import SiteFolder
from site_agent.state import SiteState

MAXIMUM_WAITING = 8
"""So many refused bundles are kept; a further one takes the place of the oldest."""

REFUSED, APPROVED, REVOKED = "bundle-refused", "bundle-approved", "bundle-revoked"
"""Events in the site's log."""

_DIGEST = re.compile(r"[0-9a-f]{64}")
log = logging.getLogger("fedprint.site")


@dataclass(frozen=True)
class KeptBundle:
    """A bundle on this machine.

    Args:
        digest: SHA-256 it is named by; its bytes are not checked yet.
        since: Unix time when it was put there.
        n_bytes: Its size.
    """

    digest: str
    since: float
    n_bytes: int


class Bundles:
    """The bundles of one site.

    Args:
        folder: Where the site keeps its files.
        state: Where approvals and refusals are recorded.
    """

    def __init__(self, folder: SiteFolder, state: SiteState) -> None:
        self._approved, self._waiting = folder.approved_bundles, folder.waiting_bundles
        self._state = state

    def admits(self, bundle: bytes, digest: str) -> bool:
        """Return whether a bundle may run here now.

        Args:
            bundle: Its bytes, as they arrived.
            digest: The SHA-256 that whoever sent it calls it by.
        """
        if sha256_hex(bundle) != digest:
            log.error("an app bundle that is called %s has other content and is refused", digest[:64])
            return False
        path = _place(self._approved, digest)
        if not path.is_file():
            return False
        if path.read_bytes() == bundle:
            return True
        log.error("the approved app bundle %s was altered on this machine and is refused", path)
        return False

    def keep_waiting(self, bundle: bytes) -> str:
        """Keep a refused bundle for somebody to look at, and return its SHA-256.

        One that is too large is only recorded.

        Raises:
            StoreError: If it cannot be written.
        """
        digest = sha256_hex(bundle)
        path = _place(self._waiting, digest)
        if path.exists():
            return digest
        kept = len(bundle) <= MAXIMUM_BYTES
        if kept:
            self._make_room()
            write_atomically(path, bundle)
        log.warning("an app bundle that nobody approved is refused: %s (%d bytes)", digest, len(bundle))
        self._state.record(REFUSED, bundle=digest, bytes=len(bundle), kept=kept)
        return digest

    def waiting(self) -> list[KeptBundle]:
        """Return the bundles that wait, the newest first."""
        return _listed(self._waiting)

    def approved(self) -> list[KeptBundle]:
        """Return the bundles that may run, the last approved first."""
        return _listed(self._approved)

    def read(self, digest: str) -> bytes:
        """Return the bytes of a bundle that waits or is approved.

        Raises:
            BundleError: If there is none, or its bytes are not what its name says.
            StoreError: If it cannot be read.
        """
        folder = next((f for f in (self._waiting, self._approved) if _place(f, digest).is_file()), None)
        if folder is None:
            raise BundleError(
                f"no app bundle {digest} waits or is approved here",
                remedy="fedprint site approve lists those that wait",
            )
        path = _place(folder, digest)
        bundle = read_file(path, "the app bundle")
        if sha256_hex(bundle) != digest:
            raise BundleError(
                f"the app bundle {path} was altered: its content is not what its name says",
                remedy="remove the file; the hub sends the bundle again",
            )
        return bundle

    def approve(self, bundle: bytes) -> str:
        """Let a bundle run here from now on, and return its SHA-256.

        Raises:
            StoreError: If that cannot be written.
        """
        digest = sha256_hex(bundle)
        write_atomically(_place(self._approved, digest), bundle)
        self._state.record(APPROVED, bundle=digest)
        remove_durably(_place(self._waiting, digest))
        return digest

    def revoke(self, digest: str) -> None:
        """Let a bundle run no longer; what it works on now it finishes.

        Raises:
            BundleError: If it was not approved.
            StoreError: If it cannot be removed.
        """
        path = _place(self._approved, digest)
        if not path.exists():
            raise BundleError(
                f"the app bundle {digest} is not approved here",
                remedy="fedprint site approve lists the approved",
            )
        remove_durably(path)
        self._state.record(REVOKED, bundle=digest)

    def complete(self, beginning: str) -> str:
        """Return the SHA-256 of the one bundle here whose SHA-256 begins so.

        Raises:
            BundleError: If none or several do.
        """
        known = {each.digest for each in (*self.waiting(), *self.approved())}
        found = [digest for digest in known if digest.startswith(beginning.lower())]
        if len(found) != 1:
            raise BundleError(
                f"{len(found)} app bundles here begin with {beginning!r}",
                remedy="give all 64 digits; fedprint site approve lists them",
            )
        return found[0]

    def _make_room(self) -> None:
        for oldest in self.waiting()[MAXIMUM_WAITING - 1 :]:
            remove_durably(_place(self._waiting, oldest.digest))


def _place(folder: Path, digest: str) -> Path:
    """Where a bundle lies; whatever is no SHA-256 gets a name that nothing has."""
    return folder / f"{digest if _DIGEST.fullmatch(digest) else 'none'}.fab"


def _listed(folder: Path) -> list[KeptBundle]:
    found = [path for path in folder.glob("*.fab") if _DIGEST.fullmatch(path.stem)]
    kept = [KeptBundle(path.stem, path.stat().st_mtime, path.stat().st_size) for path in found]
    return sorted(kept, key=lambda each: (-each.since, each.digest))


def age_text(since: float) -> str:
    """Return a moment in words for a person: local date and time."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(since))
