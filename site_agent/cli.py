"""``fedprint site``: what a person does at a site."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

# Commands import what they need inside the function: a hub's commands must not wait for a site's libraries.

app = typer.Typer(no_args_is_help=True, help="A site: describe its datasets.")


@app.callback()
def site() -> None:
    """A site: describe its datasets."""


@app.command()
def describe(
    config: Annotated[Path, typer.Argument(help="The site file, or a federation file.")],
    site: Annotated[str | None, typer.Option(help="Which site of a federation file.")] = None,
    task: Annotated[
        list[str] | None, typer.Option(help="Which task; repeat it. By default every one.")
    ] = None,
    answers: Annotated[
        Path | None, typer.Option(help="TOML file, a table `rater` per person; the majority counts.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Write without asking.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Which random images to show.")] = 0,
) -> None:
    """Describe datasets in words and six visual properties, for the distances `semantic` and `expert`."""
    from site_agent.description.session import Sitting

    sitting = Sitting(config, site, answers, seed, lambda question: yes or typer.confirm(question))
    sitting.run(Console(highlight=False), task or [])
