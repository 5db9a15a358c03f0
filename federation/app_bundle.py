"""The app bundle of a deployment: what a hub may start at a site, and nothing more.

Flower ships an app to every site as a *bundle* of files and runs it there. Ours holds no code of its own:
two modules of a few lines that name the apps of the **installed** package. A hub can therefore push nothing
to a site; what runs there is what its own IT installed, and a bundle can be read in a minute. The hash of a
bundle is what a site approves.

The bytes are made here, uncompressed and with fixed dates, so that they do not depend on the compression
library of a machine: the same version of fedprint makes the same bundle everywhere.
"""

import io
import zipfile
import zlib
from pathlib import Path

from federation import __version__
from federation.canonical import sha256_hex
from federation.errors import BundleError
from federation.files import write_atomically

PROJECT_FILE = "pyproject.toml"
MAXIMUM_BYTES = 1_000_000
MAXIMUM_FILES = 100

_MANIFEST = ".info/CONTENT"
_DATE = (1980, 1, 1, 0, 0, 0)
_UNIX, _MODE = 3, 0o100644 << 16

_KNOWN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_UNREADABLE = (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, OSError, ValueError)

_PROJECT = f"""\
# What a hub asks the sites of a consortium to run: the apps of the fedprint that each of them has installed.

[project]
name = "fedprint-app"
version = "{__version__}"
description = "Starts the apps of the installed fedprint; holds no code of its own"
license = "Apache-2.0"
dependencies = ["fedprint=={__version__}"]

[tool.flwr.app]
publisher = "fedprint"

[tool.flwr.app.components]
serverapp = "fedprint_app_hub:app"
clientapp = "fedprint_app_site:app"

[tool.flwr.app.config]
hub-config = "hub.toml"
job-id = ""
job = "fingerprint"
cohort = ""
plan = ""
retry-failed = false
"""
_MODULE = '''\
"""{what}"""

from {module} import app

__all__ = ["app"]
'''
_FILES = {
    PROJECT_FILE: _PROJECT,
    "fedprint_app_hub.py": _MODULE.format(
        what="Runs at the hub: the aggregator of the installed fedprint.", module="aggregator.server_app"
    ),
    "fedprint_app_site.py": _MODULE.format(
        what="Runs at a site: the agent of the installed fedprint.", module="site_agent.client_app"
    ),
}


def build_bundle(folder: Path) -> Path:
    """Write the bundle's files as a project that Flower's own commands understand.

    Args:
        folder: Where to write; made if it is missing.

    Returns:
        The folder.

    Raises:
        StoreError: If it cannot be written.
    """
    for name, text in _FILES.items():
        write_atomically(folder / name, text.encode())
    return folder


def bundle_bytes() -> bytes:
    """Return the bundle of the installed version: the same bytes on every machine."""
    contents = {name: text.encode() for name, text in _FILES.items()}
    manifest = "\n".join(_manifest_line(name, content) for name, content in contents.items())
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name, content in {**contents, _MANIFEST: manifest.encode()}.items():
            archive.writestr(_entry(name), content)
    return packed.getvalue()


def bundle_hash() -> str:
    """Return the SHA-256 of the bundle of the installed version: what a site approves."""
    return sha256_hex(bundle_bytes())


def bundle_files(bundle: bytes) -> dict[str, bytes]:
    """Return the files of any bundle, to be shown to who approves it.

    Args:
        bundle: As it arrived; nothing about it is believed.

    Returns:
        Path inside the bundle → content, without Flower's manifest.

    Raises:
        BundleError: If it is no archive, damaged, too large or names a file that could not be shown.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
            entries = archive.infolist()
            _check_entries(entries)
            return {each.filename: archive.read(each) for each in entries if each.filename != _MANIFEST}
    except _UNREADABLE as error:
        raise BundleError("the app bundle is no readable archive", remedy="do not approve it") from error


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _DATE)
    entry.create_system, entry.external_attr = _UNIX, _MODE
    return entry


def _manifest_line(name: str, content: bytes) -> str:
    """One line of the list of contents that Flower verifies: path, SHA-256, size in bits."""
    return f"{name},{sha256_hex(content)},{8 * len(content)}"


def _check_entries(entries: list[zipfile.ZipInfo]) -> None:
    names = [entry.filename for entry in entries]
    size = sum(entry.file_size for entry in entries)
    if len(entries) > MAXIMUM_FILES or size > MAXIMUM_BYTES:
        raise BundleError(
            f"the app bundle holds {len(entries)} files of {size:,} bytes, more than "
            f"{MAXIMUM_FILES} or {MAXIMUM_BYTES:,}",
            remedy="do not approve it",
        )
    strange = [each.filename for each in entries if each.compress_type not in _KNOWN]
    strange += [name for name in names if not name.isprintable() or names.count(name) > 1]
    if strange:
        raise BundleError(
            f"the app bundle holds a file named {strange[0]!r} that hides something",
            remedy="do not approve it",
        )
