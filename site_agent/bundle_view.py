"""An app bundle as a person reads it who decides whether it may run here."""

import difflib
from collections.abc import Mapping

from federation.app_bundle import bundle_bytes, bundle_files, bundle_hash
from federation.errors import BundleError
from site_agent.bundles import Bundles

_LONGEST_LINE = 400


def installed_bundle() -> tuple[str, bytes]:
    """Return SHA-256 and bytes of the bundle that the installed fedprint makes itself."""
    return bundle_hash(), bundle_bytes()


def describe(bundle: bytes, bundles: Bundles) -> list[str]:
    """Return a bundle's files, and how they differ from what is known.

    Args:
        bundle: Its bytes; nothing about them is believed.
        bundles: Those of this site.

    Returns:
        Lines of printable text.

    Raises:
        BundleError: If it is no archive or hides something.
    """
    files = _texts(bundle_files(bundle))
    lines = [line for name, text in files.items() for line in (f"--- {name}", *_shown(text), "")]
    lines += _difference(
        "what the installed fedprint would build", _texts(bundle_files(bundle_bytes())), files
    )
    last = next((each.digest for each in bundles.approved()), None)
    if last is None:
        return [*lines, "No bundle was approved here before."]
    return [*lines, *_difference(f"the last approved one, {last[:12]}…", _known(bundles, last), files)]


def _known(bundles: Bundles, digest: str) -> Mapping[str, str]:
    try:
        return _texts(bundle_files(bundles.read(digest)))
    except BundleError:
        return {}


def _difference(what: str, old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """Lines that say how files differ from known ones."""
    if old == new:
        return [f"No difference from {what}."]
    changed = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    lines = [f"Differs from {what}:"]
    for name in changed:
        before, after = _shown(old.get(name, "")), _shown(new.get(name, ""))
        lines += difflib.unified_diff(before, after, f"known/{name}", f"this/{name}", lineterm="")
    return lines


def _texts(files: Mapping[str, bytes]) -> dict[str, str]:
    return {name: content.decode("utf-8", "backslashreplace") for name, content in sorted(files.items())}


def _shown(text: str) -> list[str]:
    """Lines in which nothing can move the cursor, hide or pretend."""
    return [_plain(line) for line in text.splitlines()]


def _plain(line: str) -> str:
    shown = "".join(c if c.isprintable() or c == "\t" else f"\\x{ord(c):02x}" for c in line)
    return shown if len(shown) <= _LONGEST_LINE else f"{shown[:_LONGEST_LINE]} … ({len(shown):,} characters)"
