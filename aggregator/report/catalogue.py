"""From a catalogue to the report's data."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aggregator.matrix import column_of, read_all
from aggregator.recommend import candidates, forecast, learn
from aggregator.recommender.consortium import consortium_study
from aggregator.report.data import MissingTask, ReportData, TaskEntry
from aggregator.report.render import write_report
from aggregator.store import Catalogue, Entry
from federation.distances import chosen
from federation.ranking import rank_sources

REASONS = {
    "no-reply": "did not answer before the deadline",
    "invalid-reply": "its reply was forged, malformed or answered another request",
    "intake": "its fingerprint failed a check at intake",
    "data": "the dataset could not be used; the site's own log says why",
    "extractor": "the site could not load the extractor",
    "space-mismatch": "the site's weights are not those of the space",
    "policy": "the site's rules do not allow it",
    "not-releasable": "something about its data stands against the release; the site's log says what",
    "budget": "its privacy budget does not allow another release",
    "ledger": "its privacy ledger is missing or damaged",
    "too-few": "too few members were left for a sum that hides each of them; `fedprint hub rounds` says why",
    "roster": "members or keys are not those that its policy names",
    "terms": "the terms of its round are impossible, or not the same for every member",
    "survivors": "members were told different lists of who contributed",
    "share": "members revealed shares that open nothing",
    "replay": "a step of its round was asked for twice with different content",
    "round": "its round could not go on; `fedprint hub rounds` says why",
    "vector": "its sum is none that such contributions can have",
    "fingerprint": "its sum is none that images can have",
    "deadline": "the work was not finished before the deadline",
    "config": "the site's configuration is wrong",
    "store": "the site's own records are incomplete or its disk cannot be written",
}


def write_catalogue_report(catalogue: Catalogue, path: Path, distance: str) -> None:
    """Write the report of a catalogue's latest run.

    Raises:
        UnknownNameError: If there is no such distance or no finished run.
        StoreError: If the file cannot be written.
    """
    write_report(report_data(catalogue, distance), path)


def report_data(catalogue: Catalogue, distance: str) -> ReportData:
    """Return everything the report shows about a catalogue."""
    space, run = catalogue.latest_space(), catalogue.run_summary()
    matrices = read_all(catalogue, space, chosen(space, distance))
    keys, tasks = matrices[distance].keys, tuple(map(_entry, matrices[distance].entries))
    study = consortium_study(matrices, catalogue.outcomes(), catalogue.shared_images())
    learned = learn(study, list(study.outcomes), distance)
    return ReportData(
        title=run["consortium"],
        created=datetime.fromtimestamp(run["finished_at"], tz=UTC),
        distance=distance,
        matrices={name: m.values for name, m in matrices.items()},
        tasks=tasks,
        standard_errors={}
        if all(task.privacy.is_exact for task in tasks)
        else {name: m.standard_errors for name, m in matrices.items()},
        recommendations={
            key: tuple(rank_sources(candidates(column_of(matrices, key)), distance)) for key in keys
        },
        forecasts={key: tuple(forecast(each, key) for each in learned) for key in keys},
        missing=tuple(_missing(entry) for entry in run["missing"]),
        listening=tuple(dict.fromkeys(key.split("/", 1)[0] for key in run["listening"])),
        space=space.header(),
    )


def _entry(entry: Entry) -> TaskEntry:
    fingerprint = entry.fingerprint
    return TaskEntry(
        key=fingerprint.key,
        site=fingerprint.site,
        card=fingerprint.card,
        privacy=fingerprint.privacy,
        provenance=fingerprint.provenance,
        fingerprint_id=entry.fingerprint_id,
        n=fingerprint.card.n_images,
    )


def _missing(entry: dict[str, Any]) -> MissingTask:
    reason = REASONS.get(entry["code"], f"failed with code {entry['code']!r}")
    return MissingTask(entry["site"], entry["task"], reason)
