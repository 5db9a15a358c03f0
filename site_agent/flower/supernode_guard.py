"""The SuperNode of a site, guarded; run as ``python -m site_agent.flower.supernode_guard FOLDER``.

Flower's SuperNode runs whatever bundle arrives, lets the text of exceptions out, looks for messages every
three seconds, and waits for ever for a ClientApp that ended without an answer. This is its main loop again,
made of its own parts, without that. All private names of Flower that a SuperNode needs are in this file and
in ``guarded_state``; a contract test pins them.
"""

import logging
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TypeAlias

import httpx
import uvicorn
from flwr.app import Error, Message
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.fleet_pb2 import ActivateNodeRequest, ActivateNodeResponse
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.message_pb2 import Message as ProtoMessage
from flwr.proto.message_pb2 import ObjectTree
from flwr.proto.node_pb2 import Node
from flwr.supercore.constant import TaskType
from flwr.supercore.fab import Fab
from flwr.supercore.heartbeat import HeartbeatSender
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supercore.retry import RetryInvoker, RetryState, exponential
from flwr.supercore.run import Run, RunNotRunningException
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.main import create_app
from flwr.supernode.nodestate import NodeStateFactory

from federation import logs
from federation.errors import ConfigError, DeploymentError, FedprintError
from federation.files import read_file
from federation.node_key import read_node_key
from federation.supervisor import EX_CONFIG
from site_agent.bundles import Bundles
from site_agent.config import SiteConfig
from site_agent.flower.guarded_state import GuardedState
from site_agent.flower.link_problem import explain
from site_agent.flower.link_status import LinkStatus
from site_agent.flower.pauses import IdlePauses, reconnecting_pauses
from site_agent.flower.presence import Presence, Unanswered
from site_agent.flower.reply_codes import CRASHED, NOT_APPROVED, reason_of
from site_agent.readiness import check_flower
from site_agent.site_folder import SiteFolder
from site_agent.state import SiteState

HEARTBEAT_S = 60
"""Twice this long a site may be out of reach before the hub gives its messages up."""

LOOPBACK = "127.0.0.1"
_LONGEST_RETRY_S = 15
_LOOK_S = 0.1
_DYING_S = 6.0
_RETRIED = frozenset({502, 503, 504})
_FORBIDDEN, _PRECONDITION = 403, 412
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
_ADMITTED = {"valid_license": "approved by this site"}

log = logging.getLogger("fedprint.site")
_loop = import_module("flwr.supernode.start_client_internal")
_fleet = import_module("flwr.supernode.fleet_http_connection")
_heartbeat = import_module("flwr.supercore.heartbeat")

Received: TypeAlias = tuple[Message, ObjectTree] | None


