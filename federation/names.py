"""Which names sites and tasks may have, and how a task is addressed across the consortium."""

import re

from federation.errors import ConfigError

NAME_RULE = "lower-case letters, digits, '.', '_' and '-', starting with a letter or digit, at most 64"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def check_name(kind: str, name: str) -> str:
    """Return ``name`` if it may name a site or task.

    Args:
        kind: What the name is for, used in the message ("site", "task").
        name: The candidate.

    Raises:
        ConfigError: If the name breaks the rule.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{kind} name {name!r} is not allowed", remedy=f"use {NAME_RULE}")
    return name


def task_key(site: str, task: str) -> str:
    """Return the consortium-wide address of a task: ``site/task``."""
    return f"{site}/{task}"
