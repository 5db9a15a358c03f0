"""Somebody at the site has read the words that leave with noise: no noise hides what they say."""

from federation.canonical import canonical_json, sha256_hex
from federation.errors import PolicyError
from federation.files import write_atomically
from federation.task_card import TaskCard
from site_agent.state import SiteState


def digest(card: TaskCard) -> str:
    """Return the SHA-256 of what a card says."""
    return sha256_hex(canonical_json(card.to_json()))


def is_approved(state: SiteState, card: TaskCard) -> bool:
    """Return whether exactly this card was approved."""
    path = state.approval_path(card.task)
    return path.exists() and path.read_text("ascii").strip() == digest(card)


def approve(state: SiteState, card: TaskCard) -> None:
    """Remember that a card may leave as it is.

    Raises:
        StoreError: If that cannot be made durable.
    """
    write_atomically(state.approval_path(card.task), digest(card).encode())


def require_approved(state: SiteState, card: TaskCard) -> None:
    """Raise unless exactly this card was approved.

    Raises:
        PolicyError: If it was not, or has changed since.
    """
    if not is_approved(state, card):
        raise PolicyError(
            f"nobody at the site has approved the card of task {card.task} as it is now",
            remedy="`fedprint site check SITE.toml --approve` shows what would leave, and approves it",
        )
