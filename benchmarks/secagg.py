"""A round of secure aggregation: what one site and the aggregator compute and send, against Flower's SecAgg+.

All sites and the aggregator of a round take turns in one process; every request and reply is signed, turned
into a Flower record and read again as it would be elsewhere. Sites that drop out do so after they shared
their secrets, which costs the aggregator most. Nothing touches a disk or a network.

``python -m benchmarks.secagg [--sites 100] [--length 51200] [--dropouts 10] [--json]``
"""

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flwr.app import RecordDict
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects

from benchmarks.secagg_flower import flower_client_seconds
from federation import round_messages as wire
from federation.identity import Identity
from federation.messages import JobHeader
from federation.secagg import client, server
from federation.secagg.terms import Terms

CASES = ((10, 51_200, 0), (100, 51_200, 10), (100, 512_000, 0), (1000, 51_200, 20))
_BOUND = 10**6
_FAR_FUTURE = 4e9
_JOB, _NONCE, _ROUND = "benchmark", "0" * 32, "1" * 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", type=int)
    parser.add_argument("--length", type=int, default=51_200)
    parser.add_argument("--dropouts", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    one = (arguments.sites, arguments.length, arguments.dropouts)
    results = [measure(*case) for case in (CASES if arguments.sites is None else (one,))]
    if arguments.json:
        print(json.dumps({"results": results}, indent=1))
    else:
        _show(results)


def measure(sites: int, length: int, dropouts: int) -> dict[str, Any]:
    """Return the figures of one round: medians over the sites that stayed to the end."""
    play = Play.of(sites, length, dropouts)
    start = time.perf_counter()
    opened = play.round()
    total_s = time.perf_counter() - start
    stayed = opened.contributors
    if not np.array_equal(opened.total, sum(play.values[site] for site in stayed)):
        raise SystemExit("the opened sum is not the sum of the contributions")
    terms = play.terms
    flower_s = flower_client_seconds(terms.degree, length, terms.threshold)
    client_s = median(play.client_s[site] for site in stayed)
    return {
        "sites": sites,
        "length": length,
        "dropouts": dropouts,
        "degree": terms.degree,
        "client_ms": 1e3 * client_s,
        "flower_client_ms": 1e3 * flower_s,
        "ratio": flower_s / client_s,
        "upload_bytes": int(median(play.upload_bytes[site] for site in stayed)),
        "upload_ratio": median(play.upload_bytes[site] for site in stayed) / (length * terms.bits // 8),
        "server_ms": 1e3 * play.server_s,
        "total_s": total_s,
    }


@dataclass
class Play:
    """Both sides of a round in turn, with a stopwatch for each.

    Args:
        terms: What the round is about.
        hub: Who asks.
        identities: Site → who answers.
        values: Site → its vector.
        missing: Sites that send no vector.
        states: Site → where it is in the round.
        client_s: Site → seconds of its computing.
        upload_bytes: Site → bytes of its replies.
        server_s: Seconds of the aggregator's computing.
    """

    terms: Terms
    hub: Identity
    identities: dict[str, Identity]
    values: dict[str, np.ndarray]
    missing: frozenset[str]
    states: dict[str, Any] = field(default_factory=dict)
    client_s: dict[str, float] = field(default_factory=dict)
    upload_bytes: dict[str, int] = field(default_factory=dict)
    server_s: float = 0.0

    @classmethod
    def of(cls, sites: int, length: int, dropouts: int) -> "Play":
        """Return a cohort with random keys and vectors."""
        names = [f"site-{k:04d}" for k in range(sites)]
        identities = {name: Identity(name, Ed25519PrivateKey.generate()) for name in names}
        members = {name: identity.public_key for name, identity in identities.items()}
        terms = Terms.for_cohort(
            _ROUND, "cohort", members, {}, length=length, bound=_BOUND, expires=_FAR_FUTURE
        )
        random = np.random.default_rng(1)
        rows = random.integers(-_BOUND, _BOUND, (min(sites, 16), length))
        values = {name: rows[k % len(rows)] for k, name in enumerate(names)}
        missing = frozenset(random.choice(names, dropouts, replace=False).tolist())
        hub = Identity("hub", Ed25519PrivateKey.generate())
        return cls(terms, hub, identities, values, missing)

    def round(self) -> server.Opened:
        """Play all five steps."""
        state: Any = server.Advertising(self.terms)
        state = self._step(state, wire.ADVERTISE, tuple(self.terms.members), None)
        state = self._step(state, wire.SHARE, state.sites, state.directory)
        present = [site for site in state.sites if site not in self.missing]
        state = self._step(state, wire.MASK, present, None)
        state = self._step(state, wire.CONFIRM, state.sites, state.survivors)
        return self._step(state, wire.UNMASK, state.sites, state.confirmations)

    def _step(self, state: Any, step: str, sites: Any, question: Any) -> Any:
        replies = {}
        for site in sites:
            with self._aggregator():
                asked = self._asked(step, state.delivery(site) if step == wire.MASK else question)
            with self._site(site):
                told = self._answered(site, asked)
            self.upload_bytes[site] = self.upload_bytes.get(site, 0) + _size(told)
            with self._aggregator():
                replies[site] = self._read(told, step)
                state.check(site, replies[site])
        with self._aggregator():
            return state.close(replies)

    def _job(self) -> JobHeader:
        return JobHeader(_JOB, _NONCE, _FAR_FUTURE, self.hub.public_key)

    def _asked(self, step: str, question: Any) -> RecordDict:
        if question is None:
            return wire.AdvertiseRequest(self._job(), self.terms).to_record(self.hub)
        digest = self.terms.digest.hex()
        return wire.StepRequest(self._job(), _ROUND, digest, step, question).to_record(self.hub)

    def _answered(self, site: str, asked: RecordDict) -> RecordDict:
        request = wire.read_request(asked)
        identity = self.identities[site]
        match request.step:
            case wire.ADVERTISE:
                state, answer = client.advertise(request.terms, site, identity)
            case wire.MASK:
                state, answer = self.states[site].mask(request.message, self.values[site])
            case wire.CONFIRM:
                state, answer = self.states[site].confirm(request.message, identity)
            case wire.UNMASK:
                state, answer = None, self.states[site].unmask(request.message)
            case _:
                state, answer = self.states[site].share(request.message)
        self.states[site] = state
        return wire.StepReply(site, _JOB, _NONCE, _ROUND, request.step, answer).to_record(identity)

    def _read(self, told: RecordDict, step: str) -> Any:
        return wire.StepReply.from_record(told, self.terms.members, self._job(), _ROUND, step).message

    @contextmanager
    def _aggregator(self) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.server_s += time.perf_counter() - start

    @contextmanager
    def _site(self, site: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.client_s[site] = self.client_s.get(site, 0.0) + time.perf_counter() - start


def _size(record: RecordDict) -> int:
    """Return the bytes of a record as Flower stores and sends it."""
    return sum(len(part.deflate()) for part in get_all_nested_objects(record).values())


def _show(results: list[dict[str, Any]]) -> None:
    print("sites   length gone    a site   Flower's  ratio   its upload   aggregator    in all")
    for row in results:
        print(
            f"{row['sites']:5d} {row['length']:8,d} {row['dropouts']:4d} {row['client_ms']:6.1f} ms "
            f"{row['flower_client_ms']:7.0f} ms {row['ratio']:6.0f} {row['upload_bytes']:7,d} B "
            f"({row['upload_ratio']:.2f}) {row['server_ms']:7.0f} ms {row['total_s']:7.1f} s"
        )


if __name__ == "__main__":
    main()
