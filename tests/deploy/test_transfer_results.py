"""What the commands of transfer experiments print, without training anything."""

import io
import json

import pytest
from factories import make_fingerprint, make_identity, make_space
from rich.console import Console
from transfer_findings import failed, finding
from typer.testing import CliRunner

from aggregator.store import Catalogue
from deploy.transfer_cli import app
from deploy.transfer_results import show_findings

A, B = "anna/cxr", "bern/cxr"
DONE, FAILED = finding(A, B, 0.8), failed(B, A, "memory at anna")


@pytest.mark.parametrize(("found", "complete"), [([], False), ([DONE], True), ([DONE, FAILED], False)])
def test_a_plan_is_complete_when_there_are_experiments_and_all_were_measured(found, complete):
    shown = io.StringIO()
    assert show_findings(found, (), Console(file=shown, width=200)) is complete
    assert ("memory at anna" in shown.getvalue()) == (FAILED in found)


def test_suggestions_are_printed_as_lines_of_a_plan(tmp_path):
    store, space = Catalogue(tmp_path / "catalogue.sqlite", create=True), make_space()
    with store.writing() as writer:
        writer.add_space(space)
        for i, site in enumerate(("anna", "bern", "cork")):
            fingerprint = make_fingerprint(make_identity(site, tmp_path), "cxr", space, seed=i, shift=0.3 * i)
            writer.add_fingerprint(fingerprint)
    store.close()
    told = ["suggest", "--top", "2", "--catalogue", str(tmp_path / "catalogue.sqlite")]
    lines = CliRunner().invoke(app, told, catch_exceptions=False).stdout
    assert "1. " in lines
    assert 'scenarios = ["pretraining"]' in lines
    listed = json.loads(CliRunner().invoke(app, [*told, "--json"], catch_exceptions=False).stdout)
    assert len(listed["suggestions"]) == 2
