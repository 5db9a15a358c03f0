"""Opening a directory of tasks: one folder per task with images.zip and labels.csv, or .npz files."""

from collections.abc import Iterator
from pathlib import Path

from site_agent.data import open_source
from site_agent.dataset_config import Columns, CsvConfig, DatasetConfig, NpzConfig


def task_configs(root: Path) -> Iterator[DatasetConfig]:
    """Yield every task below a directory, in alphabetical order."""
    for path in sorted(root.rglob("*")):
        if path.name == "labels.csv":
            yield CsvConfig(
                format="csv",
                task=path.parent.name.replace("_", "-"),
                table=path,
                images=path.parent / "images.zip",
                columns=Columns(path="file", label="class", patient="group"),
            )
        elif path.suffix == ".npz":
            yield NpzConfig(format="npz", task=path.stem.replace("_", "-"), file=path)


def task_sources(root: Path):
    """Yield name and opened source of every task below a directory."""
    for config in task_configs(root):
        yield config.task, open_source(config)
