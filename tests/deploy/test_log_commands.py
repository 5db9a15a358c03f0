"""The log of a simulated consortium, as its people see it on the command line."""

import json
import shutil
import sqlite3
import sys

import pytest
from small_federation import SITES, write_small_federation

from aggregator.store import Catalogue
from deploy import cli
from federation.errors import StoreError
from federation.log.kinds import RECOMMENDED
from site_agent.state import SiteState


@pytest.fixture
def fedprint(monkeypatch, capsys):
    """Run ``fedprint`` with arguments; returns exit status, standard output and standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["fedprint", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        captured = capsys.readouterr()
        return stopped.value.code, captured.out, " ".join(captured.err.split())

    return run


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("log")
    simulate(write_small_federation(folder))
    return folder


def simulate(file):
    from rich.console import Console

    from deploy.federation_file import FederationConfig
    from deploy.progress_display import ProgressDisplay
    from deploy.simulation import simulate as run

    run(FederationConfig.read(file), ProgressDisplay(Console(quiet=True)))


@pytest.fixture
def there(simulated, tmp_path, monkeypatch):
    """A copy of the finished simulation, as the working directory."""
    folder = shutil.copytree(simulated, tmp_path / "copy")
    text = (folder / "run" / "hub.toml").read_text()
    (folder / "run" / "hub.toml").write_text(text.replace(str(simulated), str(folder)))
    monkeypatch.chdir(folder / "run")
    return folder


def site_file(folder, name):
    return folder / "run" / "sites" / name / "site.toml"


def test_what_a_simulation_leaves_is_whole_at_the_hub_and_at_every_site(fedprint, there):
    status, out, _ = fedprint("hub", "verify")
    assert status == 0
    assert "the log is whole, the catalogue is what it tells" in out
    root = next(line for line in out.splitlines() if line.startswith("signed up to 4")).split("root ")[1]
    for site in SITES:
        assert f"site {site} co-signed up to 4" in out
        status, told, _ = fedprint("site", "verify", site_file(there, site))
        assert (status, "the copy is whole" in told, f"size 4, root {root}" in told) == (0, True, True)


def test_programs_read_the_same(fedprint, there):
    at_hub = json.loads(fedprint("hub", "verify", "--json")[1])
    at_site = json.loads(fedprint("site", "verify", site_file(there, "anna"), "--json")[1])
    assert (at_hub["size"], at_hub["findings"]) == (at_site["size"], at_site["findings"]) == (4, [])
    assert at_hub["root"] == at_site["root"]
    assert [(e["kind"], e["task"]) for e in at_site["entries"]] == [("accepted", "anna/digits")]


def test_a_changed_database_is_found_and_not_signed(fedprint, there):
    with sqlite3.connect("catalogue.sqlite") as database:
        database.execute("UPDATE event SET leaf = replace(leaf, 'accepted', 'rejected') WHERE leaf_index = 1")
    status, out, _ = fedprint("hub", "verify")
    assert (status, "the signed head of size 4 has another root" in out) == (1, True)
    status, _, err = fedprint("hub", "verify", "--sign", "hub.toml")
    assert (status, "so it is not signed" in err) == (1, True)


def test_sites_compare_what_they_were_shown(fedprint, there, tmp_path):
    export = tmp_path / "anna.json"
    assert fedprint("site", "verify", site_file(there, "anna"), "--export", export)[0] == 0
    status, out, _ = fedprint("site", "verify", site_file(there, "bern"), "--against", export)
    assert (status, out.splitlines()[-1]) == (0, "both sites were shown one log up to size 4")


def test_a_recommendation_is_told_and_signed_on_demand(fedprint, there):
    assert fedprint("hub", "recommend", "anna/digits")[0] == 0
    event = Catalogue(there / "run" / "catalogue.sqlite").events()[-1]
    told = (event["kind"], event["target"], event["distance"], event["sources"])
    assert told == (RECOMMENDED, "anna/digits", "js", ["bern/digits"])
    status, out, _ = fedprint("hub", "verify", "--sign", there / "run" / "hub.toml")
    assert (status, "signed up to 5" in out) == (0, True)
    proof = json.loads(fedprint("hub", "verify", "--prove", 4, 5)[1])
    assert (proof["old"], proof["new"]) == (4, 5)


def test_a_catalogue_that_cannot_be_written_recommends_all_the_same(fedprint, there, monkeypatch, caplog):
    def refuse(_catalogue):
        raise StoreError("the catalogue is read-only")

    monkeypatch.setattr(Catalogue, "writing", refuse)
    status, out, _ = fedprint("hub", "recommend", "anna/digits")
    assert (status, "bern/digits" in out) == (0, True)
    assert "does not tell of this recommendation: the catalogue is read-only" in caplog.text


def test_a_hub_that_was_restored_from_an_old_backup_is_answered_again_once_people_accept_it(
    fedprint, tmp_path
):
    file = write_small_federation(tmp_path)
    simulate(file)
    catalogue, backup = tmp_path / "run" / "catalogue.sqlite", tmp_path / "backup.sqlite"
    shutil.copy(catalogue, backup)
    simulate(file)
    shutil.copy(backup, catalogue)
    fedprint("hub", "recommend", "bern/digits", "-c", catalogue)  # so that the new log is another one
    simulate(file)
    told = [e for e in Catalogue(catalogue).events() if e["kind"] == "witness-refused"]
    assert {(e["site"], e["code"]) for e in told} == {(site, "log-contradiction") for site in SITES}
    status, out, _ = fedprint("site", "verify", site_file(tmp_path, "anna"))
    assert (status, "a later head contradicts the copy" in out) == (1, True)
    simulate(file)  # nobody is answered any more
    missing = [e for e in Catalogue(catalogue).events() if e["kind"] == "missing"]
    assert {e["site"] for e in missing} == set(SITES)
    for site in SITES:
        words = ("--accept", "restored from a backup, told by phone", "--yes")
        status, out, _ = fedprint("site", "verify", site_file(tmp_path, site), *words)
        assert (status, "is kept in" in out) == (0, True)
        events = SiteState(site_file(tmp_path, site).parent).events()
        assert [e["event"] for e in events].count("log-contradiction") == 1
    simulate(file)
    for site in SITES:
        assert fedprint("site", "verify", site_file(tmp_path, site))[0] == 0
    assert fedprint("hub", "verify", "-c", catalogue)[0] == 0
