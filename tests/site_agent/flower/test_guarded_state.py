"""What the SuperNode of a site holds, and with it, what can leave."""

import pytest
from flwr.app import ConfigRecord, Error, Message, RecordDict
from flwr.common.constant import SubStatus
from flwr.supercore.constant import TaskType
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supercore.task_identity import TaskIdentity

from site_agent.flower.guarded_state import GuardedState

RUN = 7


@pytest.fixture
def state():
    return GuardedState(ObjectStoreFactory().store())


def request():
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = RUN, 1, 2
    message = Message(RecordDict({"a": ConfigRecord({"b": 1})}), 5, "query.echo")
    message.metadata.__dict__["_message_id"] = message.object_id
    return message


@pytest.fixture
def asked(state):
    """A message that a ClientApp was started for."""
    task = state.create_task(task_type=TaskType.CLIENT_APP, run_id=RUN, fab_hash="f")
    message = request()
    state.store_message(message)
    return task, message


def replies(state):
    return list(state.get_messages_legacy(is_reply=True))


def store_reply(state, reply, *, parts=True):
    reply.metadata.__dict__["_message_id"] = reply.object_id
    session = state.start_session(RUN)
    _, wanted = state.store_message_and_object_tree(reply, get_object_tree(reply), session)
    for object_id, part in get_all_nested_objects(reply).items():
        if parts and object_id in wanted:
            state.store_object(RUN, session, object_id, part.deflate())


def test_the_text_of_an_error_is_replaced_before_it_is_stored(state, asked):
    _, message = asked
    store_reply(state, Message(Error(2, "<class 'ValueError'>:<'Miller.dcm'>"), reply_to=message))
    assert state.has_reply()
    (stored,) = replies(state)
    assert (stored.error.code, stored.error.reason) == (2, "internal")
    assert stored.metadata.message_id == stored.object_id
    assert b"Miller" not in state.object_store.get(stored.object_id)


def test_a_reply_is_complete_when_its_last_part_is_there(state, asked):
    _, message = asked
    reply = Message(RecordDict({"a": ConfigRecord({"b": 2})}), reply_to=message)
    store_reply(state, reply, parts=False)
    assert not state.has_reply()
    assert state.is_working()


@pytest.mark.parametrize("begun", [False, True])
def test_a_message_whose_clientapp_ended_without_an_answer_is_answered(state, asked, begun):
    task, message = asked
    if begun:
        store_reply(state, Message(RecordDict(), reply_to=message), parts=False)
    state.finish_task(task, SubStatus.FAILED, "killed")
    (stored,) = replies(state)
    assert (stored.error.code, stored.error.reason) == (8, "crashed")
    assert stored.metadata.reply_to_message_id == message.metadata.message_id


def test_an_answer_stands_though_its_clientapp_ends_badly(state, asked):
    task, message = asked
    store_reply(state, Message(RecordDict({"a": ConfigRecord({"b": 2})}), reply_to=message))
    state.finish_task(task, SubStatus.FAILED, "at exit")
    (stored,) = replies(state)
    assert stored.has_content()


def test_the_late_end_of_a_clientapp_does_not_answer_the_next_message(state, asked):
    task, message = asked
    state.delete_messages(message_ids=[message.metadata.message_id])
    state.create_task(task_type=TaskType.CLIENT_APP, run_id=RUN, fab_hash="f")
    state.store_message(request())
    state.finish_task(task, SubStatus.FAILED, "at exit")
    assert replies(state) == []
