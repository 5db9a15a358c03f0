"""Which rounds a site took part in, or was asked to, as people read it."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from federation.errors import StoreError
from federation.messages import DONE
from federation.round_messages import ADVERTISE
from site_agent.ledger.chain import read_chain
from site_agent.ledger.entry import Entry
from site_agent.ledger.moments import moment
from site_agent.ledger.overview import open_site
from site_agent.ledger.storage import LedgerFiles
from site_agent.rounds.memory import EXPIRED, OPEN, EndedRound, OpenRound
from site_agent.rounds.participation import ROUND_EVENT
from site_agent.rounds.round_files import SiteRounds
from site_agent.settlement import ROUND
from site_agent.state import SiteState

REFUSED, DAMAGED = "refused", "damaged"


@dataclass(frozen=True)
class ListedRound:
    """A round in plain values.

    Args:
        round: Its id.
        at: When it began here, Unix time in seconds.
        cohort: The cohort.
        task: The site's own task.
        state: ``"open"``, ``"finished"``, ``"expired"``, ``"refused"`` or ``"damaged"``.
        next: The step that is expected, while it is open.
        code: What was answered last, where that was no answer.
        survivors: Who the site confirmed is in the sum.
        dropped: Who dropped out.
        rho: What it cost, an exact fraction; empty where nothing did.
        ledger: The entry that paid for it.
    """

    round: str
    at: float
    cohort: str
    task: str
    state: str
    next: str = ""
    code: str = ""
    survivors: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    rho: str = ""
    ledger: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the round as JSON can hold it."""
        return {**asdict(self), "survivors": list(self.survivors), "dropped": list(self.dropped)}


def list_rounds(site_file: Path) -> tuple[ListedRound, ...]:
    """Return all rounds of a site, oldest first; nothing is changed.

    Raises:
        ConfigError: If the site file is wrong.
        LedgerError: If the ledger is missing or damaged.
        StoreError: If the site has no signing key yet.
    """
    config, identity = open_site(site_file)
    files = LedgerFiles(config.state)
    with files.locked():
        entries = read_chain(files, identity.public_key).entries
    last = _last_events(SiteState(config.state))
    paid = {str(e.charge.mechanism[ROUND]): e for e in entries if e.charge and ROUND in e.charge.mechanism}
    kept = tuple(_kept(SiteRounds(config.state, config.name), last, paid))
    known = {listed.round for listed in kept}
    refused = (_refused(event) for name, event in last.items() if name not in known and _is_refusal(event))
    return tuple(sorted((*kept, *refused), key=lambda listed: (listed.at, listed.round)))


def table(rounds: tuple[ListedRound, ...]) -> Table:
    """Return the rounds as a table for people."""
    drawn = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("round", "when", "cohort", "task", "state", "sum of", "dropped out", "ρ", "ledger entry"):
        drawn.add_column(column)
    for listed in rounds:
        state = " ".join(word for word in (listed.state, listed.next, listed.code) if word)
        who = ", ".join(listed.survivors), ", ".join(listed.dropped)
        entry = "" if listed.ledger is None else str(listed.ledger)
        told = (
            listed.round[:12],
            moment(listed.at),
            listed.cohort,
            listed.task,
            state,
            *who,
            f"{float(Fraction(listed.rho)):.4g}" if listed.rho else "",
            entry,
        )
        drawn.add_row(*map(escape, told))
    return drawn


def _last_events(state: SiteState) -> dict[str, Mapping[str, Any]]:
    events = (event for event in state.events() if event.get("event") == ROUND_EVENT)
    return {str(event.get("round")): event for event in events}


def _is_refusal(event: Mapping[str, Any]) -> bool:
    return event.get("step") == ADVERTISE and event.get("code") != DONE


def _refused(event: Mapping[str, Any]) -> ListedRound:
    cohort, task = str(event.get("cohort", "")), str(event.get("task", ""))
    who = str(event["round"]), float(event["at"]), cohort, task
    return ListedRound(*who, REFUSED, code=str(event["code"]))


def _kept(
    rounds: SiteRounds, last: Mapping[str, Mapping[str, Any]], paid: Mapping[str, Entry]
) -> Iterator[ListedRound]:
    for files in rounds.all():
        name = files.folder.name
        try:
            known = files.read()
        except StoreError:
            yield ListedRound(name, files.path.stat().st_mtime, "", "", DAMAGED)
            continue
        if known is not None:
            code = str(last.get(name, {}).get("code", DONE))
            yield _listed(known, "" if code == DONE else code, paid.get(name))


def _listed(known: OpenRound | EndedRound, code: str, paid: Entry | None) -> ListedRound:
    survivors = known.survivors
    alive, dead = ((), ()) if survivors is None else (survivors.alive, survivors.dead)
    rho = "" if paid is None or paid.charge is None else str(paid.charge.rho)
    state, following = (known.how, "") if isinstance(known, EndedRound) else _state_of(known)
    who = known.round_id, known.began, known.cohort, known.task
    return ListedRound(*who, state, following, code, alive, dead, rho, None if paid is None else paid.seq)


def _state_of(known: OpenRound) -> tuple[str, str]:
    """Return how an open round stands, and which step it waits for."""
    return (EXPIRED, "") if time.time() > known.terms.expires else (OPEN, known.next_step)
