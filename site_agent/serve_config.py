"""How a site reaches its hub, and where its own processes listen."""

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field


class HubConnection(BaseModel):
    """The hub of a deployment; ``fedprint site init INVITATION`` writes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    address: str = Field(description="host:port of the hub")
    consortium: str = Field(description="name of the consortium")
    public_key: str = Field(pattern=r"^[0-9a-f]{64}$", description="Ed25519 key of the hub, 64 digits")
    ca_certificate: Path = Field(Path("hub/ca.crt"), description="certificate of the consortium's authority")

    def resolve(self, base: Path) -> Self:
        """Return the connection with a relative path taken from ``base``."""
        return self.model_copy(update={"ca_certificate": base / self.ca_certificate})


class ServeConfig(BaseModel):
    """Where the processes of ``fedprint site serve`` listen; all of it on loopback unless told otherwise."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    runtime_port: int = Field(9094, ge=1, le=65535, description="loopback port for the site's own processes")
    metrics_host: str = Field("127.0.0.1", description="address that metrics and health are bound to")
    metrics_port: int = Field(9465, ge=1, le=65535, description="port of /metrics and /health")
