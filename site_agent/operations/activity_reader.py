"""Counts a site's log again and again, reading only what is new."""

from collections.abc import Collection
from copy import deepcopy

from site_agent.operations.activity import Activity
from site_agent.operations.log_tail import LogTail
from site_agent.state import SiteState


class ActivityReader:
    """Keeps count of what a site did.

    Args:
        state: Where the log is.
        tasks: The site's tasks.
    """

    def __init__(self, state: SiteState, tasks: Collection[str]) -> None:
        self._tail, self._tasks = LogTail(state.log_path), frozenset(tasks)
        self._activity = Activity(self._tasks)

    def read(self) -> Activity:
        """Return everything that is in the log now.

        Raises:
            StoreError: If the log cannot be read.
        """
        if self._tail.was_replaced():
            self._activity = Activity(self._tasks)
        self._activity.add_all(self._tail.new_events())
        return deepcopy(self._activity)
