"""Outcomes in the catalogue."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, astuple, dataclass
from dataclasses import replace as changed_to

import sqlalchemy as sa

from aggregator import schema
from aggregator.outcomes import Key, Outcome, baselines
from federation.canonical import canonical_json, sha256_hex
from federation.errors import OutcomeError

_outcome = schema.outcome


@dataclass(frozen=True)
class Imported:
    """What an import did.

    Args:
        added: Number of new measurements.
        replaced: Number of measurements that got another value or baseline.
        unchanged: Number that were there already.
    """

    added: int
    replaced: int
    unchanged: int


def read(connection: sa.Connection) -> list[Outcome]:
    """Return every outcome, ordered by scenario, metric, seed, source and target."""
    rows = connection.execute(sa.select(_outcome).order_by(*_outcome.primary_key.columns)).all()
    return [Outcome(**row._mapping) for row in rows]


def digest(outcomes: Iterable[Outcome]) -> str:
    """Return the SHA-256 of all outcomes, which the log tells after every change of them."""
    rows = [list(astuple(each)) for each in sorted(outcomes, key=lambda each: each.key)]
    return sha256_hex(canonical_json(rows))


def add(connection: sa.Connection, outcomes: Iterable[Outcome], *, replace: bool) -> Imported:
    """Write outcomes.

    Args:
        connection: An open transaction.
        outcomes: The measurements.
        replace: Whether one that is there with another value or baseline is replaced. A new baseline then
            takes the place of the old one for every source of the repetition.

    Raises:
        OutcomeError: If one is and may not be, or a target would get two baselines.
    """
    known = {outcome.key: outcome for outcome in read(connection)}
    given = {outcome.key: outcome for outcome in outcomes}
    if replace:
        given = _with_baselines(known, given) | given
    changed = [outcome for key, outcome in given.items() if key in known and known[key] != outcome]
    if changed and not replace:
        _refuse(known, changed)
    new = [outcome for key, outcome in given.items() if key not in known]
    _check_baselines((known | given).values())
    remove(connection, changed)
    if new or changed:
        connection.execute(sa.insert(_outcome), [asdict(outcome) for outcome in (*new, *changed)])
    return Imported(len(new), len(changed), len(given) - len(new) - len(changed))


def remove(connection: sa.Connection, outcomes: Iterable[Outcome]) -> None:
    """Delete outcomes that are there.

    Args:
        connection: An open transaction.
        outcomes: The measurements; their values do not matter.
    """
    for outcome in outcomes:
        same = [column == getattr(outcome, column.name) for column in _outcome.primary_key.columns]
        connection.execute(sa.delete(_outcome).where(*same))


def _with_baselines(known: Mapping[Key, Outcome], given: Mapping[Key, Outcome]) -> dict[Key, Outcome]:
    """Return the stored measurements that get the baseline of a given one of their repetition."""
    stated = baselines(given.values())
    found = {}
    for key, outcome in known.items():
        new = stated.get(outcome.repetition, outcome.baseline)
        if outcome.baseline is not None and key not in given and new != outcome.baseline:
            found[key] = changed_to(outcome, baseline=new)
    return found


def _check_baselines(outcomes: Iterable[Outcome]) -> None:
    try:
        baselines(outcomes)
    except OutcomeError as error:
        remedy = f"{error.remedy}; `--replace` puts the new one in place for all of them"
        raise OutcomeError(error.problem, remedy=remedy) from error


def _refuse(known: dict[Key, Outcome], changed: list[Outcome]) -> None:
    new = changed[0]
    old = known[new.key]
    what = "value" if old.value != new.value else "baseline"
    more = f", and so for {len(changed) - 1} more" if len(changed) > 1 else ""
    raise OutcomeError(
        f"the catalogue holds another {what} for {new.source} → {new.target}, {new.scenario}, {new.metric}, "
        f"seed {new.seed}: {getattr(old, what)} instead of {getattr(new, what)}{more}",
        remedy="nothing was imported; `--replace` puts the new ones in place",
    )
