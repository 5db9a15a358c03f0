"""Changing the description of a dataset inside a configuration file, and nothing else in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomlkit
from pydantic import ValidationError
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import InlineTable, Table

from federation.config_complaints import describe
from federation.errors import ConfigError, FedprintError, StoreError, UnknownNameError
from federation.files import read_file, write_atomically
from site_agent.config import SiteConfig
from site_agent.description.answers import Description


@dataclass(frozen=True)
class ConfigText:
    """One site's part of a site file or of a federation file.

    Args:
        path: The file, links followed.
        content: Its bytes when it was read.
        position: Place of the site among ``[[site]]`` of a federation file, None for a site file.
        site: The site it describes, paths resolved.
    """

    path: Path
    content: bytes
    position: int | None
    site: SiteConfig

    @classmethod
    def read(cls, path: Path, site: str | None = None) -> "ConfigText":
        """Read a site file, or one site of a federation file.

        Args:
            path: The file.
            site: Name of the site; needed where a federation file has several.

        Raises:
            ConfigError: If the file is missing or wrong.
            UnknownNameError: If it names no such site, or several and none was chosen.
        """
        path = path.resolve()
        content = _existing(path)
        document = _parsed(content, path)
        if "site" not in document:
            return cls(path, content, None, _site_file(document, path, site))
        position = _position(document["site"], path, site)
        folder = path.parent / str(document.get("consortium", {}).get("output", "")) / "sites"
        own = _validated(document["site"][position], path)
        own = own.model_copy(update={"state": folder / own.name})
        return cls(path, content, position, own)

    def described(self, task: str, description: Description) -> bytes:
        """Return the file's bytes with a task's description in place of the one it had.

        Raises:
            StoreError: If the file cannot be changed in this one place only.
        """
        document = tomlkit.parse(self.content.decode())
        own = document if self.position is None else document["site"][self.position]
        names = [dataset.task for dataset in self.site.dataset]
        table = own["dataset"][names.index(task)]
        _put(table, _stated(description))
        changed = tomlkit.dumps(document).encode()
        self._require_only_this_changed(changed, task, description)
        return changed

    def write(self, changed: bytes) -> None:
        """Put the changed file in place as a whole; its permissions stay.

        Raises:
            StoreError: If it cannot be written, or someone else changed it meanwhile.
        """
        if _existing(self.path) != self.content:
            raise StoreError(f"{self.path} was changed meanwhile", remedy="run the same command again")
        mode = self.path.stat().st_mode & 0o777
        write_atomically(self.path, changed)
        self.path.chmod(mode)

    def _require_only_this_changed(self, changed: bytes, task: str, description: Description) -> None:
        expected, after = _parsed(self.content, self.path), _parsed(changed, self.path)
        own = expected if self.position is None else expected["site"][self.position]
        table = next(table for table in own["dataset"] if table["task"] == task)
        stated = _stated(description)
        table.update(stated)
        for key in [key for key, value in stated.items() if value is None]:
            del table[key]
        if after != expected:
            raise StoreError(
                f"{self.path} is laid out in a way that cannot be edited safely",
                remedy=f"write these keys into the dataset {task} yourself: {stated}",
            )


def _existing(path: Path) -> bytes:
    try:
        return read_file(path, "configuration")
    except StoreError as error:
        raise ConfigError(error.problem, remedy="check the path") from error


def _parsed(content: bytes, path: Path) -> dict[str, Any]:
    try:
        return tomlkit.parse(content.decode("utf-8")).unwrap()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text", remedy="save it as UTF-8") from error
    except TOMLKitError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}", remedy="correct that line") from error


def _site_file(document: Mapping[str, Any], path: Path, name: str | None) -> SiteConfig:
    own = _validated(document, path)
    if name not in (None, own.name):
        raise UnknownNameError(f"{path} describes site {own.name}, not {name}", remedy="leave out --site")
    return own


def _position(sites: Sequence[Mapping[str, Any]], path: Path, name: str | None) -> int:
    names = [str(site.get("name", "")) for site in sites]
    if name is None and len(names) == 1:
        return 0
    if name not in names:
        problem = f"{path} names several sites" if name is None else f"{path} names no site {name!r}"
        raise UnknownNameError(problem, remedy=f"choose with --site one of: {', '.join(names)}")
    return names.index(name)


def _validated(site: Mapping[str, Any], path: Path) -> SiteConfig:
    try:
        return SiteConfig.model_validate(site).resolve(path.parent)
    except ValidationError as error:
        raise ConfigError(f"{path}: {describe(error, site)}", remedy="correct the file") from error
    except FedprintError as error:
        raise ConfigError(f"{path}: {error.problem}", remedy=error.remedy) from error


def _stated(description: Description) -> dict[str, Any]:
    """What to write by key; what is not said is None."""
    return {
        "modality": description.modality or None,
        "body_part": description.body_part or None,
        "keywords": list(description.keywords) or None,
        "properties": description.properties.to_json() or None,
    }


def _put(table: Table | InlineTable, stated: Mapping[str, Any]) -> None:
    """Set or remove keys; new ones go before the comments and blank lines that end a table.

    Those belong to whatever follows it.
    """
    body = table.value.body
    tail = []
    while body and body[-1][0] is None:
        tail.append(body.pop())
    for key, value in stated.items():
        if value is None:
            table.pop(key, None)
        else:
            table[key] = _inline(value) if isinstance(value, dict) else value
    body.extend(reversed(tail))


def _inline(value: Mapping[str, str]) -> InlineTable:
    table = tomlkit.inline_table()
    table.update(value)
    return table