class GuardedNode:
    """The SuperNode: takes messages from the hub and hands them to the ClientApp.

    Args:
        folder: The site's files.
        config: Its configuration; ``hub`` is set.
    """

    def __init__(self, folder: SiteFolder, config: SiteConfig) -> None:
        if config.hub is None:
            raise ConfigError("site.toml has no [hub]", remedy="fedprint site init INVITATION writes it")
        self._address = config.hub.address
        self._ca_certificate, self._node_key = config.hub.ca_certificate, folder.node_key
        self._node_config = {"site-config": str(folder.config)}
        self._bundles = Bundles(folder, SiteState(config.state))
        self._link = LinkStatus(folder.link_status)
        self._presence = Presence(folder.flower / "online.json")
        self._unanswered = Unanswered(folder.flower / "unanswered")
        objects = ObjectStoreFactory()
        self.states = NodeStateFactory(objects)
        self._objects = objects.store()
        self._state = self.states.state_instance = GuardedState(self._objects)
        self._strange: set[int] = set()
        self._cut = threading.Event()

    def run(self) -> NoReturn:
        """Stay connected to the hub and work until a signal."""
        self._patch()
        signal.signal(signal.SIGINT, lambda _number, _frame: self._cut.set())  # Flower's way to say 401
        pauses = reconnecting_pauses()
        while True:
            began_at = time.monotonic()
            try:
                error = self._connect_and_work()
            except SystemExit:
                self._presence.ended()
                raise
            self._link.lost(explain(error, self._address))
            log.debug("the connection ended", exc_info=error)
            if time.monotonic() - began_at > 2 * _LONGEST_RETRY_S:
                pauses = reconnecting_pauses()
            time.sleep(next(pauses))

    def _connect_and_work(self) -> Exception:
        """Return why it ended; Flower's own context would swallow that."""
        self._cut.clear()
        try:
            with self._connection() as connection:
                try:
                    self._work(*connection)
                except Exception as error:  # noqa: BLE001
                    return error
        except Exception as error:  # noqa: BLE001
            return error
        raise AssertionError("the loop of a SuperNode has no end")

    def _connection(self) -> AbstractContextManager[Any]:
        """Key and certificate are read anew: both are replaced while the site is served."""
        authority = read_file(self._ca_certificate, "the authority's certificate")
        key = read_node_key(read_file(self._node_key, "the node key"))
        connection: AbstractContextManager[Any] = _loop._init_connection(
            self._address, False, authority, (key, key.public_key())
        )
        return connection

    def _work(
        self,
        node_id: int,
        receive: Callable[[], Received],
        send: Callable[..., Any],
        get_run: Callable[[int], Run],
        get_fab: Callable[[str, int], Fab],
        pull_object: Callable[..., bytes],
        push_object: Callable[..., None],
        confirm: Callable[[int, str], None],
    ) -> NoReturn:
        self._presence.began(node_id)
        self._state.set_node_id(node_id)
        self._link.connected()
        pauses = IdlePauses()
        while not self._cut.is_set():
            self._link.refresh()
            if self._state.has_reply():
                _loop._push_messages(self._state, self._objects, send, push_object)
                self._unanswered.clear()
            elif self._state.is_working():
                time.sleep(_LOOK_S)
            elif (left := self._unanswered.read()) is not None:
                self._answer_that_it_crashed(left)
            elif self._pull(receive, get_run, get_fab, pull_object, confirm) is None:
                self._link.waiting(len(self._bundles.waiting()))
                time.sleep(pauses.next())
            else:
                pauses = IdlePauses()
        raise DeploymentError("the hub no longer knows this connection", remedy="it is made again by itself")

    def _pull(
        self,
        receive: Callable[[], Received],
        get_run: Callable[[int], Run],
        get_fab: Callable[[str, int], Fab],
        pull_object: Callable[..., bytes],
        confirm: Callable[[int, str], None],
    ) -> int | None:
        """Take one message from the hub; None: there was none."""
        run_id: int | None = _loop._pull_and_store_message(
            state=self._state,
            object_store=self._objects,
            node_config=self._node_config,
            receive=lambda: self._received(receive()),
            get_run=lambda run_id: self._looked_at(get_run(run_id)),
            get_fab=lambda digest, run_id: self._labelled(get_fab(digest, run_id), digest, run_id),
            pull_object=pull_object,
            confirm_message_received=confirm,
            trusted_entities=_ADMITTED,
        )
        return run_id

    def _received(self, received: Received) -> Received:
        """Note a message before anything is done for it, and judge the bundle of its run anew."""
        if received is not None:
            message, _ = received
            self._unanswered.note(message_to_proto(message).SerializeToString())
            self._judge_again(message.metadata.run_id)
        return received

    def _judge_again(self, run_id: int) -> None:
        run = self._state.get_run(run_id)
        bundle = self._state.get_fab(run.fab_hash) if run is not None else None
        if run is not None and (bundle is None or not self._bundles.admits(bundle.content, run.fab_hash)):
            self._state.forget_run(run_id)

    def _looked_at(self, run: Run) -> Run:
        """A run is the hub's word: what it calls itself becomes the name of a folder."""
        names_are_plain = all(_PLAIN.fullmatch(name) for name in (*run.fab_id.split("/", 1), run.fab_version))
        if not names_are_plain or run.primary_task_type == TaskType.AGENT_APP:
            log.error("run %d asks for something else than our app and is refused", run.run_id)
            self._strange.add(run.run_id)
        return run

    def _labelled(self, bundle: Fab, digest: str, run_id: int) -> Fab:
        """A bundle under the name that its run calls it by; without the label Flower refuses it."""
        return Fab(digest, bundle.content, {} if run_id in self._strange else dict(_ADMITTED))

    def _admits(self, bundle: Fab, _trusted: object) -> bool:
        if self._bundles.admits(bundle.content, bundle.hash_str):
            return True
        self._bundles.keep_waiting(bundle.content)
        self._link.waiting(len(self._bundles.waiting()))
        return False

    def _answer_that_it_crashed(self, noted: bytes) -> None:
        """Answer a message whose ClientApp or SuperNode died: the hub would wait for ever."""
        message = message_from_proto(ProtoMessage.FromString(noted))
        self._state.store_message(Message(Error(CRASHED, ""), reply_to=message))

    def _patch(self) -> None:
        """Put our own in the place of what Flower's parts call."""
        _loop._verify_fab = self._admits  # type: ignore[attr-defined]
        _loop.FAB_VERIFICATION_ERROR = Error(NOT_APPROVED, reason_of(NOT_APPROVED, None))  # type: ignore[attr-defined]
        _fleet.make_simple_http_retry_invoker = self._patient  # type: ignore[attr-defined]
        _fleet.flwr_exit = _refused  # type: ignore[attr-defined]
        _fleet.HeartbeatSender = _WatchedHeartbeat  # type: ignore[attr-defined]
        _ResumingClient.presence = self._presence
        _fleet.FleetHttpClient = _ResumingClient  # type: ignore[attr-defined]
        for module in (_fleet, _heartbeat):
            module.HEARTBEAT_DEFAULT_INTERVAL = HEARTBEAT_S  # type: ignore[attr-defined]

    def _patient(self) -> RetryInvoker:
        """Repeat what fails for want of a connection until it succeeds: a reply must not be lost."""
        return RetryInvoker(
            lambda: exponential(max_delay=_LONGEST_RETRY_S),
            (httpx.TransportError, httpx.HTTPStatusError),
            max_tries=None,
            max_time=None,
            on_success=lambda _state: self._link.connected(),
            on_backoff=self._missed,
            should_giveup=_is_final,
        )

    def _missed(self, attempt: RetryState) -> None:
        """Of what succeeds at the second attempt, nobody needs to hear."""
        if attempt.tries > 1 and attempt.exception is not None:
            self._link.lost(explain(attempt.exception, self._address))


