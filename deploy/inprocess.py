"""Flower's ServerApp and ClientApps in one process: no Ray, no sockets, no start-up time.

The apps are the very objects that run on a SuperLink and SuperNodes, and every message takes the full way
through Flower's serialisation. This is the only file that uses private names of Flower (``Run``,
``TaskIdentity``, ``get_all_nested_objects``, ``inflate_object_from_contents``); a contract test pins them.
"""

import logging
import queue
import secrets
import threading
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, cast

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid, ServerApp
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from deploy import SITE_THREAD

log = logging.getLogger("fedprint.inprocess")

SERVER_NODE_ID = 1
_FIRST_NODE_ID = 1000
_PATIENCE_S = 0.5  # for sites that are idle at the end; those that hang are left behind

Config = Mapping[str, bool | float | int | str]


@dataclass
class Node:
    """One simulated SuperNode.

    Args:
        app: The site's ClientApp.
        config: What ``--node-config`` would say.
        online: Whether messages reach it.
        state: Flower's state of the node within a run.
    """

    app: ClientApp
    config: Config
    online: bool = True
    state: RecordDict = field(default_factory=RecordDict)


@dataclass(frozen=True)
class Sent:
    """One message as it crossed the wire.

    Args:
        direction: ``"down"`` to a site or ``"up"`` from it.
        message: The message after serialisation.
        blobs: Every byte string that was transferred.
    """

    direction: Literal["down", "up"]
    message: Message
    blobs: tuple[bytes, ...]


class InProcessGrid(Grid):
    """A Flower grid whose SuperNodes are calls in threads of this process.

    Args:
        nodes: The sites.
        run_config: The run configuration every app sees.
        parallel: How many sites may work at the same time.
        record: Whether ``sent`` keeps everything that crosses the wire.
    """

    def __init__(
        self, nodes: Sequence[Node], run_config: Config, *, parallel: int, record: bool = False
    ) -> None:
        self.nodes = {_FIRST_NODE_ID + i: node for i, node in enumerate(nodes)}
        self.sent: list[Sent] = []
        self._run_config = run_config
        self._run = Run.create_empty(0)
        self._replies: dict[str, Message] = {}
        self._lock = threading.Lock()
        self._shuffle = secrets.SystemRandom().shuffle
        self._record = record
        self._inbox: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        # Daemon threads: a site that hangs past its deadline must not keep the process alive.
        self._workers = [
            threading.Thread(target=self._work, name=f"{SITE_THREAD}-{i}", daemon=True)
            for i in range(parallel)
        ]
        for worker in self._workers:
            worker.start()

    def set_run(self, run: Run) -> None:
        """Remember Flower's run."""
        self._run = run

    @property
    def run(self) -> Run:
        """Flower's run."""
        return self._run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Return a new message (kept by Flower for older apps)."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """Return the ids of the nodes that are online."""
        return [node_id for node_id, node in self.nodes.items() if node.online]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Hand messages to their sites; the answers are pulled later."""
        ids = []
        for message in messages:
            delivered = self._transfer("down", message)
            ids.append(delivered.metadata.message_id)
            self._inbox.put(delivered)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Return the answers that have arrived, in no particular order."""
        with self._lock:
            arrived = [self._replies.pop(i) for i in list(message_ids) if i in self._replies]
        self._shuffle(arrived)
        return arrived

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Not offered: rounds push and poll with a deadline of their own."""
        raise NotImplementedError("use push_messages and pull_messages")

    def close(self) -> None:
        """Stop taking messages without waiting for sites that hang."""
        for _ in self._workers:
            self._inbox.put(None)
        for worker in self._workers:
            worker.join(timeout=_PATIENCE_S)

    def _work(self) -> None:
        while (message := self._inbox.get()) is not None:
            self._serve(message)

    def _serve(self, message: Message) -> None:
        node = self.nodes[message.metadata.dst_node_id]
        if not node.online:
            reply = Message(Error(ErrorCode.NODE_UNAVAILABLE, "node unavailable"), reply_to=message)
        else:
            reply = self._call(node, message)
        delivered = self._transfer("up", reply)
        with self._lock:
            self._replies[message.metadata.message_id] = delivered

    def _call(self, node: Node, message: Message) -> Message:
        context = Context(
            run_id=message.metadata.run_id,
            node_id=message.metadata.dst_node_id,
            node_config=dict(node.config),
            state=node.state,
            run_config=dict(self._run_config),
        )
        try:
            return node.app(message, context)
        except Exception as error:
            log.exception("a ClientApp raised")
            reason = f"{type(error)}:<'{error}'>"  # what Flower itself would send
            return Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason), reply_to=message)

    def _transfer(self, direction: Literal["down", "up"], message: Message) -> Message:
        """Serialise to bytes and back, as Flower's object store does."""
        message_id = message.object_id
        contents = {key: part.deflate() for key, part in get_all_nested_objects(message).items()}
        blobs = tuple(contents.values())
        copy = cast(Message, inflate_object_from_contents(message_id, contents))
        copy.metadata.__dict__["_message_id"] = message_id
        if self._record:
            with self._lock:
                self.sent.append(Sent(direction, copy, blobs))
        return copy


def run_in_process(
    server_app: ServerApp,
    nodes: Sequence[Node],
    run_config: Config,
    *,
    parallel: int = 2,
    record: bool = False,
) -> InProcessGrid:
    """Run a ServerApp against sites in this process and return the grid with everything that was sent.

    Args:
        server_app: The aggregator's app.
        nodes: The sites.
        run_config: The run configuration.
        parallel: How many sites may work at the same time.
        record: Whether the grid keeps everything that crosses the wire.
    """
    run_id = uuid.uuid4().int >> 65
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = run_id, SERVER_NODE_ID, 1
    grid = InProcessGrid(nodes, run_config, parallel=parallel, record=record)
    grid.set_run(Run.create_empty(run_id))
    context = Context(
        run_id=run_id, node_id=SERVER_NODE_ID, node_config={}, state=RecordDict(), run_config=dict(run_config)
    )
    try:
        server_app(grid=grid, context=context)
    finally:
        grid.close()
    return grid
