"""How a configuration file describes one labelled image dataset."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from federation.errors import ConfigError, FingerprintError
from federation.expert_properties import ExpertProperties
from federation.names import check_name
from federation.task_card import TaskCard
from federation.trust import TrustMode

RelativePath = Annotated[Path, Field(strict=False)]
Window = Annotated[
    tuple[float, Annotated[float, Field(ge=1)]],
    Field(strict=False, description="[centre, width]"),
]
DicomKey = Literal[
    "path",
    "PatientID",
    "AccessionNumber",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SOPInstanceUID",
]


def _known_properties(properties: dict[str, str]) -> dict[str, str]:
    try:
        return ExpertProperties.from_json(properties).to_json()
    except FingerprintError as error:
        raise ValueError(str(error)) from error


KnownProperties = Annotated[dict[str, str], AfterValidator(_known_properties)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, use_attribute_docstrings=True)


class Columns(_Strict):
    """Which columns of a CSV file hold what."""

    path: str = "path"
    """The picture, relative to the images root."""
    label: str = "label"
    """Its class."""
    patient: str | None = None
    """Whose picture it is; unset means the column `patient` where the file has one."""
    split: str | None = None
    """`train`, `val`, `test` or the like; unset means the column `split` where the file has one."""


class _Dataset(_Strict):
    """What every format has in common."""

    task: str
    """Name of the task at this site: lower-case letters, digits, `.`, `_` and `-`."""
    trust: TrustMode | None = Field(default=None, strict=False)
    """What may leave the site for this task; unset means the site's own setting."""
    split: str | None = None
    """Which split to use, `all` for everything. Unset: `train` where there are splits, else everything."""
    max_unreadable: float = Field(default=0.2, ge=0, le=1)
    """Share of unreadable images above which the dataset is refused instead of used without them."""
    title: str = ""
    """One line for people."""
    modality: str = ""
    """How the images were made, for example `chest X-ray`."""
    body_part: str = ""
    """What they show."""
    keywords: tuple[str, ...] = Field(default=(), strict=False)
    """Free words that describe the task."""
    licence: str = ""
    """Under which terms models trained on it may be shared."""
    contact: str = ""
    """Whom to ask about it."""
    declared_classes: dict[str, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)
    """Class → number of images that a release with noise may state, rounded as the site likes; the true
    numbers stay at the site then."""
    properties: KnownProperties = Field(default_factory=dict)
    """Six visual properties that others compare; `fedprint site describe` asks for them."""

    @field_validator("task")
    @classmethod
    def _task_is_a_name(cls, task: str) -> str:
        try:
            return check_name("task", task)
        except ConfigError as error:
            raise ValueError(str(error)) from error

    def resolve(self, base: Path) -> Self:
        """Return the configuration with relative paths taken from ``base``, the config file's folder."""
        paths = {
            name: base / value.expanduser()
            for name in type(self).model_fields
            if isinstance(value := getattr(self, name), Path)
        }
        return self.model_copy(update=paths)

    def card(self, n_images: int, classes: Mapping[str, int]) -> TaskCard:
        """Return the public card of the task.

        Args:
            n_images: Number of images the sketch was made from.
            classes: Class name → number of images.
        """
        words = self.model_dump(include=_CARD_WORDS)
        properties = ExpertProperties.from_json(self.properties)
        return TaskCard(self.task, n_images, dict(classes), properties=properties, **words)

    def private_card(self) -> TaskCard:
        """Return the card of a release with noise: what the site declares; noise says how many images."""
        return self.card(0, self.declared_classes)


_CARD_WORDS = {"title", "modality", "body_part", "keywords", "licence", "contact"}


class _Pixels(_Dataset):
    bit_depth: int = Field(default=16, ge=8, le=16)
    """Bits that images stored in 16 really use: 12 for most radiology exports. 2^bits - 1 becomes white."""


class FolderConfig(_Pixels):
    """One sub-folder per class, or `train/`, `val/`, `test/` with one sub-folder per class in each."""

    format: Literal["folder"]
    root: RelativePath
    """A folder, a `.zip` file, or a folder inside a `.zip` file (`data.zip/pictures`)."""


class CsvConfig(_Pixels):
    """A CSV file that names pictures and their labels."""

    format: Literal["csv"]
    table: RelativePath
    """The CSV file: UTF-8, header line, separated by comma, semicolon or tab."""
    images: RelativePath | None = None
    """Root of the paths in the table: a folder or `.zip` file. Unset: the folder of the table."""
    columns: Columns = Columns()


class DicomConfig(_Dataset):
    """A tree of DICOM files, labelled by sub-folder or by a CSV file."""

    format: Literal["dicom"]
    root: RelativePath
    """A folder, a `.zip` file, or a folder inside a `.zip` file."""
    labels: RelativePath | None = None
    """CSV file with the labels. Unset: the sub-folder of `root` is the class."""
    columns: Columns = Columns()
    match: DicomKey = "path"
    """What the path column of `labels` holds: a file or folder below `root`, or a DICOM attribute's value."""
    frames: Literal["all", "middle"] = "all"
    """Which frames of a multi-frame file are images of the task."""
    window: Window | None = None
    """[centre, width] in modality units (Hounsfield for CT) for greyscale, in place of the files' own."""


class NpzConfig(_Pixels):
    """A NumPy archive in the MedMNIST layout, or with plain `images` and `labels`."""

    format: Literal["npz"]
    file: RelativePath
    """The `.npz` file."""
    class_names: tuple[str, ...] | None = Field(default=None, strict=False)
    """Names of labels 0, 1, …; of the label columns when images carry several labels."""
    label_column: int | None = Field(default=None, ge=0)
    """For images with several yes/no labels: the one to use. Unset: each combination is a class."""


DatasetConfig = Annotated[FolderConfig | CsvConfig | DicomConfig | NpzConfig, Field(discriminator="format")]
