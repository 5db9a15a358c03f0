"""``fedprint site status``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def status(
    folder: Annotated[Path, typer.Argument(help="The site's folder.")] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what ran, what left and to whom, what waits, which privacy budget is left, and what to do next."""
    import json

    from site_agent.operations import status as site_status
    from site_agent.operations.site_reading import SiteParts
    from site_agent.site_folder import SiteFolder

    reading = SiteParts.of(SiteFolder(folder)).read()
    if as_json:
        typer.echo(json.dumps(site_status.to_json(reading), indent=1, ensure_ascii=False))
        return
    console = Console(highlight=False)
    wide = console if console.is_terminal else Console(width=250, highlight=False)
    wide.print(*site_status.rendered(reading), sep="\n")
