"""Which aggregators a site answers."""

from collections.abc import Collection

from federation.errors import PolicyError


def require_known_aggregator(public_key: str, known: Collection[str]) -> None:
    """Raise unless the site answers an aggregator.

    Args:
        public_key: The key that signed the request, 64 hexadecimal digits.
        known: The keys that are answered; where there are none, every signed request is.

    Raises:
        PolicyError: If the key is none of them.
    """
    if known and public_key not in known:
        raise PolicyError(
            f"the aggregator with the key {public_key} asks, but the site does not list it",
            remedy="if a call to the consortium confirms the key, add it to aggregators in the site file",
        )
