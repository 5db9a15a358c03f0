import tomllib
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from federation.expert_properties import ExpertProperties
from federation.task_card import TaskCard
from federation.trust import TrustMode
from site_agent.dataset_config import CsvConfig, DatasetConfig, DicomConfig, FolderConfig, NpzConfig

READ = TypeAdapter(DatasetConfig).validate_python


def from_toml(text):
    return READ(tomllib.loads(text))


def test_the_format_decides_which_options_there_are():
    assert isinstance(from_toml('task = "t"\nformat = "folder"\nroot = "x"'), FolderConfig)
    assert isinstance(from_toml('task = "t"\nformat = "csv"\ntable = "x.csv"'), CsvConfig)
    assert isinstance(from_toml('task = "t"\nformat = "dicom"\nroot = "x"\nwindow = [40, 400]'), DicomConfig)
    assert isinstance(from_toml('task = "t"\nformat = "npz"\nfile = "x.npz"\nclass_names = ["a"]'), NpzConfig)


def test_everything_a_toml_file_can_say_is_understood():
    config = from_toml(
        """
        task = "cxr"
        format = "csv"
        trust = "open"
        table = "labels.csv"
        images = "images.zip"
        columns = { path = "file", label = "class", patient = "group" }
        split = "all"
        max_unreadable = 0.05
        bit_depth = 12
        keywords = ["chest", "x-ray"]
        licence = "CC BY 4.0"
        """
    )
    assert config.trust is TrustMode.OPEN
    assert config.columns.patient == "group"
    assert config.keywords == ("chest", "x-ray")
    assert config.card(12, {"a": 5, "b": 7}) == TaskCard(
        "cxr", 12, {"a": 5, "b": 7}, keywords=("chest", "x-ray"), licence="CC BY 4.0"
    )


def test_relative_paths_start_at_the_folder_of_the_config_file():
    config = from_toml('task = "t"\nformat = "csv"\ntable = "a/labels.csv"\nimages = "/data/i.zip"').resolve(
        Path("/etc/site")
    )
    assert (config.table, config.images) == (Path("/etc/site/a/labels.csv"), Path("/data/i.zip"))
    assert from_toml('task = "t"\nformat = "csv"\ntable = "x.csv"').resolve(Path("/etc")).images is None
    home = from_toml('task = "t"\nformat = "folder"\nroot = "~/images"').resolve(Path("/etc"))
    assert home.root == Path.home() / "images"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('format = "tiff"\nroot = "x"', "'folder', 'csv', 'dicom', 'npz'"),
        ('root = "x"', "Unable to extract tag"),
        ('format = "folder"', "root\n  Field required"),
        ('format = "folder"\nroot = "x"\nrecursive = true', "recursive\n  Extra inputs are not permitted"),
        ('format = "folder"\nroot = "x"\nbit_depth = "12"', "valid integer"),
        ('format = "folder"\nroot = "x"\nbit_depth = 17', "less than or equal to 16"),
        ('format = "folder"\nroot = "x"\nmax_unreadable = 1.5', "less than or equal to 1"),
        ('format = "dicom"\nroot = "x"\nwindow = [40]', "window"),
        ('format = "dicom"\nroot = "x"\nwindow = [40, 0]', "greater than or equal to 1"),
        ('format = "csv"\ntable = "x"\ncolumns = { file = "a" }', "columns.file\n  Extra inputs"),
    ],
)
def test_mistakes_are_named(text, complaint):
    with pytest.raises(ValidationError, match=complaint):
        from_toml('task = "t"\n' + text)


def test_a_task_name_that_others_could_not_address_is_refused():
    with pytest.raises(ValidationError, match=r"task name 'Chest X-ray' is not allowed → use lower-case"):
        from_toml('task = "Chest X-ray"\nformat = "folder"\nroot = "x"')


def test_every_option_is_described():
    for model in (FolderConfig, CsvConfig, DicomConfig, NpzConfig):
        undescribed = {name for name, field in model.model_fields.items() if not field.description}
        assert undescribed <= {"format", "columns"}


def test_properties_reach_the_card_and_mistakes_are_named():
    text = 'task = "t"\nformat = "folder"\nroot = "x"\nproperties = { cue = "%s" }'
    assert from_toml(text % "shape").card(1, {}).properties == ExpertProperties(cue="shape")
    with pytest.raises(ValidationError, match="use one of: shape, texture, colour"):
        from_toml(text % "smell")
