"""``fedprint site``: what a person does at a site."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from federation.errors import ConfigError
from site_agent import joining_cli, serve_cli
from site_agent.hub_log.cli import verify
from site_agent.joining_cli import answer_invitation
from site_agent.ledger_cli import app as ledger_app
from site_agent.operations.status_cli import status

# Commands import what they need inside the function: a hub's commands must not wait for a site's libraries.

app = typer.Typer(no_args_is_help=True, help="A site: its policy, its privacy ledger, its datasets.")
app.add_typer(ledger_app, name="ledger")
app.command()(status)
joining_cli.add_to(app)
app.command()(serve_cli.serve)
app.command()(serve_cli.approve)
app.command()(verify)


@app.callback()
def site() -> None:
    """A site: its policy, its privacy ledger, its datasets."""


@app.command()
def init(
    place: Annotated[
        Path,
        typer.Argument(help="SITE.invitation.json from an operator; or the folder of a site without a hub."),
    ],
    name: Annotated[
        str | None, typer.Option(help="Without a hub: its name; by default the folder's.")
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--folder", "-f", help="With an invitation: its place for files; by default ./SITE."),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Approve the installed version's app bundle without asking.")
    ] = False,
) -> None:
    """Begin a site: make its keys, write a commented site.toml and policy.toml, answer an invitation."""
    if place.is_file() or place.suffix == ".json":
        if name is not None:
            raise ConfigError("an invitation is for one name", remedy="leave --name out")
        answer_invitation(place, folder, yes=yes)
        return
    if folder is not None:
        raise ConfigError("--folder goes with an invitation", remedy=f"name the file in place of {place}")
    _begin_alone(place, name)


def _begin_alone(folder: Path, name: str | None) -> None:
    from site_agent.beginning import begin_site

    identity = begin_site(folder, name or folder.resolve().name)
    typer.echo(f"wrote {folder / 'site.toml'} and {folder / 'policy.toml'}")
    typer.echo(f"public key of {identity.name}: {identity.public_key}")
    typer.echo(
        "next: name your datasets in site.toml, fill in the aggregator's key and the space in policy.toml,\n"
        "and tell the aggregator's people your public key by phone; until then nothing leaves this site"
    )


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


@app.command()
def check(
    config: Annotated[Path, typer.Argument(help="The site file or its folder.")],
    approve: Annotated[
        bool, typer.Option("--approve", help="Ask whether the cards of private tasks may leave.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Approve without asking.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show per task what would leave and what would be refused, and whether all is ready to serve a hub.

    The exit status is 1 if something would be refused or is not ready.
    """
    import json

    from site_agent.checking import approve_cards, check_site, described
    from site_agent.config import SITE_FILE, SiteConfig
    from site_agent.deployment_check.check import check_deployment, is_ready

    config = config / SITE_FILE if config.is_dir() else config
    site = SiteConfig.read(config)
    if approve:
        approve_cards(site, lambda card: yes or typer.confirm(f"{card}\nMay this card leave?", err=as_json))
    found = check_site(site)
    ready = check_deployment(config, site, found)
    ok = found.ok and is_ready(ready)
    if as_json:
        told = {**found.to_json(), "ok": ok, "checks": [finding.to_json() for finding in ready]}
        typer.echo(json.dumps(told, indent=1, ensure_ascii=False))
    else:
        typer.echo("\n".join([*(finding.line for finding in ready), *described(found)]))
    if not ok:
        raise typer.Exit(1)


@app.command()
def transfers(
    config: Annotated[Path, typer.Argument(help="The site file, or its folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the transfer experiments of this site: what runs, what is done, which models left, to whom."""
    import json

    from site_agent.transfer.listing import list_transfers, table

    found = list_transfers(config)
    if as_json:
        typer.echo(json.dumps([listed.to_json() for listed in found], indent=1, ensure_ascii=False))
    elif not found:
        typer.echo("nobody has asked this site to take part in a transfer experiment")
    else:
        console = Console(highlight=False)
        (console if console.is_terminal else Console(width=250, highlight=False)).print(table(found))


@app.command()
def rounds(
    config: Annotated[Path, typer.Argument(help="The site file, or its folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show in which cohorts' rounds this site took part, who else did, and what it cost."""
    import json

    from site_agent.rounds.listing import list_rounds, table

    found = list_rounds(config)
    if as_json:
        typer.echo(json.dumps([listed.to_json() for listed in found], indent=1, ensure_ascii=False))
    elif not found:
        typer.echo("nobody has asked this site to take part in a round")
    else:
        console = Console(highlight=False)
        (console if console.is_terminal else Console(width=250, highlight=False)).print(table(found))
