"""``fedprint hub``: founding a consortium, and who belongs to it."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from aggregator.catalogue_place import CataloguePlace
from aggregator.members import Member, Standing
from aggregator.operated_hub import OperatedHub
from aggregator.options import JsonOption, print_json, refuse_password
from federation.errors import ConfigError
from federation.files import create_atomically, write_atomically

FolderOption = Annotated[Path, typer.Option("--folder", "-f", help="The hub's folder.")]
SiteArgument = Annotated[str, typer.Argument(help="Name of the site.")]
Days = Annotated[int, typer.Option(min=1, max=3650, help="Days that the membership lasts.")]
_HERE = Path()


def init(
    folder: Annotated[Path, typer.Argument(help="New folder for everything of the hub.")],
    name: Annotated[str, typer.Option(help="Name of the consortium.")],
    address: Annotated[str, typer.Option(help="host:port at which sites will reach the hub.")],
    space: Annotated[
        Path | None, typer.Option(help="The space that all sites work in; it can be put there later.")
    ] = None,
    database: Annotated[
        str | None, typer.Option(help="postgresql+psycopg://… of the catalogue; by default an SQLite file.")
    ] = None,
    ca_certificate: Annotated[
        Path | None, typer.Option(help="Certificate of an authority that the consortium has already.")
    ] = None,
    ca_key: Annotated[
        Path | None, typer.Option(help="Its key, so that fedprint issues the hub's certificate.")
    ] = None,
    server_certificate: Annotated[
        Path | None, typer.Option(help="Without that key: the certificate it issued for the hub.")
    ] = None,
    server_key: Annotated[Path | None, typer.Option(help="Key of that certificate.")] = None,
) -> None:
    """Found a consortium: keys, certificate authority, certificate and a commented hub.toml."""
    from aggregator.founding import Founding, ImportedTls, found_hub

    if database is not None:
        refuse_password(CataloguePlace(database, folder))
    others = ca_key, server_certificate, server_key
    if ca_certificate is None and any(others):
        raise ConfigError("--ca-certificate is missing", remedy="name the authority's certificate too")
    tls = None if ca_certificate is None else ImportedTls(ca_certificate, *others)
    identity = found_hub(folder, Founding(name, address, space, database, tls))
    typer.echo(f"{folder / 'hub.toml'}: {name} at {address}, hub key {identity.public_key}")
    typer.echo("next:")
    typer.echo(f"  1. back up {folder}: whoever has it is the hub")
    if space is None:
        typer.echo(f"     and put the consortium's space there as {folder / 'space.safetensors'}")
    typer.echo(f"  2. fedprint hub serve {folder}")
    typer.echo(f"  3. fedprint hub invite SITE --folder {folder}    (once for every hospital)")


def invite(
    site: SiteArgument,
    folder: FolderOption = _HERE,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; by default SITE.invitation.json.")
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=90, help="Days after which it is refused.")] = 14,
    again: Annotated[bool, typer.Option("--again", help="Replace an open invitation.")] = False,
) -> None:
    """Invite a hospital: write one file that tells it everything, and holds no secret of it."""
    from aggregator.invitations import invite as invite_site
    from federation.app_bundle import bundle_hash

    path = output or Path(f"{site}.invitation.json")
    if path.exists() and not again:
        raise ConfigError(
            f"{path} exists already", remedy="remove it, or replace the invitation with --again"
        )
    hub = OperatedHub.open(folder)
    invitation = invite_site(hub, site, bundle_hash(), time.time(), days=days, again=again)
    write_atomically(path, invitation.to_bytes())
    typer.echo(f"{path}: for {site} alone, once, until {_day(invitation.expires)}")
    typer.echo("next:")
    typer.echo(f"  1. send it to {site}; there: fedprint site init {path.name}")
    typer.echo(f"  2. {site} sends {site}.enrolment.json back: fedprint hub approve {site}.enrolment.json")
    typer.echo("  3. it asks you to telephone and compare a number: use a phone number you knew before")


def approve(
    enrolment: Annotated[Path, typer.Argument(help="SITE.enrolment.json or SITE.rotation.json.")],
    folder: FolderOption = _HERE,
    fingerprint: Annotated[
        str | None, typer.Option(help="The number that was read out on the phone: six groups of five digits.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; only with --fingerprint.")] = False,
    days: Days = 365,
) -> None:
    """Let a site in, or accept its new node key, after comparing a number by telephone."""
    from aggregator.enrolling import approve as approve_candidate
    from aggregator.enrolling import examine
    from aggregator.requests_text import described
    from federation.files import read_file

    if yes and fingerprint is None:
        raise ConfigError(
            "--yes needs --fingerprint", remedy="type in the number that you heard on the phone"
        )
    hub, now = OperatedHub.open(folder), time.time()
    candidate = examine(hub, read_file(enrolment, "enrolment"), now)
    typer.echo("\n".join(described(candidate)))
    number = fingerprint or candidate.compared.number
    if not yes and candidate.done is None:
        site = candidate.request.site
        typer.confirm(f"Did {site} read out the same number, on a phone number you knew before?", abort=True)
    membership = approve_candidate(hub, candidate, number, now, days)
    _hand_over(membership.site, membership.serial, membership.to_bytes())
    typer.echo(f"{membership.site} is a member until {_day(membership.valid_until)}")


def members(folder: FolderOption = _HERE, as_json: JsonOption = False) -> None:
    """List who belongs to the consortium, until when, and who was invited."""
    from aggregator.invitations import open_invitations
    from aggregator.members import list_members

    hub, now = OperatedHub.open(folder), time.time()
    listed = list(list_members(hub.members.folder, hub.identity.public_key, now))
    invited = open_invitations(hub.folder.invitations, now)
    if as_json:
        told = [_told(member, now) for member in listed]
        print_json({"consortium": hub.config.consortium, "members": told, "invited": invited})
        return
    for member in listed:
        typer.echo(_line(member, now))
    for site, expires in invited.items():
        typer.echo(f"{site}: invited, until {_day(expires)}")
    if not listed and not invited:
        typer.echo("nobody yet; `fedprint hub invite SITE` begins that")


def renew(site: SiteArgument, folder: FolderOption = _HERE, days: Days = 365) -> None:
    """Give a member a new membership with the keys that it has; the other sites notice nothing."""
    from aggregator.member_changes import renew as renew_member

    hub = OperatedHub.open(folder)
    membership = renew_member(hub, site, time.time(), days)
    _hand_over(site, membership.serial, membership.to_bytes())
    typer.echo(f"{site} is a member until {_day(membership.valid_until)}")


def revoke(
    site: SiteArgument,
    because: Annotated[str, typer.Option(help="Why; it is logged.")],
    folder: FolderOption = _HERE,
) -> None:
    """End a site's membership; the other sites notice nothing."""
    from aggregator.member_changes import revoke as revoke_member

    revocation = revoke_member(OperatedHub.open(folder), site, because, time.time())
    typer.echo(f"{site} is revoked, with every membership up to {revocation.serial}")
    typer.echo(
        "a serving hub disconnects it within seconds; what it released is withdrawn by the next job\n"
        f"to let it in again: fedprint hub invite {site}"
    )


