"""Exact discrete Gaussian noise against OpenDP's exact sampler, in one run.

Both draw from the operating system's randomness; the table of a variance is made anew in its own row.
OpenDP's time is that of fewer draws, scaled up: it is the same for each.

``python -m benchmarks.noise [--draws 512000] [--json]``
"""

import argparse
import json
import math
from typing import Any

from benchmarks.timing import seconds_of
from federation.privacy import inversion
from federation.privacy.noise import discrete_gaussian

SIGMAS = (1, 10, 100, 1000, 4096, 2**20)
_ROUNDS = 5
_OPENDP_SHARE = 10  # one draw of so many is timed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=512_000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    results = [row for sigma in SIGMAS for row in _measure(sigma**2, arguments.draws)]
    if arguments.json:
        print(json.dumps({"results": results}, indent=1))
    else:
        _show(results)


def _measure(variance: int, draws: int) -> list[dict[str, Any]]:
    """Return one row per sampler; ratio: OpenDP's time divided by the row's. The best of rounds in turn."""
    times: dict[str, list[float]] = {"opendp": [], "fedprint": [], "fedprint, table included": []}
    for _ in range(_ROUNDS):
        times["opendp"].append(_opendp_seconds(variance, draws // _OPENDP_SHARE) * _OPENDP_SHARE)
        inversion._table.cache_clear()
        for name in ("fedprint, table included", "fedprint"):
            times[name].append(seconds_of(lambda: discrete_gaussian(draws, variance)))
    best = {name: min(rounds) for name, rounds in times.items()}
    return [
        {
            "sampler": name,
            "variance": variance,
            "draws": draws,
            "seconds": seconds,
            "ratio": best["opendp"] / seconds,
        }
        for name, seconds in best.items()
    ]


def _opendp_seconds(variance: int, draws: int) -> float:
    try:
        import opendp.prelude as opendp
    except ModuleNotFoundError as missing:
        raise SystemExit('OpenDP is missing → pip install "fedprint[benchmarks]"') from missing

    opendp.enable_features("contrib")
    domain = opendp.vector_domain(opendp.atom_domain(T="i32"))
    sampler = opendp.m.make_gaussian(domain, opendp.l2_distance(T="f64"), scale=math.sqrt(variance))
    zeros = [0] * draws
    return seconds_of(lambda: sampler(zeros))


def _show(results: list[dict[str, Any]]) -> None:
    print(f"{results[0]['draws']:,} draws  variance    seconds   × OpenDP")
    for row in results:
        print(f"{row['sampler']:25s} {row['variance']:12,d} {row['seconds']:8.4f} s {row['ratio']:8.1f}")


if __name__ == "__main__":
    main()
