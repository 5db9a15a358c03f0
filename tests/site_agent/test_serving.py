import os
import stat
from types import SimpleNamespace

import pytest

from federation.errors import DeploymentError
from federation.files import create_atomically
from federation.node_key import new_node_key
from site_agent import serving
from site_agent.serving import programs, serve_site
from site_agent.site_folder import SiteFolder


@pytest.fixture
def _umask_as_before():
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def folder(tmp_path):
    """The folder of a site with a node key."""
    site = SiteFolder(tmp_path / "anna")
    create_atomically(site.node_key, new_node_key())
    return site


@pytest.mark.usefixtures("_umask_as_before")
def test_a_copy_of_a_site_is_not_served_beside_it(folder, tmp_path, monkeypatch):
    copy = SiteFolder(tmp_path / "copy")
    create_atomically(copy.node_key, folder.node_key.read_bytes())
    monkeypatch.setattr(serving, "check_readiness", lambda _folder: SimpleNamespace(name="anna"))

    def serve_the_copy(_self):
        with pytest.raises(DeploymentError, match="is served on this machine already"):
            serve_site(copy)
        return 0

    monkeypatch.setattr(serving.Supervisor, "run", serve_the_copy)
    assert serve_site(folder) == 0
    monkeypatch.setattr(serving.Supervisor, "run", lambda _self: 0)
    assert serve_site(copy) == 0  # the first one has ended


@pytest.mark.usefixtures("_umask_as_before")
def test_what_the_processes_of_a_site_write_is_for_their_owner_alone(folder, tmp_path, monkeypatch):
    def run(_self):
        (tmp_path / "written").mkdir()
        (tmp_path / "written" / "by a child").touch()
        return 0

    monkeypatch.setattr(serving, "check_readiness", lambda _folder: SimpleNamespace(name="anna"))
    monkeypatch.setattr(serving.Supervisor, "run", run)
    assert serve_site(folder) == 0
    written = [tmp_path / "written", *(tmp_path / "written").iterdir()]
    assert {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in written} == {0}


def test_nothing_is_imported_from_the_working_directory(tmp_path):
    told = programs(SiteFolder(tmp_path), SimpleNamespace(name="anna"), False)
    assert all("-P" in program.command for program in told)
