import pytest

from federation.errors import ConfigError, StoreError
from site_agent.state import SiteState


def test_releases_are_kept_by_job_and_task(tmp_path):
    state = SiteState(tmp_path)
    state.keep_release("job-1", "t", b"fingerprint")
    assert state.release("job-1", "t") == b"fingerprint"
    assert state.release("job-2", "t") is None


@pytest.mark.parametrize(("job", "task"), [("../x", "t"), ("job", "../../x"), ("", "t"), ("a/b", "t")])
def test_names_that_would_leave_the_folder_are_refused(tmp_path, job, task):
    with pytest.raises(ConfigError):
        SiteState(tmp_path / "state").keep_release(job, task, b"")
    assert not list(tmp_path.rglob("*x*"))


def test_the_log_survives_a_line_that_a_crash_cut_short(tmp_path):
    state = SiteState(tmp_path)
    state.record("released", task="a")
    with state.log_path.open("ab") as log:
        log.write(b'{"event":"relea')
    state.record("released", task="b")
    assert [event["task"] for event in state.events()] == ["a", "b"]


def test_a_log_that_cannot_be_written_is_an_error_with_a_remedy(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="free disk space or correct"):
        SiteState(tmp_path / "file" / "state").record("released")


def test_a_site_without_a_log_has_no_events(tmp_path):
    assert SiteState(tmp_path).events() == []
