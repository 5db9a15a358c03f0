"""``fedprint hub status``."""

from pathlib import Path
from typing import Annotated

import typer

from aggregator.options import CatalogueOption, JsonOption, open_catalogue, print_json


def status(
    folder: Annotated[Path, typer.Argument(help="The hub's folder.")] = Path(),
    catalogue: CatalogueOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what runs, what ran, what waits, who takes part, what ends soon, and what to do next."""
    from aggregator.hub_folder import HubFolder
    from aggregator.operations import status as hub_status
    from aggregator.operations.hub_reading import HubParts
    from aggregator.tables import wide_console

    if catalogue is not None:
        _show_catalogue(catalogue, as_json=as_json)
        return
    reading = HubParts.of(HubFolder(folder)).read()
    if as_json:
        print_json(hub_status.to_json(reading))
    else:
        wide_console().print(*hub_status.rendered(reading), sep="\n")


def _show_catalogue(place: str, *, as_json: bool) -> None:
    """Show only what a catalogue says, such as that of a simulation."""
    from aggregator.operations import status as hub_status
    from aggregator.operations.catalogue_reading import read_catalogue
    from aggregator.tables import wide_console

    store = open_catalogue(place)
    known = read_catalogue(store)
    store.close()
    if as_json:
        print_json(hub_status.catalogue_json(known))
    else:
        wide_console().print(*hub_status.catalogue_rendered(known), sep="\n")
