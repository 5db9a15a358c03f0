"""Ed25519 public keys as configuration files write them."""

from typing import Annotated

from pydantic import StringConstraints

PublicKey = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""64 lower-case hexadecimal digits."""
