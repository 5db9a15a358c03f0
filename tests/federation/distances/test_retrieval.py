"""Whether published distances find the task from which an 800-image version was drawn."""

import csv
import json

import numpy as np
import pytest


def nearest_sources(path):
    """Yield every task with an 800-image version, and the nearest source of that version."""
    with path.open() as file:
        header, *rows = csv.reader(file)
    values = np.array([[float(value or "nan") for value in row[1:]] for row in rows])
    for target, column in zip(header[1:], values.T, strict=True):
        if target.endswith("@800"):
            yield target.removesuffix("@800"), rows[int(np.nanargmin(column))][0]


@pytest.mark.reference
@pytest.mark.parametrize(
    ("name", "share"),
    [
        ("js_100", 1.0),
        ("kld_clipped_100", 1.0),
        ("vdna_1000", 1.0),
        ("cosine_100", 1.0),
        ("bkld_small", 0.35),
        ("bkld_large", 0.15),
    ],
)
def test_divergences_find_the_parent_task_and_bkld_does_not(shared, name, share):
    folder = shared / "reference/knowledge_silos"
    groups = json.loads((folder / "tasks.json").read_text())["groups"].values()
    found = list(nearest_sources(folder / "distances" / f"{name}.csv"))
    # Tasks of one group have the same images under other labels: to a distance of images they are one.
    hits = [source == task or any({source, task} <= set(group) for group in groups) for task, source in found]
    assert len(hits) == 20
    assert np.mean(hits) == pytest.approx(share)
