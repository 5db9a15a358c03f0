"""The hub's client of Flower's Control API at the operator port: runs and registered nodes.

Speaks Flower's protobuf messages over HTTP and proves that it holds the operator's token. Whether a run came
to its end is always asked for; no exit status or stream is believed.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import httpx
from flwr.common.serde import fab_to_proto, user_config_to_proto
from flwr.proto.control_pb2 import (
    ListNodesRequest,
    ListRunsRequest,
    RegisterNodeRequest,
    StartRunRequest,
    StopRunRequest,
    UnregisterNodeRequest,
)
from flwr.proto.run_pb2 import Run as RunProto
from flwr.supercore.control.control_http_client import ControlHttpClient
from flwr.supercore.fab import Fab
from flwr.supercore.protobuf.client import ProtobufCall, ProtobufRequestContext

from aggregator.flower.operator_proof import HEADER, proof
from aggregator.flower.secrets import read_secret
from aggregator.hub_folder import HubFolder
from aggregator.serve_config import ServeConfig
from federation.app_bundle import bundle_bytes
from federation.canonical import sha256_hex
from federation.errors import DeploymentError
from federation.node_key import pem_of_public_text

FINISHED, COMPLETED = "finished", "completed"

_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class FlowerRun:
    """A run as Flower knows it.

    Args:
        run_id: Its id.
        status: ``pending``, ``starting``, ``running`` or ``finished``.
        outcome: How it finished: ``completed``, ``failed`` or ``stopped``; empty before.
        details: What Flower says of it.
    """

    run_id: str
    status: str
    outcome: str
    details: str

    @property
    def is_finished(self) -> bool:
        """Whether it has come to its end."""
        return self.status == FINISHED


@dataclass(frozen=True)
class FlowerNode:
    """A node that may connect.

    Args:
        node_id: Its id; above 2^63 at times.
        name: Name of its site.
        public_key: PEM of its public key.
        status: ``registered``, ``online`` or ``offline``.
    """

    node_id: int
    name: str
    public_key: bytes
    status: str


class Control:
    """Starts, stops and lists runs; registers, unregisters and lists nodes.

    Every method raises ``DeploymentError`` where the SuperLink cannot be reached or refuses.

    Args:
        port: The operator port.
        token: The operator's token.
    """

    def __init__(self, port: int, token: str) -> None:
        self._client = ControlHttpClient(
            f"http://127.0.0.1:{port}", interceptors=[_ProvingToken(token)], timeout=_TIMEOUT_S
        )

    @classmethod
    def of(cls, folder: HubFolder, serve: ServeConfig) -> Self:
        """Return the client of a hub's folder.

        Raises:
            DeploymentError: If its token cannot be used.
            StoreError: If the token cannot be read.
        """
        return cls(serve.operator_port, read_secret(folder.operator_token, "the operator's token"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the connection."""
        self._client.close()

    def start_run(self, config: Mapping[str, str | int | float | bool]) -> str:
        """Start a run of the installed version's app bundle.

        Args:
            config: Run configuration; only keys that the bundle names.

        Returns:
            Id of the run.
        """
        bundle = bundle_bytes()
        fab = fab_to_proto(Fab(sha256_hex(bundle), bundle, {}))
        request = StartRunRequest(fab=fab, override_config=user_config_to_proto(dict(config)))
        with _errors("start a run"):
            started = self._client.StartRun(request)
        if not started.HasField("run_id"):
            raise DeploymentError("Flower started no run", remedy="read the log of the SuperLink")
        return str(started.run_id)

    def run(self, run_id: str) -> FlowerRun | None:
        """Return a run; None: Flower knows none of that id."""
        try:
            with _errors("ask for a run"):
                found = self._client.ListRuns(ListRunsRequest(run_id=int(run_id)))
        except DeploymentError as error:
            if _status_of(error) == httpx.codes.NOT_FOUND:
                return None
            raise
        return _run(found.run_dict[int(run_id)])

    def runs(self, limit: int = 20) -> list[FlowerRun]:
        """Return the latest runs."""
        with _errors("list runs"):
            found = self._client.ListRuns(ListRunsRequest(limit=limit))
        return [_run(run) for run in found.run_dict.values()]

    def stop_run(self, run_id: str) -> None:
        """Stop a run that has not finished."""
        with _errors("stop a run"):
            self._client.StopRun(StopRunRequest(run_id=int(run_id)))

    def nodes(self) -> list[FlowerNode]:
        """Return the registered nodes."""
        with _errors("list nodes"):
            listed = self._client.ListNodes(ListNodesRequest())
        known = [node for node in listed.nodes_info if node.status != "unregistered"]
        return [FlowerNode(node.node_id, node.name, bytes(node.public_key), node.status) for node in known]

    def register(self, name: str, node_key: str) -> None:
        """Let a node connect.

        Args:
            name: Name of its site.
            node_key: Its public key, as OpenSSH writes it.
        """
        request = RegisterNodeRequest(public_key=pem_of_public_text(node_key), name=name)
        with _errors(f"register the node of {name}"):
            self._client.RegisterNode(request)

    def unregister(self, node: FlowerNode) -> None:
        """Let a node connect no longer."""
        with _errors(f"unregister the node of {node.name}"):
            self._client.UnregisterNode(UnregisterNodeRequest(node_id=node.node_id))


class _ProvingToken:
    """Adds to every request the proof that it comes from who holds the operator's token."""

    def __init__(self, token: str) -> None:
        self._token = token

    def intercept(self, context: ProtobufRequestContext, call_next: ProtobufCall) -> httpx.Response:
        """Pass a request on with the proof."""
        request = context.request
        request.headers[HEADER] = proof(self._token, request.method, request.url.path, request.content)
        return call_next(context)


def _run(run: RunProto) -> FlowerRun:
    status = run.status
    return FlowerRun(str(run.run_id), status.status, status.sub_status, status.details)


@contextmanager
def _errors(what: str) -> Iterator[None]:
    try:
        yield
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        raise DeploymentError(
            f"the SuperLink refused to {what}: status {status}",
            remedy="the token in the folder must be that of the running hub; see the log of the SuperLink",
        ) from error
    except (httpx.HTTPError, ValueError) as error:
        raise DeploymentError(
            f"the SuperLink does not answer ({what}): {type(error).__name__}",
            remedy="start `fedprint hub serve`, or read its logs",
        ) from error


def _status_of(error: DeploymentError) -> int:
    """Return the HTTP status behind an error; 0: there was no answer."""
    cause = error.__cause__
    return cause.response.status_code if isinstance(cause, httpx.HTTPStatusError) else 0
