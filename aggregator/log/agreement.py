"""Whether what the catalogue holds is what its log tells."""

import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from aggregator import outcome_table, schema
from aggregator.log.verify import stored_bytes
from aggregator.members import read_members
from federation.canonical import sha256_hex
from federation.errors import FedprintError
from federation.fingerprint import Fingerprint
from federation.log.entry import Entry
from federation.log.kinds import ACCEPTED, OUTCOMES, STEP, TRANSFER_OUTCOMES, WITHDRAWN
from federation.messages import DONE
from federation.names import task_key

Row = sa.Row[Any]
_fingerprint, _step = schema.fingerprint, schema.transfer_step
_MEMBERSHIPS = ("approved", "rekeyed", "renewed")
_CHANGES_OUTCOMES = (OUTCOMES, TRANSFER_OUTCOMES)


def disagreements(connection: sa.Connection, entries: Iterable[Entry]) -> Iterator[str]:
    """Yield what the tables hold otherwise than the log tells: fingerprints, outcomes, steps.

    Args:
        connection: An open transaction.
        entries: All entries.
    """
    told = list(entries)
    yield from _fingerprints(connection, told)
    yield from _outcomes(connection, told)
    yield from _steps(connection, told)


def _fingerprints(connection: sa.Connection, entries: list[Entry]) -> Iterator[str]:
    accepted = {str(e.detail.get("id")): e.detail for e in entries if e.kind == ACCEPTED}
    keys: dict[str, tuple[str, str]] = {}
    current: set[str] = set()
    for row in connection.execute(sa.select(_fingerprint).order_by(_fingerprint.c.seq)):
        name = f"fingerprint {row.fingerprint_id[:12]} of {task_key(row.site, row.task)}"
        keys[row.fingerprint_id] = (task_key(row.site, row.task), row.space_id)
        current |= {row.fingerprint_id} if row.current else set()
        if row.fingerprint_id not in accepted:
            yield f"{name} is in the catalogue, and the log does not tell of it"
        else:
            yield from _content(row, accepted[row.fingerprint_id], name)
    for gone in sorted(accepted.keys() - keys.keys()):
        yield f"fingerprint {gone[:12]} of {accepted[gone].get('task')} was accepted and is gone"
    yield from _standing(current, _current(entries, keys), keys)


def _content(row: Row, told: Mapping[str, Any], name: str) -> Iterator[str]:
    """Judge a fingerprint by its own bytes."""
    try:
        found = Fingerprint.from_bytes(stored_bytes(row.content))
        said = (found.fingerprint_id, found.key, found.space_id)
    except FedprintError:
        said = ("", "", "")
    whole = said == (row.fingerprint_id, task_key(row.site, row.task), row.space_id)
    if not whole or told.get("content", digest := sha256_hex(stored_bytes(row.content))) != digest:
        yield f"{name} is not what was accepted: its content was changed"
    if told.get("task") != task_key(row.site, row.task):
        yield f"{name} was accepted as one of {told.get('task')}"


def _current(entries: Iterable[Entry], keys: Mapping[str, tuple[str, str]]) -> set[str]:
    """Return the ids of the fingerprints that stand, as the log tells."""
    standing: dict[tuple[str, str], str] = {}
    for entry in entries:
        named, task = str(entry.detail.get("id", "")), str(entry.detail.get("task", ""))
        if entry.kind == ACCEPTED and named in keys:
            standing[keys[named]] = named
        elif entry.kind == WITHDRAWN:
            gone = [key for key, each in standing.items() if key[0] == task and named in ("", each)]
            for key in gone:
                del standing[key]
    return set(standing.values())


def _standing(found: set[str], told: set[str], keys: Mapping[str, tuple[str, str]]) -> Iterator[str]:
    for each in sorted(found ^ told):
        how = (
            "stands, and by the log it does not"
            if each in found
            else "does not stand, and by the log it does"
        )
        yield f"fingerprint {each[:12]} of {keys[each][0]} {how}"


def _outcomes(connection: sa.Connection, entries: Iterable[Entry]) -> Iterator[str]:
    found = outcome_table.read(connection)
    told = [entry for entry in entries if entry.kind in _CHANGES_OUTCOMES]
    if told:
        stated = told[-1].detail.get("table", "")
        if stated and stated != outcome_table.digest(found):
            yield f"the {len(found)} outcomes are not those after the last change that the log tells of"
    elif found:
        yield f"there are {len(found)} outcomes, and the log tells of none"


def _steps(connection: sa.Connection, entries: Iterable[Entry]) -> Iterator[str]:
    told = {str(entry.detail.get("step")): entry.detail for entry in entries if entry.kind == STEP}
    for row in connection.execute(sa.select(_step).where(_step.c.state == DONE)):
        known = told.get(row.step_id, {})
        if known.get("code") != DONE or known.get("result") != sha256_hex(stored_bytes(row.result)):
            yield f"step {row.step_id[:12]} of site {row.site or '(the hub)'} is not as the log tells"


def untold_members(folder: Path, hub_key: str, entries: Iterable[Entry]) -> Iterator[str]:
    """Yield the memberships that count and that the log does not tell of.

    Args:
        folder: The members folder; one that does not exist has no members.
        hub_key: The hub's public key, 64 hexadecimal digits.
        entries: All entries.
    """
    told = {(e.detail.get("site"), e.detail.get("serial")) for e in entries if e.kind in _MEMBERSHIPS}
    for site, membership in read_members(folder, hub_key, time.time()).items():
        if (site, membership.serial) not in told:
            yield f"membership {membership.serial} of site {site} counts, and the log does not tell of it"
