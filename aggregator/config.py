"""Configuration of the aggregator."""

import time
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from aggregator.catalogue_place import SQLITE_FILE, CatalogueField, CataloguePlace
from aggregator.cohort_config import CohortConfig, check_cohorts
from aggregator.members import read_members
from aggregator.serve_config import ServeConfig
from federation import distances
from federation.config_file import read_config
from federation.errors import ConfigError
from federation.identity import Identity
from federation.names import check_name
from federation.sampling_config import SamplingConfig

PublicKey = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class EnrolledSite(BaseModel):
    """One site of the roster."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="name of the site")
    public_key: PublicKey = Field(description="its Ed25519 public key, 64 hexadecimal digits")


class HubFiles(BaseModel):
    """Of a hub file only what it names; nothing else of it is looked at."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    consortium: str = ""
    catalogue: CatalogueField = CataloguePlace.of(SQLITE_FILE)
    space: Path = Path("space.safetensors")
    key: Path = Path("hub.key")

    @classmethod
    def read(cls, path: Path) -> "HubFiles":
        """Read a hub file; its relative paths start at its own folder.

        Raises:
            ConfigError: If the file is missing or wrong.
        """
        found, base = read_config(path, cls), path.resolve().parent
        paths = {name: base / getattr(found, name) for name in ("space", "key")}
        return found.model_copy(update={"catalogue": found.catalogue.within(base), **paths})


class HubConfig(SamplingConfig):
    """What one aggregator run needs to know."""

    consortium: str = Field(description="name of the consortium, shown on the report")
    catalogue: CatalogueField = Field(
        CataloguePlace.of(SQLITE_FILE),
        description="SQLite file of the catalogue, or URL of a database on a PostgreSQL server",
    )
    space: Path = Field(Path("space.safetensors"), description="the space all sites work in")
    key: Path = Field(Path("hub.key"), description="the aggregator's signing key; made on first use")
    distance: str | None = Field(
        None, description="distance that ranks sources; by default the best for the sketches of the space"
    )
    timeout_s: float = Field(3600.0, gt=0, description="seconds a round waits for its sites")
    shared_images: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="group → site/task addresses of tasks that share images"
    )
    serve: ServeConfig = Field(default_factory=ServeConfig)
    cohort: tuple[CohortConfig, ...] = Field((), description="sites that publish only the sum of a task")
    members: Path | None = Field(
        None, description="folder of signed memberships, which `fedprint hub approve` fills; or else [[site]]"
    )
    site: tuple[EnrolledSite, ...] = Field((), description="the enrolled sites of a simulation")

    @model_validator(mode="after")
    def _names_are_known(self) -> "HubConfig":
        if self.distance is not None:
            distances.get(self.distance)
        if (self.members is None) == ("site" not in self.model_fields_set):
            raise ConfigError(
                "the hub file must name its sites once: members or [[site]]",
                remedy='write members = "members" in a deployment, [[site]] in a simulation',
            )
        names = [check_name("site", entry.name) for entry in self.site]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigError(
                f"the site name {twice[0]!r} is used twice", remedy="give every site its own name"
            )
        check_cohorts(self.cohort, self.roster if self.members is None else None)
        return self

    @property
    def roster(self) -> dict[str, str]:
        """Site name → public key."""
        return {entry.name: entry.public_key for entry in self.site}

    @classmethod
    def read(cls, path: Path, now: float | None = None) -> "HubConfig":
        """Read a hub file and its members; relative paths start at its own folder.

        Args:
            path: The file.
            now: Unix time in seconds at which memberships must count; by default the clock's.

        Raises:
            ConfigError: If the file is missing or wrong.
            StoreError: If there are memberships and the hub's key is missing.
        """
        config = read_config(path, cls)
        base = path.resolve().parent
        paths = {name: base / getattr(config, name) for name in ("space", "key")}
        config = config.model_copy(update={"catalogue": config.catalogue.within(base), **paths})
        return config if config.members is None else config._with_members(base / config.members, now)

    def _with_members(self, folder: Path, now: float | None) -> "HubConfig":
        key = Identity.load(self.consortium, self.key).public_key
        members = read_members(folder, key, time.time() if now is None else now)
        sites = tuple(EnrolledSite(name=m.site, public_key=m.identity_key) for m in members.values())
        named = sorted({cohort.name for cohort in self.cohort} & set(members))
        if named:
            raise ConfigError(f"cohort {named[0]} has the name of a site", remedy="give the cohort another")
        return self.model_copy(update={"members": folder, "site": sites})
