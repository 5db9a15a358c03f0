"""A lane: one site, and the one step that it works on."""

from dataclasses import dataclass

from federation.transfer.step import Step

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 15.0


@dataclass
class Lane:
    """One site as the scheduler sees it.

    Args:
        site: Its name.
        node: The node that answers for it; None: none does now.
        step: What it works on; None: nothing.
        asked_at: When it was last asked and has not answered since; None: it is not being asked.
        not_before: Not asked again before then.
        heard_at: When it last said anything, or was first waited for.
        moved_at: When its step last came on, or was begun.
        epoch: Epochs of its step that are done.
        fruitless: Answers in a row that brought nothing on.
        has_sent_model: Whether the step's first weights were sent with the last request.
        n_stalled: Steps in a row that did not come on in time.
        given_up: Code of the error for which nothing is expected of it any more; empty: something is.
    """

    site: str
    node: int | None = None
    step: Step | None = None
    asked_at: float | None = None
    not_before: float = 0.0
    heard_at: float = 0.0
    moved_at: float = 0.0
    epoch: int = -1
    fruitless: int = 0
    has_sent_model: bool = False
    n_stalled: int = 0
    given_up: str = ""

    def take(self, step: Step, now: float) -> None:
        """Begin with a step, or with the next attempt at it."""
        self.step, self.heard_at, self.moved_at = step, now, now
        self.epoch, self.fruitless, self.has_sent_model = -1, 0, False

    def leave(self) -> None:
        """Be free for the next step."""
        self.step, self.asked_at = None, None

    def hear(self, now: float) -> None:
        """Note that the site said something."""
        self.heard_at, self.asked_at, self.given_up = now, None, ""

    def move(self, epoch: int, now: float) -> None:
        """Note how far the step is; who does not come on is asked less and less often."""
        if epoch > self.epoch:
            self.epoch, self.moved_at, self.fruitless = epoch, now, 0
        else:
            self.pause(now)

    def pause(self, now: float) -> None:
        """Ask later, the more often nothing came of it the later."""
        self.not_before = now + min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**self.fruitless)
        self.fruitless += 1

    def lose(self, now: float) -> None:
        """Note that nobody answers for the site."""
        self.node, self.asked_at, self.has_sent_model = None, None, False
        self.not_before = now

    def find(self, node: int, now: float) -> None:
        """Note which node answers for the site, after it was looked for."""
        self.hear(now)
        self.node, self.has_sent_model, self.not_before = node, False, now
