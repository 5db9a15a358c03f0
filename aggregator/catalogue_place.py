"""Where a catalogue is: a SQLite file, or a database on a PostgreSQL server.

Files that belong to a catalogue (mapped histograms, rounds, models) lie beside its SQLite file, or in the
folder of the hub file where the rows are on a server.
"""

import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import sqlalchemy as sa
from pydantic import BeforeValidator, PlainSerializer, ValidationInfo
from sqlalchemy.exc import ArgumentError

from federation.errors import ConfigError

POSTGRESQL = "postgresql+psycopg"
EXAMPLE = f"{POSTGRESQL}://fedprint@db.example.org/fedprint?passfile=database.pass"
SQLITE_FILE = "catalogue.sqlite"

_FILES = ("passfile", "sslrootcert", "sslcert", "sslkey", "sslcrl")  # of libpq; they may be relative
_HERE = ("", "localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class CataloguePlace:
    """Where rows and files of a catalogue are.

    Args:
        address: Path of a SQLite file, or URL ``postgresql+psycopg://…``, which may hold a password.
        folder: Where files beside it lie; paths in the URL start here.
    """

    address: str = field(repr=False)
    folder: Path

    @classmethod
    def of(cls, place: "PlaceLike", base: Path = Path()) -> "CataloguePlace":
        """Return the place that a path or URL names.

        Args:
            place: A path, a URL, or a place, which is returned as it is.
            base: Where relative paths start, and where files lie beside the rows of a server.

        Raises:
            ConfigError: If a URL is malformed or of another kind of database.
        """
        if isinstance(place, CataloguePlace):
            return place
        if "://" in str(place):
            found = cls(str(place), base)
            found.check()
            return found
        path = base / place
        return cls(str(path), path.parent)

    def within(self, base: Path) -> "CataloguePlace":
        """Return the same place, with relative paths that start at a folder."""
        if self.is_on_server:
            return CataloguePlace(self.address, base)
        return CataloguePlace.of(base / self.address)

    @property
    def is_on_server(self) -> bool:
        """Whether the rows are on a database server."""
        return "://" in self.address

    @property
    def file(self) -> Path:
        """The SQLite file.

        Raises:
            ValueError: If the rows are on a server.
        """
        if self.is_on_server:
            raise ValueError(f"{self} is no file")
        return Path(self.address)

    @property
    def mapped(self) -> Path:
        """Folder of the copies of histograms that are mapped into memory."""
        return self.folder / "catalogue.mapped" if self.is_on_server else self.file.with_suffix(".mapped")

    @property
    def url(self) -> sa.URL:
        """What SQLAlchemy connects to, with whole paths.

        A server elsewhere has to prove who it is, unless the URL states another ``sslmode``.
        """
        if not self.is_on_server:
            return sa.URL.create("sqlite", database=self.address)
        url = _parsed(self.whole_address)
        proven = _is_here(url) or "sslmode" in url.query
        return url if proven else url.update_query_dict({"sslmode": "verify-full"})

    @property
    def whole_address(self) -> str:
        """The address with whole paths, which means the same in every folder; it may hold a password."""
        if not self.is_on_server:
            return str(self.file.absolute())
        url = _parsed(self.address)
        named = {key: Path(str(url.query[key])).expanduser() for key in _FILES if key in url.query}
        files = {key: str((self.folder / path).absolute()) for key, path in named.items()}
        return url.update_query_dict(files).render_as_string(hide_password=False)

    @property
    def password(self) -> str | None:
        """The password that the URL holds."""
        return _parsed(self.address).password if self.is_on_server else None

    def check(self) -> None:
        """Refuse a URL that fedprint cannot use, or whose password file others can read.

        Raises:
            ConfigError: If it is one.
        """
        passfile = self.url.query.get("passfile")
        if passfile is not None:
            _check_passfile(Path(str(passfile)))

    def hide(self, text: str) -> str:
        """Return a text of a driver without the password."""
        return text.replace(self.password, "***") if self.password else text

    def __str__(self) -> str:
        """The place as messages name it, without a password."""
        if not self.is_on_server:
            return self.address
        return _parsed(self.address).set(query={}).render_as_string(hide_password=True)


PlaceLike: TypeAlias = Path | str | CataloguePlace


def _configured(place: PlaceLike, info: ValidationInfo) -> CataloguePlace:
    """Return the place that a configuration file names; relative paths start at its folder."""
    return CataloguePlace.of(place, (info.context or {}).get("base", Path()))


CatalogueField = Annotated[
    CataloguePlace,
    BeforeValidator(_configured),
    PlainSerializer(lambda place: place.address, return_type=str),
]
"""A place in a configuration file: a string."""


def _parsed(address: str) -> sa.URL:
    try:
        url = sa.make_url(address)
    except (ArgumentError, ValueError):  # its text would show the password
        raise ConfigError(
            "the URL of the catalogue is malformed", remedy=f"write it like {EXAMPLE}"
        ) from None
    if url.drivername != POSTGRESQL:
        raise ConfigError(
            f"a catalogue cannot be kept by {url.drivername}, only in a SQLite file or by {POSTGRESQL}",
            remedy=f"write the URL like {EXAMPLE}, or a path",
        )
    if not url.database:
        raise ConfigError("the URL of the catalogue names no database", remedy=f"write it like {EXAMPLE}")
    return url


def _is_here(url: sa.URL) -> bool:
    """Whether the server is on this machine: on a loopback address or a Unix socket."""
    stated: Any = url.query.get("host", "")
    host = url.host or (stated if isinstance(stated, str) else stated[0])
    return host in _HERE or host.startswith("/")


def _check_passfile(path: Path) -> None:
    if not path.is_file():
        raise ConfigError(
            f"the password file {path} of the catalogue does not exist",
            remedy="write one line: HOST:PORT:DATABASE:USER:PASSWORD, each of the first four may be *",
        )
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(
            f"the password file {path} can be read by others",
            remedy=f"chmod 600 {path}, and change the password",
        )
