"""The learned recommender on measured outcomes: python -m benchmarks.recommender DIR [--json].

Every target is forecast from the outcomes of the others and compared with the best single distance and with
the similarity-weighted mean of each source's past ranks. ``--sensitivity`` divides and multiplies every
variance by four; ``--prior`` prints what aggregator/recommender/prior.py holds; ``--scale N`` times a made-up
consortium.
"""

import argparse
import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
from scipy.stats import weightedtau

from aggregator.recommender import LearnedRecommender
from aggregator.recommender.calibration import calibrate
from aggregator.recommender.standing import Components
from aggregator.study import Outcomes, Setting, Study, TaskFacts
from aggregator.validation.directory import read_study
from benchmarks.timing import seconds_of

QUANTILES = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path, nargs="?")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--sensitivity", action="store_true")
    parser.add_argument("--prior", action="store_true")
    parser.add_argument("--scale", type=int, default=0)
    options = parser.parse_args()
    if options.scale:
        print(json.dumps(scale(options.scale), indent=1))
    if options.directory is None:
        return
    study = read_study(options.directory)
    if options.prior:
        print_prior(study)
    elif options.sensitivity:
        print_sensitivity(study)
    else:
        rows = [compare(study, setting) for setting in study.outcomes]
        print(json.dumps({"results": rows}, indent=1) if options.json else table(rows))


def compare(study, setting):
    recommender = LearnedRecommender.fit(study, setting)
    distances = {name: tau(study, setting, -values) for name, values in study.distances.items()}
    best = max(distances, key=distances.get)
    return {
        "scenario": setting.scenario,
        "metric": setting.metric,
        "recommender": tau(study, setting, recommender.standings),
        "past_ranks": tau(study, setting, past_ranks(recommender.evidence)),
        "best_distance": best,
        "best_distance_tau": distances[best],
        **calibrate(recommender).to_json(),
    }


def tau(study, setting, affinity):
    performance, candidates = study.outcomes[setting].performance, study.candidates(setting)
    found = []
    for target in study.target_indices(setting):
        ok = candidates[:, target] & np.isfinite(affinity[:, target])
        if ok.sum() >= 2:
            found.append(weightedtau(affinity[ok, target], performance[ok, target]).statistic)
    return float(np.nanmean(found)) if found else float("nan")


def past_ranks(evidence):
    """Mean standing of every source at other targets, weighted by their resemblance to this one."""
    scores = np.full(evidence.standing.shape, np.nan)
    for target in evidence.targets:
        others = np.setdiff1d(evidence.targets, evidence.family(int(target)))
        known = np.isfinite(evidence.standing[:, others])
        weight = known * evidence.resemblance[others, target]
        total = (weight * np.nan_to_num(evidence.standing[:, others])).sum(axis=1)
        scores[:, target] = total / np.maximum(weight.sum(axis=1), 1e-9)
    return scores


def print_sensitivity(study):
    usual = mean_tau(study, Components())
    print(f"mean weighted tau over {len(study.outcomes)} settings: {usual:.4f}")
    for field in fields(Components):
        moved = [
            mean_tau(study, replace(Components(), **{field.name: getattr(Components(), field.name) * factor}))
            for factor in (0.25, 4.0)
        ]
        print(f"{field.name:14s} / 4: {moved[0] - usual:+.4f}   x 4: {moved[1] - usual:+.4f}")


def mean_tau(study, components):
    found = [
        tau(study, setting, LearnedRecommender.fit(study, setting, components).standings)
        for setting in study.outcomes
    ]
    return float(np.mean(found))


def print_prior(study):
    for scenario in dict.fromkeys(setting.scenario for setting in study.outcomes):
        settings = [setting for setting in study.outcomes if setting.scenario == scenario]
        figures = np.mean([prior_figures(study, setting) for setting in settings], axis=0)
        print(scenario, "location, log spread, slope:", np.round(figures[:3], 2).tolist())
        print("  residuals:", np.round(figures[3:], 1).tolist())


def prior_figures(study, setting):
    recommender = LearnedRecommender.fit(study, setting)
    gains, predicted = recommender.evidence.gain, recommender.standings
    targets = []
    for target in recommender.evidence.targets:
        ok = np.isfinite(gains[:, target]) & np.isfinite(predicted[:, target])
        if ok.any():
            targets.append((gains[ok, target], predicted[ok, target]))
    medians = np.array([np.median(gain) for gain, _ in targets])
    spreads = np.array([np.abs(g - m).mean() + 1e-4 for (g, _), m in zip(targets, medians, strict=True)])
    spread = np.exp(np.median(np.log(spreads)))
    location = np.median(medians) / spread
    clipped = [np.clip((g - m) / s, -3, 3) for (g, _), m, s in zip(targets, medians, spreads, strict=True)]
    product = np.mean([(c * p).mean() for c, (_, p) in zip(clipped, targets, strict=True)])
    slope = product / np.mean([(p**2).mean() for _, p in targets])
    residuals = np.concatenate([g / spread - location - slope * p for g, p in targets])
    return [location, np.log(spread), slope, *np.quantile(residuals, QUANTILES)]


def scale(n_tasks):
    """Seconds to learn and to forecast in a made-up consortium where every pair was measured."""
    random = np.random.default_rng(0)
    places = random.normal(size=(n_tasks, 3))
    distance = np.linalg.norm(places[:, None] - places[None], axis=2)
    distance[np.eye(n_tasks, dtype=bool)] = np.nan
    values = 0.8 + 0.05 * random.normal(size=(3, n_tasks, n_tasks))
    values[:, np.eye(n_tasks, dtype=bool)] = np.nan
    setting, tasks = Setting("pretraining", "auroc"), tuple(f"t{i}" for i in range(n_tasks))
    outcomes = Outcomes(("0", "1", "2"), values, np.full((3, n_tasks), 0.8))
    facts = {task: TaskFacts(2, 1000.0 + i) for i, task in enumerate(tasks)}
    study = Study(tasks, tasks, {}, dict.fromkeys("abcdefghijklmno", distance), {setting: outcomes}, facts)
    fitted = []
    fit = seconds_of(lambda: fitted.append(LearnedRecommender.fit(study, setting)))
    return {
        "tasks": n_tasks,
        "pairs": n_tasks * (n_tasks - 1),
        "fit_s": fit,
        "forecast_s": seconds_of(lambda: fitted[0].forecast("t0")),
        "leave_one_target_out_s": seconds_of(lambda: fitted[0].standings),
        "calibrate_s": seconds_of(lambda: calibrate(fitted[0])),
    }


def table(rows):
    lines = [f"{'setting':24s} recommender  past ranks  best distance           80 %   Brier (base rate)"]
    return "\n".join(lines + [line(row) for row in rows])


def line(row):
    setting = f"{row['scenario']}, {row['metric']}"
    taus = f"{setting:24s} {row['recommender']:11.3f} {row['past_ranks']:11.3f}"
    best = f"{row['best_distance_tau']:.3f} {row['best_distance']:18s}"
    brier = f"{row['harm_brier']:.3f} ({row['harm_brier_base_rate']:.3f})"
    return f"{taus}  {best} {row['interval_coverage']['0.8']:.2f}   {brier}"


if __name__ == "__main__":
    main()
