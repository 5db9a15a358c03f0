"""From a federation file to a folder of distances between its tasks, raw samples side by side."""

from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deploy.federation_file import FederationConfig
from deploy.progress_display import ProgressDisplay
from deploy.research import NOT_FEDERATED
from deploy.research.agreement import agreement
from deploy.research.features import TaskFeatures, read_tasks
from deploy.research.matrices import fingerprint_distances, sample_distances
from deploy.research.sample_transport import transport_library
from deploy.research.study_folder import write_agreement, write_matrix, write_readme, write_tasks
from deploy.simulation import SPACE_FILE, check_data, open_space
from federation.space import Space
from site_agent.progress import Progress


def compare(config: FederationConfig, folder: Path, transport_images: int, display: ProgressDisplay) -> None:
    """Extract the features of every task once and write all distances between them.

    Args:
        config: The federation; every dataset is read, whatever its trust mode.
        folder: Where results and features go.
        transport_images: Most images per task that transport between whole feature vectors looks at.
        display: Where progress is shown.

    Raises:
        ConfigError: If the transport library is missing or a dataset cannot be used at all.
    """
    transport_library()
    check_data(config)
    display.stage(f"building the space: {config.space.extractor}, {config.space.bins} bins")
    space, extractor = open_space(config.space, folder / SPACE_FILE, display)
    display.stage("reading the raw features of all tasks")

    def tell(site: str, task: str, done: int, total: int) -> None:
        display.update(Progress(site, task, done, total))

    tasks = list(read_tasks(config, space, extractor, folder / "features", tell))
    _compare(tasks, space, folder, transport_images, display)


def show(folder: Path, console: Console) -> None:
    """Print how far fingerprints agree with raw samples, and the warning that goes with it."""
    lines = [line.split(",") for line in (folder / "agreement.csv").read_text("utf-8").splitlines()]
    samples = list(dict.fromkeys(line[1] for line in lines[1:]))
    table = Table("fingerprint distance", *samples, title="Spearman over pairs of tasks", box=None)
    for name in dict.fromkeys(line[0] for line in lines[1:]):
        found = {line[1]: line[2] for line in lines[1:] if line[0] == name}
        table.add_row(name, *(f"{float(found[s]):.2f}" if found[s] else "–" for s in samples))
    console.print(table)
    console.print(f"[bold yellow]{escape(NOT_FEDERATED)}[/bold yellow]")
    console.print(f"distances: {folder / 'distances'}")


def _compare(
    tasks: list[TaskFeatures], space: Space, folder: Path, transport_images: int, display: ProgressDisplay
) -> None:
    keys = [task.key for task in tasks]
    display.stage("comparing fingerprints")
    ours = dict(fingerprint_distances(tasks, space))
    theirs, formulas = {}, {}
    for distance in sample_distances(tasks, transport_images):
        display.stage(f"comparing raw samples: {distance.name}")
        theirs[distance.name] = distance.matrix(tasks)
        formulas[distance.name] = distance.formula
    for name, values in (ours | theirs).items():
        write_matrix(folder, name, keys, values)
    write_tasks(folder, tasks)
    write_agreement(folder, agreement(ours, theirs))
    write_readme(folder, formulas, ours)
