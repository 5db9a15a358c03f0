"""``fedprint hub verify``: whether the log is whole and the catalogue what it tells."""

from pathlib import Path
from typing import Annotated

import sqlalchemy as sa
import typer

from aggregator.config import HubConfig
from aggregator.hub_folder import HubFolder
from aggregator.log.agreement import disagreements, untold_members
from aggregator.log.heads import last_of_each, sign_head
from aggregator.log.proofs import prove
from aggregator.log.verify import Verified, verify_log
from aggregator.options import CatalogueOption, JsonOption, open_catalogue, print_json
from federation.errors import LogError
from federation.identity import Identity
from federation.log.tree_head import SignedHead, short_form


def verify(
    catalogue: CatalogueOption = None,
    prove_growth: Annotated[
        tuple[int, int] | None,
        typer.Option("--prove", help="Print the proof between two sizes that two sites compare."),
    ] = None,
    sign: Annotated[
        Path | None, typer.Option("--sign", help="The hub file: sign the head of the log if it is whole.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compute log and heads anew, and compare the catalogue with them; exit status 1 if anything differs."""
    store = open_catalogue(catalogue)
    if prove_growth is not None:
        print_json(store.read(lambda connection: prove(connection, *prove_growth)).to_json())
        return
    found, findings = store.read(_judged)
    signed = max(found.heads, key=lambda head: head.size, default=None)
    if signed is not None:
        members = HubFolder(store.place.folder).members
        findings += untold_members(members, signed.key, found.entries)
    if sign is not None:
        if findings:
            raise LogError(
                "the log is not whole, so it is not signed", remedy="look at `fedprint hub verify`"
            )
        hub = HubConfig.read(sign)
        with store.transaction() as connection:
            signed = sign_head(connection, Identity.load(hub.consortium, hub.key))
    if as_json:
        print_json(_to_json(found, findings, signed))
    else:
        typer.echo("\n".join(_said(found, findings, signed)))
    if findings:
        raise typer.Exit(1)


def _judged(connection: sa.Connection) -> tuple[Verified, list[str]]:
    found = verify_log(connection)
    return found, [*found.findings, *disagreements(connection, found.entries)]


def _said(found: Verified, findings: list[str], signed: SignedHead | None) -> list[str]:
    lines = [*findings, f"{found.size} entries, root {short_form(found.root)}"]
    lines.append(
        f"signed up to {signed.size}, root {short_form(signed.root)}" if signed else "no head was signed yet"
    )
    if signed is not None:
        for site, head in last_of_each(found.witnesses, signed.head.log_id).items():
            lines.append(f"site {site} co-signed up to {head.signed.size}")
    lines.append(
        f"{len(findings)} things are wrong"
        if findings
        else "the log is whole, the catalogue is what it tells"
    )
    return lines


def _to_json(found: Verified, findings: list[str], signed: SignedHead | None) -> dict[str, object]:
    log = signed.head.log_id if signed else ""
    return {
        "size": found.size,
        "root": found.root.hex(),
        "signed": signed.to_json() if signed else None,
        "witnesses": {site: head.signed.size for site, head in last_of_each(found.witnesses, log).items()},
        "findings": findings,
    }
