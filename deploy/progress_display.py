"""Progress of a simulation on the terminal, or as plain lines where there is none."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from site_agent import progress


class ProgressDisplay:
    """Shows stages and one bar per running task."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Progress(
            TextColumn("  {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}

    def stage(self, what: str) -> None:
        """Say what begins now."""
        self._console.print(f"[bold]•[/bold] {what}")

    def update(self, state: progress.Progress) -> None:
        """Move a task's bar; a finished task becomes one line."""
        key = f"{state.site}/{state.task}"
        if key not in self._tasks:
            self._tasks[key] = self._bars.add_task(key, total=state.total, told=False)
        self._bars.update(self._tasks[key], completed=state.done, total=state.total)
        if state.done >= state.total and not self._bars.tasks[self._tasks[key]].fields["told"]:
            self._bars.update(self._tasks[key], visible=False, told=True)
            self._console.print(f"  {key}: {state.total} images")

    def reference(self, done: int, total: int) -> None:
        """Move the bar of the public reference."""
        self.update(progress.Progress("public reference", "bin edges", done, total))

    @contextmanager
    def shown(self) -> Iterator["ProgressDisplay"]:
        """Show the bars while the block runs."""
        progress.listen(self.update)
        try:
            with self._bars:
                yield self
        finally:
            progress.listen(None)
