"""``fedprint site verify``: the site's own copy of the hub's log, offline."""

from pathlib import Path
from typing import Annotated

import typer

# Commands import what they need inside the function: a hub's commands must not wait for a site's libraries.

UNDECIDED = 3
"""Exit status of a comparison that needs a proof of the hub."""


def verify(
    site: Annotated[Path, typer.Argument(help="The site file, or its folder.")] = Path("site.toml"),
    export: Annotated[
        Path | None,
        typer.Option("--export", help="Write the heads that this site was shown, for another one."),
    ] = None,
    against: Annotated[
        Path | None, typer.Option("--against", help="Compare with what another site exported.")
    ] = None,
    proof: Annotated[
        Path | None, typer.Option("--proof", help="What `fedprint hub verify --prove` printed.")
    ] = None,
    accept: Annotated[
        str | None,
        typer.Option("--accept", help="Answer the hub again after a contradiction: say what you found out."),
    ] = None,
    log: Annotated[str, typer.Option("--log", help="Beginning of a log's id, where there are several.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Verify offline what the hub's log said about this site; exit status 1 if anything is wrong."""
    import json

    from site_agent.hub_log.session import Sitting

    sitting = Sitting.open(site, log)
    if accept is not None:
        for line in sitting.disputed():
            typer.echo(line)
        if not yes:
            typer.confirm("Answer that hub again, and begin a new copy of its log?", abort=True)
        typer.echo(f"what was known before is kept in {sitting.accept(accept)}")
        return
    found = sitting.verify()
    if export is not None:
        sitting.export(export)
    typer.echo(
        json.dumps(found.to_json(), indent=1, ensure_ascii=False) if as_json else "\n".join(found.described())
    )
    status = 1 if found.findings else 0
    if against is not None:
        verdict, text = sitting.compare(against, proof)
        typer.echo(text, err=as_json)
        status = max(status, {"same": 0, "split view": 1, "undecided": UNDECIDED}[verdict.value])
    if status:
        raise typer.Exit(status)
