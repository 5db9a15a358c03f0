"""How a hub is reached."""

from pydantic import BaseModel, ConfigDict, Field


class ServeConfig(BaseModel):
    """Where the processes of ``fedprint hub serve`` listen."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    address: str = Field("127.0.0.1:8000", description="host:port at which sites reach the hub")
    host: str = Field("127.0.0.1", description="address that the public port is bound to")
    port: int = Field(8000, ge=1, le=65535, description="public port: fleet and health endpoints, with TLS")
    operator_port: int = Field(8001, ge=1, le=65535, description="loopback port of Flower's operator APIs")
    metrics_host: str = Field("127.0.0.1", description="address that metrics and health are bound to")
    metrics_port: int = Field(9464, ge=1, le=65535, description="port of /metrics and /health")
    attempts: int = Field(5, ge=1, description="how often a job is begun before it is given up")
