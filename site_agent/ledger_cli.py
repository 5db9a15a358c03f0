"""``fedprint site ledger``: what was spent of the patients' privacy, and whether the record is whole."""

import json
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

# Commands import what they need inside the function: a hub's commands must not wait for a site's libraries.

app = typer.Typer(no_args_is_help=True, help="The privacy ledger: what was spent, what is left, is it whole.")

SiteArgument = Annotated[Path, typer.Argument(help="The site file, or its folder.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def show(site: SiteArgument, as_json: JsonOption = False) -> None:
    """Show every budget, what is left of it and how long it lasts, and the entries."""
    from site_agent.ledger.overview import Overview

    overview = Overview.read(site, time.time())
    if as_json:
        _print_json(overview.to_json())
        return
    console = _console()
    for part in overview.rendered():
        console.print(part)


@app.command()
def verify(
    site: SiteArgument,
    fingerprints: Annotated[
        list[Path] | None, typer.Option(help="Fingerprint of this site that others hold; repeat it.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check offline that no entry was changed, removed, added or moved; exit status 1 if one was."""
    from site_agent.ledger.overview import open_site
    from site_agent.ledger.storage import LedgerFiles
    from site_agent.ledger.verify import verify_ledger

    config, identity = open_site(site)
    found = verify_ledger(LedgerFiles(config.state), identity.public_key, fingerprints or ())
    if as_json:
        _print_json(found.to_json())
    else:
        for line in (*map(str, found.findings), *found.notes):
            typer.echo(line)
        verdict = f"{len(found.findings)} things are wrong" if found.findings else "the ledger is whole"
        typer.echo(f"{found.n_entries} entries, {found.n_releases} releases: {verdict}")
    if found.findings:
        raise typer.Exit(1)


@app.command()
def restart(
    site: SiteArgument, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False
) -> None:
    """Replace a ledger that is lost; the new one counts every budget of the policy as spent now."""
    from site_agent.ledger import Ledger
    from site_agent.ledger.overview import open_site
    from site_agent.policy import POLICY_FILE, Policy

    config, identity = open_site(site)
    budgets = Policy.read(site.resolve().parent / POLICY_FILE).budgets()
    typer.echo("every budget of the policy will count as spent: " + ", ".join(map(str, budgets)))
    typer.echo("restore ledger.jsonl and ledger.head from backup instead if you can")
    if not yes and not typer.confirm("Start a new ledger?"):
        typer.echo("nothing was changed")
        return
    Ledger.restart(config.state, identity, budgets)
    typer.echo(f"started a new ledger in {config.state}; copies of the old files lie beside it")


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False))


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(width=250, highlight=False)
