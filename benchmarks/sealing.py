"""What sealing costs beside what a message costs anyway: a request to ten sites, and one reply.

The message takes the way of the in-process runtime, which is the shortest there is: encoded, signed, deflated
as Flower stores it, inflated, verified, decoded. Over a SuperLink the same message takes seconds longer.

    python -m benchmarks.sealing [--recipients 10] [--rounds 7]
"""

import argparse
import hashlib
import json
import os
import statistics
from collections.abc import Callable
from typing import Any, cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flwr.app import RecordDict
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents

from benchmarks.timing import clock_and_processor
from federation.envelope import Envelope
from federation.identity import Identity
from federation.messages import JobHeader
from federation.sealed_record import ReplyKey, open_request, seal_reply, seal_request

_SIZES = (1_000, 1_000_000, 100_000_000)
_KIND = "benchmark"


def measure(n_bytes: int, n_recipients: int, rounds: int) -> dict[str, Any]:
    """Return the milliseconds of processor time of a message and of its seal, medians.

    Args:
        n_bytes: Size of what it carries.
        n_recipients: How many sites a request is sealed for; the last one opens it.
        rounds: How often all is done.
    """
    hub, sites = _identity("hub"), [_identity(f"site-{i}") for i in range(n_recipients)]
    recipients, key = tuple(site.public_key for site in sites), ReplyKey()
    job = JobHeader("job", "0" * 32, 4e9, hub.public_key, key.public, recipients)
    blobs = {"model": os.urandom(n_bytes)}
    record = Envelope.sealed(_KIND, {}, blobs, hub).to_record()
    request, reply = seal_request(record, recipients), seal_reply(record, job)
    told: dict[str, Callable[[], object]] = {
        "message": lambda: _message(blobs, hub),
        "seal request": lambda: seal_request(record, recipients),
        "open request": lambda: open_request(request, sites[-1]),
        "seal reply": lambda: seal_reply(record, job),
        "open reply": lambda: key.open(reply),
    }
    times: dict[str, list[float]] = {name: [] for name in told}
    for _ in range(rounds):
        for name, work in told.items():
            times[name].append(1e3 * clock_and_processor(work)[1])
    return {"bytes": n_bytes, "recipients": n_recipients} | {
        name: statistics.median(taken) for name, taken in times.items()
    }


def _message(blobs: dict[str, bytes], hub: Identity) -> None:
    """Sign, send and verify, unsealed."""
    record = Envelope.sealed(_KIND, {}, blobs, hub).to_record()
    contents = {name: part.deflate() for name, part in get_all_nested_objects(record).items()}
    received = cast(RecordDict, inflate_object_from_contents(record.object_id, contents))
    Envelope.from_record(_KIND, received).verify(hub.public_key, "a message")


def _identity(name: str) -> Identity:
    seed = hashlib.sha256(name.encode()).digest()
    return Identity(name, Ed25519PrivateKey.from_private_bytes(seed))


def _show(row: dict[str, Any]) -> None:
    extra = row["seal request"] + row["open request"]
    print(
        f"{row['bytes']:>12,d} bytes: message {row['message']:8.2f} ms; request for {row['recipients']} "
        f"sealed {row['seal request']:7.2f}, opened {row['open request']:7.2f} "
        f"(+{100 * extra / row['message']:.0f} %); "
        f"reply sealed {row['seal reply']:7.2f}, opened {row['open reply']:7.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipients", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rows = [measure(n_bytes, args.recipients, args.rounds) for n_bytes in _SIZES]
    for row in rows:
        _show(row)
    if args.json:
        print(json.dumps(rows))


if __name__ == "__main__":
    main()
