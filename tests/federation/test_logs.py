import io
import json
import logging
import threading
from contextvars import copy_context
from datetime import datetime

import pytest

from federation import logs
from federation.errors import PolicyError


@pytest.fixture(autouse=True)
def _logging_as_before():
    root, flower = logging.getLogger(), logging.getLogger("flwr")
    kept = (root.handlers[:], root.level, flower.handlers[:], flower.propagate, flower.level)
    yield
    root.handlers[:], flower.handlers[:] = kept[0], kept[2]
    root.setLevel(kept[1])
    flower.propagate = kept[3]
    flower.setLevel(kept[4])


@pytest.fixture
def stream():
    return io.StringIO()


@pytest.fixture
def lines(stream):
    logs.configure("runner", json=True, member="chests", stream=stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_says_when_who_and_what(lines):
    logging.getLogger("fedprint.hub").warning("asked %d sites", 3)
    (line,) = lines()
    moment = datetime.fromisoformat(line.pop("time"))
    assert moment.utcoffset().total_seconds() == 0
    assert line == {
        "level": "warning",
        "logger": "fedprint.hub",
        "process": "runner",
        "member": "chests",
        "text": "asked 3 sites",
    }


def test_lines_within_a_job_name_it_and_lines_after_it_do_not(lines):
    with logs.job("job-7"):
        logging.getLogger("fedprint.hub").info("within")
        assert logs.current_job() == "job-7"
    logging.getLogger("fedprint.hub").info("after")
    assert [line.get("job") for line in lines()] == ["job-7", None]


def test_a_thread_that_is_given_the_context_names_the_job_too(lines):
    with logs.job("job-8"):
        context = copy_context()
    thread = threading.Thread(target=context.run, args=(logging.getLogger("fedprint.hub").info, "there"))
    thread.start()
    thread.join()
    assert lines()[0]["job"] == "job-8"


def test_an_error_that_is_logged_brings_its_code_and_its_text(lines):
    try:
        raise PolicyError("task lungs may not", remedy="ask")
    except PolicyError:
        logging.getLogger("fedprint.site").exception("refused")
    (line,) = lines()
    assert line["code"] == "policy"
    assert "task lungs may not" in line["exception"]


def test_a_code_can_be_given(lines):
    logging.getLogger("fedprint.site").error("failed", extra={"code": "deadline"})
    assert lines()[0]["code"] == "deadline"


def test_a_line_stays_one_line_whatever_it_says():
    said = "first\nsecond\u2028third \udcff %s"
    line = logs.JsonLines("runner", "").format(
        logging.LogRecord("fedprint.hub", logging.INFO, "", 0, said, ("x",), None)
    )
    assert line.encode("utf-8").count(b"\n") == 0
    assert json.loads(line)["text"].startswith("first\nsecond")


def test_a_message_that_does_not_fit_its_arguments_is_still_written():
    record = logging.LogRecord("fedprint.hub", logging.INFO, "", 0, "%d sites", ("many",), None)
    assert json.loads(logs.JsonLines("runner", "").format(record))["text"] == "%d sites ('many',)"


def test_flower_logs_in_the_same_form_and_only_once(stream, lines):
    logging.getLogger("flwr").addHandler(logging.StreamHandler(stream))
    logs.configure("superlink", json=True, stream=stream)
    logging.getLogger("flwr").info("started")
    (line,) = lines()
    assert (line["logger"], line["process"]) == ("flwr", "superlink")


def test_plain_text_is_one_line_for_a_person(stream):
    logs.configure("supernode", json=False, stream=stream)
    with logs.job("job-9"):
        logging.getLogger("fedprint.site").error("no\nroom", extra={"code": "store"})
    (line,) = stream.getvalue().splitlines()
    assert line.endswith("error supernode: no\\nroom [job job-9] [store]")


def test_children_log_as_their_parent_says(monkeypatch, capsys):
    for name, value in logs.environment(json=True, member="anna").items():
        monkeypatch.setenv(name, value)
    logs.configure_child("client-app")
    logging.getLogger("fedprint.site").info("here")
    line = json.loads(capsys.readouterr().err)
    assert (line["process"], line["member"]) == ("client-app", "anna")


def test_where_nobody_says_anything_a_process_logs_as_it_did(monkeypatch):
    monkeypatch.delenv(logs.FORMAT, raising=False)
    before = logging.getLogger().handlers[:]
    logs.configure_child("client-app")
    assert logging.getLogger().handlers == before


def test_requests_that_succeed_are_not_logged_and_refused_ones_are(lines):
    access = logging.getLogger("uvicorn.access")
    for status in (200, 403):
        access.info('%s - "%s %s HTTP/%s" %d', "10.0.0.7:5000", "POST", "/v1/control/start", "1.1", status)
    logging.getLogger("httpx").info("HTTP Request: 200 OK")
    assert [line["text"] for line in lines()] == ['10.0.0.7:5000 - "POST /v1/control/start HTTP/1.1" 403']


def test_lines_without_text_are_left_out(lines):
    logging.getLogger("flwr").info("")
    logging.getLogger("flwr").info("here")
    assert [line["text"] for line in lines()] == ["here"]


def test_what_a_stranger_sends_cannot_speak_to_a_terminal_or_begin_a_line(stream):
    logs.configure("superlink", json=False, stream=stream)
    try:
        raise ValueError("\x1b]0;title\x07")
    except ValueError:
        logging.getLogger("flwr").exception("asked for \x1b[2J\r\nerror: \x9bfake \t ü")
    said = stream.getvalue()
    assert r"asked for \x1b[2J\r\nerror: \x9bfake \t ü" in said
    assert "Traceback (most recent call last):\n" in said
    assert not any(ord(c) < 32 and c != "\n" for c in said)


@pytest.mark.parametrize("json_form", [True, False])
def test_a_long_text_is_cut(stream, json_form):
    logs.configure("superlink", json=json_form, stream=stream)
    try:
        raise ValueError("x" * 100_000)
    except ValueError:
        logging.getLogger("flwr").exception("asked for %s", "y" * 100_000)
    said = stream.getvalue()
    assert len(said) < 20_000
    assert "100,010 characters" in said
