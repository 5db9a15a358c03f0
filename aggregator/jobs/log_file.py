"""Where the aggregator's process logs: a file, not Flower's database, which takes all that it prints."""

import logging
import os
from pathlib import Path
from typing import TextIO, cast

from federation import logs
from federation.rotating_log import LogStream, RotatingLog


def write_log(path: Path) -> None:
    """Let everything that this process logs go to a file, in the form that ``hub serve`` told it."""
    form, member = os.environ.get(logs.FORMAT), os.environ.get(logs.MEMBER, "")
    stream = LogStream(RotatingLog(path))
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it tells of every request
    logs.configure("aggregator", json=form == "json", member=member, stream=cast("TextIO", stream))
