"""How a site may ask for networks to be executed, and where; no network is needed to say so."""

from typing import Literal

Acceleration = Literal["auto", "off", "fold", "bf16"]
"""See ``site_agent.network.acceleration``."""

Device = Literal["auto", "cpu", "cuda"]
