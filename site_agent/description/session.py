"""One sitting: look at a few images, answer, see what will be public, write it."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from federation.errors import UnknownNameError
from federation.files import write_atomically
from site_agent.config import SiteConfig
from site_agent.data import ImageSource, open_source
from site_agent.dataset_config import DatasetConfig
from site_agent.description.answers import Description, majority, read_answers
from site_agent.description.config_text import ConfigText
from site_agent.description.contact_sheet import contact_sheet
from site_agent.description.questions import ask
from site_agent.state import SiteState


@dataclass(frozen=True)
class Sitting:
    """How datasets are described.

    Args:
        config: The site file, or a federation file.
        site: Which site of a federation file.
        answers: TOML file with what several people say; None asks one person.
        seed: Seed of the draw of images to look at.
        confirm: Asked before a file is changed.
    """

    config: Path
    site: str | None
    answers: Path | None
    seed: int
    confirm: Callable[[str], bool]

    def run(self, console: Console, tasks: Sequence[str]) -> None:
        """Describe the tasks of these names, or every one.

        Raises:
            ConfigError: If a file is missing or wrong.
            DataError: If a dataset cannot be listed.
            StoreError: If the file cannot be changed; it is then as before.
            UnknownNameError: If there is no such site or task.
        """
        own = ConfigText.read(self.config, self.site).site
        for dataset in _chosen(own, tasks, one_only=self.answers is not None):
            source = open_source(dataset)
            console.print(f"\n[bold]{own.name}/{dataset.task}[/bold]: {len(source):,} images")
            description = self._description(console, own, dataset, source)
            _show_card(console, dataset, source, description)
            self._write(console, dataset.task, description)

    def _description(
        self, console: Console, own: SiteConfig, dataset: DatasetConfig, source: ImageSource
    ) -> Description:
        if self.answers is not None:
            return majority(read_answers(self.answers))
        path = SiteState(own.state).contact_sheet_path(dataset.task)
        write_atomically(path, contact_sheet(source, self.seed))
        console.print(f"look at {escape(str(path))}; it stays at this site", soft_wrap=True)
        return ask(console, _known(dataset))

    def _write(self, console: Console, task: str, description: Description) -> None:
        if not self.confirm(f"Write this into {self.config}?"):
            console.print("nothing was changed")
            return
        # An earlier dataset of this sitting may have changed the file.
        text = ConfigText.read(self.config, self.site)
        text.write(text.described(task, description))
        console.print(f"wrote {escape(str(self.config))}; the next fingerprint carries it", soft_wrap=True)


def _chosen(own: SiteConfig, names: Sequence[str], *, one_only: bool) -> list[DatasetConfig]:
    known = {dataset.task: dataset for dataset in own.dataset}
    for name in names:
        if name not in known:
            raise UnknownNameError(
                f"site {own.name} has no task {name!r}", remedy=f"choose one of: {', '.join(known)}"
            )
    chosen = list(dict.fromkeys(names)) or list(known)
    if one_only and len(chosen) > 1:
        raise UnknownNameError(
            f"a file of answers describes one task, and {len(chosen)} are meant",
            remedy=f"choose with --task one of: {', '.join(chosen)}",
        )
    return [known[name] for name in chosen]


def _known(dataset: DatasetConfig) -> Description:
    card = dataset.card(0, {})
    return Description(card.modality, card.body_part, card.keywords, card.properties)


def _show_card(
    console: Console, dataset: DatasetConfig, source: ImageSource, description: Description
) -> None:
    described = dataset.model_copy(
        update={
            "modality": description.modality,
            "body_part": description.body_part,
            "keywords": description.keywords,
            "properties": description.properties.to_json(),
        }
    )
    card = described.card(len(source), source.class_counts()).to_json()
    card["n_images"] = "number of images the sketch is made from"
    console.print("A released fingerprint makes this public:")
    for key, value in card.items():
        console.print(f"  {key}: {escape(json.dumps(value, ensure_ascii=False))}", soft_wrap=True)
