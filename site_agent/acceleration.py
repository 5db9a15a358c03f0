"""The ways of executing a frozen network, by name; ``site_agent.network.acceleration`` says what they do.

Whoever only reads a site file must not wait for torch.
"""

from typing import Literal

Acceleration = Literal["auto", "off", "fold", "bf16"]
