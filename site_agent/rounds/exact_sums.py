"""Exact sums of one cohort are opened with one list of survivors, or their differences would be single sites.

Without noise, the sum over {anna, bern, cork} less that over {anna, bern} is cork, to the last bit; so is a
sum of this year less that of last year where only one site's images changed. So a site contributes the same
numbers to every exact sum of a task and space, and confirms the same survivors in every one of a task: as
more than two thirds of a cohort must confirm, two openings with other survivors would need an honest site
that confirms both. The survivors are the same in all spaces, as two of them may differ in nothing but name.

What binds the site is on its disk before it binds it in the eyes of others.
"""

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from federation.canonical import canonical_json, sha256_hex
from federation.errors import PolicyError, StoreError
from federation.files import locked, read_file, write_atomically
from federation.names import check_name
from federation.secagg.messages import Survivors
from federation.sketches.base import IntVector


@dataclass(frozen=True)
class _Bound:
    """What binds the site.

    Args:
        vectors: Space → SHA-256 of what is contributed there.
        survivors: Who is in every sum; None before the site confirmed any.
    """

    vectors: Mapping[str, str] = field(default_factory=dict)
    survivors: Survivors | None = None


@dataclass(frozen=True)
class ExactSums:
    """The exact sums of one task in one cohort that a site has a part in.

    Args:
        folder: Where the site keeps what binds it.
        cohort: The cohort.
        task: The site's task.
    """

    folder: Path
    cohort: str
    task: str

    @property
    def path(self) -> Path:
        """The file that says what binds the site in this cohort and task."""
        return self.folder / check_name("cohort", self.cohort) / f"{check_name('task', self.task)}.json"

    def require_same(self, space_id: str, values: IntVector) -> None:
        """Raise if other numbers than these were contributed before.

        Args:
            space_id: The space.
            values: int64 [length].

        Raises:
            PolicyError: If they were.
            StoreError: If what binds the site is damaged.
        """
        known = self._read().vectors.get(space_id)
        if known is not None and known != _digest(values):
            raise PolicyError(
                f"the images of task {self.task} are not those of the exact sum that cohort {self.cohort} "
                "began before: two sums would differ by the images that came or went",
                remedy="restore the images, or give the cohort a budget for noise; once nobody can hold the "
                f"earlier sum, remove {self.path}",
            )

    def contribute(self, space_id: str, values: IntVector) -> None:
        """Bind the site to contribute these numbers and no others; arguments and errors as above."""
        with self._alone():
            self.require_same(space_id, values)
            known = self._read()
            self._write(replace(known, vectors={**known.vectors, space_id: _digest(values)}))

    def confirm(self, survivors: Survivors) -> None:
        """Bind the site to confirm these survivors and no others.

        Args:
            survivors: Who is in the sum; who dropped out does not matter.

        Raises:
            PolicyError: If it confirmed others before.
            StoreError: If what binds the site is damaged or cannot be written.
        """
        with self._alone():
            known = self._read()
            if known.survivors is not None and known.survivors.alive != survivors.alive:
                raise PolicyError(
                    f"this site confirmed {', '.join(known.survivors.alive)} for exact sums of task "
                    f"{self.task} in cohort {self.cohort}, and was asked to confirm "
                    f"{', '.join(survivors.alive)}: the difference of two sums could be one site",
                    remedy="ask when the same sites take part, or give the cohort a budget for noise; once "
                    f"nobody can hold the earlier sum, remove {self.path}",
                )
            self._write(replace(known, survivors=survivors))

    def _alone(self) -> AbstractContextManager[None]:
        return locked(self.path.with_suffix(".lock"))

    def _read(self) -> _Bound:
        if not self.path.exists():
            return _Bound()
        try:
            content: dict[str, Any] = json.loads(read_file(self.path, "what binds the site"))
            told = content["survivors"]
            return _Bound(dict(content["vectors"]), None if told is None else Survivors(tuple(told), ()))
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"{self.path} is damaged, so that nobody knows what this site summed before",
                remedy="restore the site's state folder from backup",
            ) from error

    def _write(self, bound: _Bound) -> None:
        alive = None if bound.survivors is None else list(bound.survivors.alive)
        write_atomically(self.path, canonical_json({"vectors": dict(bound.vectors), "survivors": alive}))


def _digest(values: IntVector) -> str:
    return sha256_hex(values.astype("<i8", copy=False).tobytes())
