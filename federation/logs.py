"""One form of log for every process of a deployment.

As JSON, a line is one object: ``time`` (RFC 3339, UTC), ``level``, ``logger``, ``process``, ``member`` (the
site, or the consortium at the hub), ``job``, ``text``, and where something failed ``code`` and
``exception``. Lines go to standard error; whoever started the process, the supervisor or journald, keeps
and rotates them.

Texts of exceptions can name files and patients. They are written here, where they were raised, and nowhere
else: between site and hub only codes travel.
"""

import logging
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from json import dumps as json_text
from typing import Any, TextIO

from federation.errors import FedprintError

FORMAT = "FEDPRINT_LOG"
"""Environment variable that tells child processes the form of their logs: ``json`` or ``text``."""

MEMBER = "FEDPRINT_LOG_MEMBER"
"""Environment variable that tells them the site, or the consortium at the hub."""

_ADOPTED = ("flwr", "uvicorn", "uvicorn.access", "uvicorn.error")  # bring handlers of their own
_QUIET = ("httpx", "httpcore", "alembic")  # say at every poll that all is well
_ACCESS, _FIRST_REFUSAL = "uvicorn.access", 400
_LONGEST = 8_000
"""Characters of a text: what others send, such as the id of a bundle, must not push everything else out."""

_job: ContextVar[str] = ContextVar("fedprint_job", default="")


def configure(process: str, *, json: bool, member: str = "", stream: TextIO | None = None) -> None:
    """Let everything that this process logs go to standard error in one form.

    To be called after Flower and uvicorn were imported, because importing them adds handlers.

    Args:
        process: Name of the process, such as ``"superlink"``.
        json: One JSON object a line; otherwise plain text for a person.
        member: The site, or the consortium at the hub.
        stream: Where to write instead of standard error.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines(process, member) if json else PlainLines(process))
    handler.addFilter(_name_job)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name in _ADOPTED:
        adopted = logging.getLogger(name)
        adopted.handlers.clear()
        adopted.setLevel(logging.INFO)
        adopted.propagate = True
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger(_ACCESS).addFilter(_is_refusal)


def configure_child(process: str) -> None:
    """Configure a process as whoever started it said in the environment; where nobody did, change nothing."""
    form = os.environ.get(FORMAT)
    if form is not None:
        configure(process, json=form == "json", member=os.environ.get(MEMBER, ""))


def environment(*, json: bool, member: str) -> dict[str, str]:
    """Return what to add to the environment of child processes that call ``configure_child``."""
    return {FORMAT: "json" if json else "text", MEMBER: member}


@contextmanager
def job(job_id: str) -> Iterator[None]:
    """Name the job in every line that is logged within, also in threads that are given the context."""
    token = _job.set(job_id)
    try:
        yield
    finally:
        _job.reset(token)


def current_job() -> str:
    """Return the id of the job that is worked on, empty where there is none."""
    return _job.get()


class JsonLines(logging.Formatter):
    """One JSON object a line.

    Args:
        process: Name of the process.
        member: The site, or the consortium at the hub.
    """

    def __init__(self, process: str, member: str) -> None:
        super().__init__()
        self._process, self._member = process, member

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record, without its end."""
        line: dict[str, Any] = {
            "time": _moment(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": self._process,
            "member": self._member,
            "job": _job_of(record),
            "text": _text(record),
            "code": _code(record),
            "exception": _exception(record),
        }
        told = {key: value for key, value in line.items() if value != ""}
        return json_text(told)


class PlainLines(logging.Formatter):
    """One line of text, and the exception below it.

    Args:
        process: Name of the process.
    """

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a record, without its end."""
        job_id, code = _job_of(record), _code(record)
        parts = [_moment(record), record.levelname.lower(), f"{self._process}:", _text(record)]
        parts += [f"[job {job_id}]"] if job_id else []
        parts += [f"[{code}]"] if code else []
        shown = (_harmless(" ".join(parts)), *map(_harmless, _exception(record).split("\n")))
        return _printable("\n".join(line for line in shown if line))


def _name_job(record: logging.LogRecord) -> bool:
    """Note the job of a line, and leave out those with which Flower only makes room on a terminal."""
    record.fedprint_job = _job.get()
    return bool(_text(record).strip()) or bool(record.exc_info)


def _is_refusal(record: logging.LogRecord) -> bool:
    """Keep requests that were refused: sites and processes ask all the time whether there is work."""
    status = record.args[-1] if isinstance(record.args, tuple) and record.args else _FIRST_REFUSAL
    return not isinstance(status, int) or status >= _FIRST_REFUSAL


def _job_of(record: logging.LogRecord) -> str:
    return str(getattr(record, "fedprint_job", "") or _job.get())


def _moment(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _text(record: logging.LogRecord) -> str:
    """Return the message, also of a caller whose arguments do not fit it: a log must not stop the work."""
    try:
        return _short(record.getMessage())
    except (TypeError, ValueError, KeyError):
        return _short(f"{record.msg!s} {record.args!r}")


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} … ({len(text):,} characters)"


def _harmless(line: str) -> str:
    """Return a line in which nothing ends it, or speaks to the terminal of who reads it."""
    return "".join(
        c if c >= " " and c != "\x7f" and not "\x80" <= c < "\xa0" else ascii(c)[1:-1] for c in line
    )


def _printable(line: str) -> str:
    """Return a line with what no UTF-8 can hold, such as undecodable file names, as escapes."""
    return line.encode("utf-8", "backslashreplace").decode()


def _code(record: logging.LogRecord) -> str:
    """Return the code of what failed: as the caller gave it, or of the error that is being logged."""
    given = getattr(record, "code", "")
    error = record.exc_info[1] if record.exc_info else None
    return str(given or (error.code if isinstance(error, FedprintError) else ""))


def _exception(record: logging.LogRecord) -> str:
    if not record.exc_info or record.exc_info[1] is None:
        return ""
    text = "".join(traceback.format_exception(*record.exc_info)).rstrip()
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]}\n…\n{text[-_LONGEST // 2 :]}"
