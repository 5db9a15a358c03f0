"""What a guarded SuperNode holds; the other file with private names of Flower that the SuperNode needs."""

from collections.abc import Set
from copy import copy
from typing import Any

from flwr.app import Error, Message
from flwr.app.message.message import make_message
from flwr.proto.message_pb2 import ObjectTree
from flwr.proto.task_pb2 import Task
from flwr.supercore.inflatable.inflatable_object import iterate_object_tree
from flwr.supercore.object_store import ObjectStore
from flwr.supernode.nodestate.in_memory_nodestate import InMemoryNodeState

from site_agent.flower.reply_codes import CRASHED, reason_of


class GuardedState(InMemoryNodeState):
    """What the SuperNode holds: no text of an error gets in, and every message gets an answer.

    Args:
        objects: Flower's store of the parts of messages.
    """

    def __init__(self, objects: ObjectStore) -> None:
        super().__init__(objects)
        self._begun: int | None = None
        self._task_of: dict[str, int | None] = {}

    def store_message(self, message: Message) -> str | None:
        """Store a message; of an error only the code stays."""
        if not _is_reply(message):
            self._task_of = {message.metadata.message_id: self._begun}
        if not message.has_error():
            return super().store_message(message)
        told = reason_of(message.error.code, message.error.reason)
        cleaned = make_message(copy(message.metadata), None, Error(message.error.code, told))
        cleaned.metadata.__dict__["_message_id"] = cleaned.object_id
        self._store_generated_message(cleaned)
        return super().store_message(cleaned)

    def store_message_and_object_tree(
        self, message: Message, object_tree: ObjectTree, session_id: str
    ) -> tuple[bool, list[str]]:
        """Store a ClientApp's reply; nothing is asked for to complete an error."""
        if message.has_error():
            return self.store_message(message) is not None, []
        return super().store_message_and_object_tree(message, object_tree, session_id)

    def create_task(self, *arguments: Any, **named: Any) -> int | None:
        """Create a task; the message that is stored next is its."""
        self._begun = super().create_task(*arguments, **named)
        return self._begun

    def finish_task(self, task_id: int, sub_status: str, details: str) -> bool:
        """Finish a task; if its message has no answer then, the answer is that it crashed."""
        finished = super().finish_task(task_id, sub_status, details)
        if finished:
            self._answer_for({task_id})
        return finished

    def has_reply(self) -> bool:
        """Return whether a complete reply waits to be sent."""
        with self.lock_task_store:
            self._cleanup_expired_task_tokens_locked()
        with self.lock_msg_store:
            replies = [each.message for each in self.msg_store.values() if _is_reply(each.message)]
        return any(self._is_complete(each) for each in replies)

    def is_working(self) -> bool:
        """Return whether a message is worked on or a reply not sent yet."""
        with self.lock_msg_store:
            return bool(self.msg_store)

    def forget_run(self, run_id: int) -> None:
        """Let the bundle of a run be fetched, and judged, again."""
        with self.lock_run_store:
            self.run_store.pop(run_id, None)

    def _on_task_tokens_expired(self, tasks: list[Task]) -> None:
        self._answer_for({task.task_id for task in tasks})

    def _answer_for(self, task_ids: Set[int]) -> None:
        """Answer the messages of tasks that ended, where the ClientApp did not: it may have died before."""
        with self.lock_msg_store:
            for message_id, entry in list(self.msg_store.items()):
                if self._task_of.get(message_id) in task_ids and not self._is_answered(message_id):
                    entry.is_retrieved = True
                    self.object_store.delete(message_id)
                    self.store_message(Message(Error(CRASHED, ""), reply_to=entry.message))

    def _is_answered(self, message_id: str) -> bool:
        """Return whether there is a reply; one that the ClientApp did not live to complete is removed."""
        for reply_id, entry in list(self.msg_store.items()):
            if entry.message.metadata.reply_to_message_id == message_id:
                if self._is_complete(entry.message):
                    return True
                del self.msg_store[reply_id]
        return False

    def _is_complete(self, message: Message) -> bool:
        tree = self.object_store.get_object_tree(message.metadata.message_id)
        return all(self.object_store.get(part.object_id) for part in iterate_object_tree(tree))


def _is_reply(message: Message) -> bool:
    return message.metadata.reply_to_message_id != ""
