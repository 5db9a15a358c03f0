"""``fedprint site``: answering an invitation, accepting a membership, changing the node key."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from site_agent.joining import Joined
    from site_agent.site_folder import SiteFolder

FolderOption = Annotated[Path, typer.Option("--folder", "-f", help="The site's folder.")]
_HERE = Path()


def answer_invitation(path: Path, folder: Path | None, *, yes: bool) -> None:
    """Make a site's files from an invitation, and say what to do next.

    Args:
        path: The invitation.
        folder: Where the site keeps its files; None: a folder of the site's name.
        yes: Whether the installed version's app bundle is approved without asking.
    """
    from federation.files import read_file
    from federation.invitation import Invitation
    from site_agent.joining import join
    from site_agent.site_folder import SiteFolder

    invitation = Invitation.from_bytes(read_file(path, "invitation"))
    place = SiteFolder(folder or Path(invitation.site))
    joined = join(place, invitation, time.time())
    typer.echo(f"{place.path}: site {invitation.site} of {invitation.consortium}, hub {invitation.address}")
    _approve_bundle(place, joined, yes=yes)
    _say_next(place, joined)


def _approve_bundle(place: "SiteFolder", joined: "Joined", *, yes: bool) -> None:
    """Approve, if somebody agrees, what the installed version would run, where the hub runs the same."""
    from federation.app_bundle import bundle_bytes, bundle_hash
    from site_agent.bundles import Bundles
    from site_agent.state import SiteState

    bundles, digest = Bundles(place, SiteState(place.state)), bundle_hash()
    if digest != joined.invitation.bundle:
        typer.echo(
            "the hub runs another version of fedprint than the one installed here: install the\n"
            "consortium's, or look at what it sends with `fedprint site approve`"
        )
    elif digest not in {each.digest for each in bundles.approved()} and (
        yes
        or typer.confirm(
            f"The hub will start the fedprint that is installed here (app bundle {digest[:16]}…). May it?"
        )
    ):
        bundles.approve(bundle_bytes())


def _say_next(place: "SiteFolder", joined: "Joined") -> None:
    typer.echo("telephone the operator, on a number you knew before; both sides must see the same number:")
    typer.echo(f"  {joined.compared.number}")
    typer.echo("next:")
    typer.echo(f"  1. send {joined.enrolment} to the operator, and compare that number when they call")
    typer.echo(f"  2. fill in the datasets in {place.config}, and what may leave in {place.policy}")
    typer.echo(
        f"  3. when the membership comes: fedprint site accept FILE --folder {place.path},\n"
        f"     then fedprint site check {place.path} and fedprint site serve {place.path}"
    )


def accept(
    membership: Annotated[Path, typer.Argument(help="SITE.membership-N.json, as the operator sent it.")],
    folder: FolderOption = _HERE,
) -> None:
    """Accept a membership from the operator: a first one, a renewed one, or one for a new node key."""
    from federation.files import read_file
    from site_agent.deployed_site import DeployedSite
    from site_agent.membership import accept as accept_membership

    found = accept_membership(DeployedSite.open(folder), read_file(membership, "membership"), time.time())
    ends = datetime.fromtimestamp(found.valid_until, UTC).strftime("%Y-%m-%d")
    typer.echo(f"{found.site} is a member of {found.consortium} until {ends} (membership {found.serial})")
    typer.echo(f"next: fedprint site check {folder}; restart `fedprint site serve` where it runs")


def rotate_keys(
    folder: FolderOption = _HERE,
    abort: Annotated[
        bool, typer.Option("--abort", help="Forget a new key that the operator has not approved.")
    ] = False,
) -> None:
    """Change the key of this site's node; the old one works until the operator has agreed.

    The identity key stays: the privacy ledger and everything released is signed with it, and could not be
    verified under another. Where it was lost or stolen, tell the operator, who revokes this site; it then
    begins anew from an invitation, in a new folder.
    """
    from site_agent.deployed_site import DeployedSite
    from site_agent.key_rotation import abort_rotation, rotate_node_key

    site = DeployedSite.open(folder)
    if abort:
        typer.echo("the new key is forgotten" if abort_rotation(site) else "there was no new key")
        typer.echo("if the operator approved it already, change the key again")
        return
    compared = rotate_node_key(site, time.time())
    typer.echo(f"telephone the operator; both sides must see the same number:\n  {compared.number}")
    typer.echo(
        f"next: send {site.folder.rotation(site.name)}; when the answer comes: fedprint site accept FILE"
    )
    typer.echo("the old key is used until then; the identity key stays, it signs the ledger and the releases")


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file to ``fedprint site``."""
    app.command()(accept)
    app.command("rotate-keys")(rotate_keys)
