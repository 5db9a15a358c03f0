"""Print the versions of everything that fedprint needs, as they are installed here: ``constraints.txt``.

Run in the environment in which all tests passed:

    python deploy/docker/make_constraints.py > deploy/docker/constraints.txt
"""

import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_ROOT = "fedprint[postgresql]"
_BUILDERS = ("setuptools",)
_HEAD = "# Made by deploy/docker/make_constraints.py in the environment in which the tests passed.\n"


def closure(root: str) -> dict[str, str]:
    """Return name → version of everything that a requirement needs here, without itself."""
    found: dict[str, str] = {}
    waiting = [Requirement(root)]
    seen: set[tuple[str, tuple[str, ...]]] = set()
    while waiting:
        asked = waiting.pop()
        name, extras = canonicalize_name(asked.name), tuple(sorted(asked.extras))
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        found[name] = distribution(name).version.partition("+")[0]
        waiting += _needed(name, extras)
    del found[canonicalize_name(Requirement(root).name)]
    return found


def _needed(name: str, extras: tuple[str, ...]) -> Iterator[Requirement]:
    """Yield what a package needs on this kind of machine."""
    for line in distribution(name).requires or ():
        needed = Requirement(line)
        marker = needed.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in (*extras, "")):
            yield needed


def main() -> None:
    """Print the constraints, sorted."""
    known = closure(_ROOT)
    for name in _BUILDERS:
        try:
            known[name] = distribution(name).version
        except PackageNotFoundError:
            sys.stderr.write(f"{name} is not installed here and left out\n")
    sys.stdout.write(_HEAD + "".join(f"{name}=={version}\n" for name, version in sorted(known.items())))


if __name__ == "__main__":
    main()
