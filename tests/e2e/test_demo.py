"""The demo as a newcomer runs it: one process, real pictures, the packaged ImageNet network."""

import json
import os
import subprocess
import sys
from pathlib import Path

from aggregator.matrix import column_of, read_all
from aggregator.recommend import candidates
from aggregator.store import Catalogue
from deploy.demo_images import write_demo_consortium
from federation.ranking import rank_sources

FEDPRINT = Path(sys.executable).parent / "fedprint"


def fedprint(*arguments, cwd):
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        [FEDPRINT, *map(str, arguments)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_demo_finds_the_relatives_a_person_would_expect(tmp_path):
    done = fedprint("demo", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "fedprint-demo/report.html" in done.stdout.replace("\n", "")
    page = (tmp_path / "fedprint-demo" / "report.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "")
    expected = {
        f"{site.site}/{task.task}": task.twin
        for site in write_demo_consortium(tmp_path / "images")
        for task in site.tasks
        if task.twin
    }
    catalogue = Catalogue(tmp_path / "fedprint-demo" / "catalogue.sqlite")
    matrices = read_all(catalogue, catalogue.latest_space())
    places = [place(matrices, target, twin) for target, twin in expected.items()]
    assert len(places) == 12
    assert sum(rank == 1 for rank in places) >= 10
    assert max(places) <= 3
    answer = fedprint("hub", "recommend", "macula", "--json", cwd=tmp_path)
    assert json.loads(answer.stdout)["recommendations"][0]["source"] == "carrowdale/optic-disc"


def place(matrices, target, twin):
    """The rank of the relative among the sources recommended for a target."""
    ranking = rank_sources(candidates(column_of(matrices, target)), "cramer")
    return next(choice.rank for choice in ranking if choice.source == twin)
