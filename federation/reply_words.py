"""The words that a site may say in a reply: codes and names of tasks, so that no text crosses.

What a site says is logged for good, shown in reports and printed on an operator's terminal.
"""

import re
from collections.abc import Sequence

from federation.errors import ConfigError
from federation.names import check_name

CODE = re.compile(r"[a-z0-9-]{1,40}")
"""What a code looks like, as the ``code`` of every error of fedprint does."""

CRASHED, UNAVAILABLE = "crashed", "unavailable"
"""What a node says for a process that died over a message, and where it could not be reached."""

MOST_TASKS = 1000
"""Tasks of one site that a reply may speak of."""


def stated_code(value: object) -> str:
    """Return a code that a site stated.

    Raises:
        ValueError: If it is no code.
    """
    if not isinstance(value, str) or not CODE.fullmatch(value):
        raise ValueError("a code is none")
    return value


def stated_task(value: object) -> str:
    """Return the name of a task that a site stated.

    Raises:
        ValueError: If no task may have it.
    """
    try:
        return check_name("task", value if isinstance(value, str) else "")
    except ConfigError as error:
        raise ValueError("the name of a task is none") from error


def check_tasks(tasks: Sequence[str]) -> None:
    """Raise if a site speaks of too many tasks, or of one of them twice.

    Raises:
        ValueError: If it does.
    """
    if len(tasks) > MOST_TASKS or len(set(tasks)) != len(tasks):
        raise ValueError("too many tasks, or one of them twice")
