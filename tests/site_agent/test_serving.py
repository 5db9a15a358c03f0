import os
import stat
from types import SimpleNamespace

import pytest

from site_agent import serving
from site_agent.serving import programs, serve_site
from site_agent.site_folder import SiteFolder


@pytest.fixture
def _umask_as_before():
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.usefixtures("_umask_as_before")
def test_what_the_processes_of_a_site_write_is_for_their_owner_alone(tmp_path, monkeypatch):
    def run(_self):
        (tmp_path / "written").mkdir()
        (tmp_path / "written" / "by a child").touch()
        return 0

    monkeypatch.setattr(serving, "check_readiness", lambda _folder: SimpleNamespace(name="anna"))
    monkeypatch.setattr(serving.Supervisor, "run", run)
    assert serve_site(SiteFolder(tmp_path)) == 0
    written = [tmp_path / "written", *(tmp_path / "written").iterdir()]
    assert {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in written} == {0}


def test_nothing_is_imported_from_the_working_directory(tmp_path):
    told = programs(SiteFolder(tmp_path), SimpleNamespace(name="anna"), False)
    assert all("-P" in program.command for program in told)
