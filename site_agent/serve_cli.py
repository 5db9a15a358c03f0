"""``fedprint site serve`` and ``fedprint site approve``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from site_agent.bundles import Bundles

Folder = Annotated[Path, typer.Argument(help="Folder of the site: site.toml lies in it.")]


def serve(
    folder: Folder,
    json_logs: Annotated[bool, typer.Option("--json-logs", help="Logs as one JSON object a line.")] = False,
) -> None:
    """Connect this site to its hub and stay connected; end it with Ctrl-C or SIGTERM."""
    from site_agent.serving import serve_site
    from site_agent.site_folder import SiteFolder

    typer.echo(f"logs are in {folder / 'logs'}; fedprint site status says how it goes")
    raise typer.Exit(serve_site(SiteFolder(folder.resolve()), json_logs=json_logs))


def approve(
    folder: Folder,
    digest: Annotated[
        str | None, typer.Argument(help="SHA-256 of the bundle, or how it begins; by default the newest.")
    ] = None,
    installed: Annotated[
        bool, typer.Option("--installed", help="Approve the bundle of the installed fedprint itself.")
    ] = False,
    revoke: Annotated[
        str | None, typer.Option("--revoke", help="Let the bundle of this SHA-256 run no longer.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Approve without asking.")] = False,
) -> None:
    """Show which app bundles wait, what is in them and what changed, and let one run here."""
    from site_agent.bundle_view import installed_bundle
    from site_agent.bundles import Bundles
    from site_agent.config import SiteConfig
    from site_agent.site_folder import SiteFolder
    from site_agent.state import SiteState

    place = SiteFolder(folder.resolve())
    bundles = Bundles(place, SiteState(SiteConfig.read(place.config).state))
    if revoke is not None:
        bundles.revoke(bundles.complete(revoke))
        typer.echo("revoked: the hub's next message under this bundle is refused")
        return
    _list(bundles)
    if installed:
        _decide(bundles, installed_bundle()[1], yes)
    elif digest is not None or bundles.waiting():
        chosen = bundles.complete(digest) if digest is not None else bundles.waiting()[0].digest
        _decide(bundles, bundles.read(chosen), yes)


def _list(bundles: "Bundles") -> None:
    from site_agent.bundle_view import installed_bundle
    from site_agent.bundles import age_text

    own = installed_bundle()[0]
    for heading, kept in (("waiting", bundles.waiting()), ("approved", bundles.approved())):
        typer.echo(f"{heading}: {len(kept) or 'none'}")
        for each in kept:
            mark = "  = the installed fedprint's own" if each.digest == own else ""
            typer.echo(f"  {each.digest}  {age_text(each.since)}  {each.n_bytes:,} bytes{mark}")


def _decide(bundles: "Bundles", bundle: bytes, yes: bool) -> None:
    from federation.canonical import sha256_hex
    from site_agent.bundle_view import describe

    digest = sha256_hex(bundle)
    typer.echo(f"\nbundle {digest}\n")
    for line in describe(bundle, bundles):
        typer.echo(line)
    if not yes and not typer.confirm("\nMay this run here whenever the hub asks?"):
        typer.echo("not approved; it goes on waiting")
        raise typer.Exit(1)
    bundles.approve(bundle)
    typer.echo("approved; no restart is needed")
