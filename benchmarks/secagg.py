"""A round of secure aggregation: what one site and the aggregator compute and send, against Flower's SecAgg+.

All sites and the aggregator of a round take turns in one process; every request and reply is signed, turned
into a Flower record and read again as it would be elsewhere. Sites that drop out do so after they shared
their secrets, which costs the aggregator most. Nothing touches a disk or a network.

``python -m benchmarks.secagg [--sites 100] [--length 51200] [--dropouts 10] [--json]``
"""

import argparse
import json
import time
from collections import Counter, defaultdict
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
_MOST_ROUNDS, _SITES_IN_ALL = 5, 300
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
    """Return the figures of the best of some rounds, Flower's in turn: medians over the sites that stayed."""
    rounds, flower_s = [], []
    for _ in range(max(1, min(_MOST_ROUNDS, _SITES_IN_ALL // sites))):
        rounds.append(_played(sites, length, dropouts))
        flower_s.append(flower_client_seconds(rounds[0]["degree"], length, rounds[0]["threshold"]))
    best = min(rounds, key=lambda row: row["client_ms"])
    flower_ms = 1e3 * min(flower_s)
    return {**best, "flower_client_ms": flower_ms, "ratio": flower_ms / best["client_ms"]}


def _played(sites: int, length: int, dropouts: int) -> dict[str, Any]:
    play = Play.of(sites, length, dropouts)
    start = time.perf_counter()
    opened = play.round()
    total_s = time.perf_counter() - start
    stayed, terms = opened.contributors, play.terms
    if not np.array_equal(opened.total, sum(play.values[site] for site in stayed)):
        raise SystemExit("the opened sum is not the sum of the contributions")
    upload = int(median(play.upload_bytes[site] for site in stayed))
    return {
        "sites": sites,
        "length": length,
        "dropouts": dropouts,
        "degree": terms.degree,
        "threshold": terms.threshold,
        "client_ms": 1e3 * median(play.clients[site].clock_s for site in stayed),
        "client_processor_ms": 1e3 * median(play.clients[site].processor_s for site in stayed),
        "upload_bytes": upload,
        "upload_ratio": upload / (length * terms.bits // 8),
        "server_ms": 1e3 * play.aggregator.clock_s,
        "total_s": total_s,
    }


@dataclass
class Stopwatch:
    """Seconds that were spent inside, by the clock and on all processors.

    Args:
        clock_s: Seconds by the clock.
        processor_s: Seconds of processors.
    """

    clock_s: float = 0.0
    processor_s: float = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count what is done inside."""
        clock, processor = time.perf_counter(), time.process_time()
        yield
        self.clock_s += time.perf_counter() - clock
        self.processor_s += time.process_time() - processor


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
        upload_bytes: Site → bytes of its replies.
        clients: Site → its stopwatch.
        aggregator: The aggregator's.
    """

    terms: Terms
    hub: Identity
    identities: dict[str, Identity]
    values: dict[str, np.ndarray]
    missing: frozenset[str]
    states: dict[str, Any] = field(default_factory=dict)
    upload_bytes: Counter[str] = field(default_factory=Counter)
    clients: defaultdict[str, Stopwatch] = field(default_factory=lambda: defaultdict(Stopwatch))
    aggregator: Stopwatch = field(default_factory=Stopwatch)

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
            with self.aggregator.running():
                asked = self._asked(step, state.delivery(site) if step == wire.MASK else question)
            with self.clients[site].running():
                told = self._answered(site, asked)
            self.upload_bytes[site] += _size(told)
            with self.aggregator.running():
                replies[site] = self._read(told, step)
                state.check(site, replies[site])
        with self.aggregator.running():
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


def _size(record: RecordDict) -> int:
    """Return the bytes of a record as Flower stores and sends it."""
    return sum(len(part.deflate()) for part in get_all_nested_objects(record).values())


def _show(results: list[dict[str, Any]]) -> None:
    print("sites   length gone   a site: clock processor  Flower's ratio    its upload   aggregator  in all")
    for row in results:
        print(
            f"{row['sites']:5d} {row['length']:8,d} {row['dropouts']:4d} {row['client_ms']:12.1f} ms "
            f"{row['client_processor_ms']:6.1f} ms {row['flower_client_ms']:6.0f} ms {row['ratio']:5.0f} "
            f"{row['upload_bytes']:9,d} B ({row['upload_ratio']:.2f}) {row['server_ms']:6.0f} ms "
            f"{row['total_s']:5.1f} s"
        )


if __name__ == "__main__":
    main()