class _ResumingClient(FleetHttpClient):
    """Goes on where a SuperNode of this machine was killed or cut off.

    The hub holds it to be connected still, and would refuse another one until its heartbeats are missed; what
    it has been sent since would be lost then.
    """

    presence: Presence

    def ActivateNode(self, request: ActivateNodeRequest) -> ActivateNodeResponse:  # noqa: N802
        """Connect, or go on under the id of before."""
        try:
            return super().ActivateNode(request)
        except httpx.HTTPStatusError as refusal:
            node_id = self.presence.left_by_a_crash()
            if refusal.response.status_code != _PRECONDITION or node_id is None:
                raise
            beat = SendNodeHeartbeatRequest(node=Node(node_id=node_id), heartbeat_interval=HEARTBEAT_S)
            if not self._lives(beat):
                raise
            return ActivateNodeResponse(node_id=node_id)

    def _lives(self, beat: SendNodeHeartbeatRequest) -> bool:
        try:
            return self.SendNodeHeartbeat(beat).success
        except httpx.HTTPStatusError:
            return False


class _WatchedHeartbeat(HeartbeatSender):
    """Heartbeats whose end does not go unnoticed."""

    def _run(self) -> None:
        try:
            super()._run()
        except Exception:
            log.exception("the hub refused a heartbeat")
            os.kill(os.getpid(), signal.SIGINT)


def serve_runtime(states: NodeStateFactory, port: int, secret: bytes) -> None:
    """Offer the runtime API to this machine's own processes, in a thread.

    Raises:
        DeploymentError: If the port is taken.
    """
    app = create_app(states, secret)
    server = uvicorn.Server(uvicorn.Config(app, LOOPBACK, port, access_log=False, log_config=None))
    thread = threading.Thread(target=server.run, name="runtime-api", daemon=True)
    thread.start()
    while thread.is_alive() and not server.started:
        time.sleep(_LOOK_S)
    if not server.started:
        raise DeploymentError(
            f"port {port} of {LOOPBACK} is taken",
            remedy="choose another runtime_port in [serve] of site.toml",
        )


def main(folder: Path) -> NoReturn:
    """Run the SuperNode of the site in a folder until a signal."""
    logs.configure_child("supernode")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    signal.signal(signal.SIGTERM, _end)
    code = 1
    try:
        _run(SiteFolder(folder))
    except SystemExit:
        code = 0
    except FedprintError as error:
        log.error("the SuperNode cannot run: %s", error)
        code = EX_CONFIG if isinstance(error, ConfigError) else 1
    except Exception:
        log.exception("the SuperNode ended")
    logging.shutdown()
    os._exit(code)  # threads that wait for a lost connection would keep the process


def _run(folder: SiteFolder) -> NoReturn:
    check_flower()
    config = SiteConfig.read(folder.config)
    node = GuardedNode(folder, config)
    serve_runtime(node.states, config.serve.runtime_port, read_file(folder.superexec_secret, "the secret"))
    node.run()


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    """Leave the hub in order, but not if it takes long."""
    threading.Timer(_DYING_S, os._exit, (0,)).start()
    sys.exit(0)


def _refused(_code: int, message: str | None = None, **_more: object) -> NoReturn:
    raise DeploymentError(message or "the hub refused the connection")


def _is_final(error: Exception) -> bool:
    """Return whether there is no use in trying again; a lost connection always may come back."""
    if not isinstance(error, httpx.HTTPStatusError):
        return False
    if error.response.status_code == _FORBIDDEN:
        raise RunNotRunningException
    return error.response.status_code not in _RETRIED


if __name__ == "__main__":
    main(Path(sys.argv[1]))