def renew_certificate(
    folder: FolderOption = _HERE,
    server_certificate: Annotated[
        Path | None, typer.Option(help="A certificate from the consortium's own authority.")
    ] = None,
    server_key: Annotated[Path | None, typer.Option(help="Its key, where that is new too.")] = None,
) -> None:
    """Replace the hub's certificate by a new one of the same authority; sites have nothing to do."""
    from aggregator.certificate_renewal import renew_certificate as renew_it
    from federation.operations.certificate import ends_at

    if server_key is not None and server_certificate is None:
        raise ConfigError("--server-key needs --server-certificate", remedy="name the certificate too")
    hub = OperatedHub.open(folder)
    renew_it(hub, server_certificate, server_key)
    typer.echo(f"the hub's certificate ends on {_day(ends_at(hub.folder.server_certificate))}")
    typer.echo("restart `fedprint hub serve`; it is used from then on")


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file to ``fedprint hub``."""
    for command in (init, invite, approve, members, renew, revoke):
        app.command()(command)
    app.command("renew-certificate")(renew_certificate)


def _hand_over(site: str, serial: int, membership: bytes) -> None:
    """Write a membership where the command runs, so that it can be sent."""
    path = Path(f"{site}.membership-{serial}.json")
    create_atomically(path, membership)
    typer.echo(f"{path}: send it to {site}; there: fedprint site accept {path}")


def _told(member: Member, now: float) -> dict[str, Any]:
    from federation.expiry import expiry_of

    told: dict[str, Any] = {"site": member.site, "standing": member.standing.value, "because": member.because}
    if member.membership is not None:
        ends = expiry_of("membership", member.membership.valid_until, now)
        told |= {"serial": member.membership.serial, "identity_key": member.membership.identity_key}
        told |= {
            "valid_until": member.membership.valid_until,
            "days_left": ends.days,
            "urgency": ends.urgency,
        }
    return told


def _line(member: Member, now: float) -> str:
    from federation.expiry import Urgency, expiry_of

    if member.membership is None or member.standing not in (Standing.VALID, Standing.EXPIRED):
        return f"{member.site}: {member.standing.value}, {member.because}"
    ends = expiry_of(f"{member.site}: the membership", member.membership.valid_until, now)
    renew_it = "" if ends.urgency is Urgency.OK else f" → fedprint hub renew {member.site}"
    return f"{ends}{renew_it}"


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")
