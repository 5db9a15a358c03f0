"""The contract between the guards of a site and Flower: another version of Flower must fail here first."""

import ast
import hashlib
import importlib
import importlib.metadata
import inspect
from pathlib import Path

import pytest
from flwr.common.constant import ErrorCode, SubStatus
from flwr.supercore.object_store import ObjectStoreFactory

from site_agent import readiness
from site_agent.flower import clientapp_guard, guarded_state, reply_codes, supernode_guard
from site_agent.flower.guarded_state import GuardedState

PUBLIC = {"flwr.app", "flwr.clientapp", "flwr.serverapp"}
MODULES = {
    "_loop": "flwr.supernode.start_client_internal",
    "_fleet": "flwr.supernode.fleet_http_connection",
    "_heartbeat": "flwr.supercore.heartbeat",
    "_superexec": "flwr.supercore.superexec.run_superexec",
    "_clientapp": "flwr.supernode.runtime.run_clientapp",
}
SUPERNODE = {
    "flwr.common.serde:message_from_proto",
    "flwr.common.serde:message_to_proto",
    "flwr.proto.fleet_pb2:ActivateNodeRequest",
    "flwr.proto.fleet_pb2:ActivateNodeResponse",
    "flwr.proto.heartbeat_pb2:SendNodeHeartbeatRequest",
    "flwr.proto.message_pb2:Message",
    "flwr.proto.message_pb2:ObjectTree",
    "flwr.proto.node_pb2:Node",
    "flwr.supercore.constant:TaskType",
    "flwr.supercore.fab:Fab",
    "flwr.supercore.heartbeat:HEARTBEAT_DEFAULT_INTERVAL",
    "flwr.supercore.heartbeat:HeartbeatSender",
    "flwr.supercore.object_store:ObjectStoreFactory",
    "flwr.supercore.retry:RetryInvoker",
    "flwr.supercore.retry:RetryState",
    "flwr.supercore.retry:exponential",
    "flwr.supercore.run:Run",
    "flwr.supercore.run:RunNotRunningException",
    "flwr.supernode.fleet_http_client:FleetHttpClient",
    "flwr.supernode.fleet_http_connection:FleetHttpClient",
    "flwr.supernode.fleet_http_connection:HEARTBEAT_DEFAULT_INTERVAL",
    "flwr.supernode.fleet_http_connection:HeartbeatSender",
    "flwr.supernode.fleet_http_connection:flwr_exit",
    "flwr.supernode.fleet_http_connection:make_simple_http_retry_invoker",
    "flwr.supernode.main:create_app",
    "flwr.supernode.nodestate:NodeStateFactory",
    "flwr.supernode.start_client_internal:FAB_VERIFICATION_ERROR",
    "flwr.supernode.start_client_internal:_init_connection",
    "flwr.supernode.start_client_internal:_pull_and_store_message",
    "flwr.supernode.start_client_internal:_push_messages",
    "flwr.supernode.start_client_internal:_verify_fab",
}
STATE = {
    "flwr.app.message.message:make_message",
    "flwr.proto.message_pb2:ObjectTree",
    "flwr.proto.task_pb2:Task",
    "flwr.supercore.inflatable.inflatable_object:iterate_object_tree",
    "flwr.supercore.object_store:ObjectStore",
    "flwr.supernode.nodestate.in_memory_nodestate:InMemoryNodeState",
}
CLIENTAPP = {
    "flwr.proto.runtime_pb2:PushTaskOutputRequest",
    "flwr.supercore.constant:TaskType",
    "flwr.supercore.interceptors:RuntimeTokenHttpInterceptor",
    "flwr.supercore.interceptors:RuntimeVersionHttpInterceptor",
    "flwr.supercore.runtime:RuntimeHttpClient",
    "flwr.supercore.superexec.executor:ExecutionSpec",
    "flwr.supercore.superexec.executor:LaunchResult",
    "flwr.supercore.superexec.run_superexec:get_executor",
    "flwr.supercore.superexec.run_superexec:run_superexec",
    "flwr.supernode.runtime.run_clientapp:install_from_fab",
    "flwr.supernode.runtime.run_clientapp:run_clientapp",
}
SOURCES = {
    "flwr.supernode.start_client_internal:_init_connection": "800f9aba7364",
    "flwr.supernode.start_client_internal:_pull_and_store_message": "eaf5d0e36dc3",
    "flwr.supernode.start_client_internal:_push_messages": "00bb86faffde",
    "flwr.supernode.start_client_internal:start_client_internal": "9e89a6eb68fb",
    "flwr.supernode.fleet_http_connection:http_request_response": "b80ca36779c2",
    "flwr.supernode.nodestate.in_memory_nodestate:InMemoryNodeState": "ed77fee39416",
    "flwr.supercore.corestate.in_memory_corestate:InMemoryCoreState": "4b8e1bf352d5",
    "flwr.supernode.servicer.runtime.runtime_handlers:push_messages": "f0b01d8d3c43",
    "flwr.supernode.runtime.run_clientapp:run_clientapp": "6ce09559f3a2",
    "flwr.supercore.superexec.run_superexec:run_superexec": "d11f4e7fbc8f",
    "flwr.supercore.heartbeat:HeartbeatSender": "27714c8e3512",
    "flwr.supercore.retry:RetryInvoker": "c07ea29e28e9",
    "flwr.clientapp.utils:get_load_client_app_fn": "f7790dd641ba",
}


def private_names(module):
    """Every private name of Flower in a file: imported from, or reached through a module of, Flower."""
    found = set()
    for node in ast.walk(ast.parse(Path(module.__file__).read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("flwr"):
            if node.module not in PUBLIC:
                found |= {f"{node.module}:{name.name}" for name in node.names}
        elif (
            isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in MODULES
        ):
            found.add(f"{MODULES[node.value.id]}:{node.attr}")
    return found


def named(place):
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


def test_flower_is_the_version_that_the_guards_are_made_for():
    assert importlib.metadata.version("flwr") == readiness.FLOWER == "1.41.0"


@pytest.mark.parametrize(
    ("module", "stated"),
    [(supernode_guard, SUPERNODE), (guarded_state, STATE), (clientapp_guard, CLIENTAPP)],
    ids=["supernode", "state", "clientapp"],
)
def test_every_private_name_is_stated_here(module, stated):
    patched_together = {"flwr.supercore.heartbeat:HEARTBEAT_DEFAULT_INTERVAL"} | {
        "flwr.supernode.fleet_http_connection:HEARTBEAT_DEFAULT_INTERVAL"
    }
    assert private_names(module) == stated - patched_together


def test_no_other_file_of_a_site_has_private_names():
    root = Path(readiness.__file__).parent
    guards = {Path(module.__file__) for module in (supernode_guard, guarded_state, clientapp_guard)}
    for path in set(root.rglob("*.py")) - guards:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("flwr"):
                assert node.module in PUBLIC, path


@pytest.mark.parametrize("place", sorted(SUPERNODE | STATE | CLIENTAPP))
def test_a_private_name_exists(place):
    assert named(place) is not None


@pytest.mark.parametrize(("place", "digest"), sorted(SOURCES.items()))
def test_what_is_built_on_is_the_code_that_was_read(place, digest):
    source = inspect.getsource(named(place))
    assert hashlib.sha256(source.encode()).hexdigest()[:12] == digest, f"read {place} again"


def test_a_state_has_the_parts_that_are_reached_into():
    state = GuardedState(ObjectStoreFactory().store())
    for name in (
        "msg_store", "lock_msg_store", "run_store", "lock_run_store", "lock_task_store", "object_store",
        "create_task", "get_tasks", "_store_generated_message", "_cleanup_expired_task_tokens_locked",
    ):  # fmt: skip
        assert hasattr(state, name)


def test_codes_are_those_of_flower():
    assert (ErrorCode.LOAD_CLIENT_APP_EXCEPTION, ErrorCode.CLIENT_APP_RAISED_EXCEPTION) == (1, 2)
    assert ErrorCode.NODE_UNAVAILABLE == reply_codes.NODE_UNAVAILABLE
    assert ErrorCode.INVALID_FAB == reply_codes.NOT_APPROVED
    assert ErrorCode.CLIENT_APP_CRASHED == reply_codes.CRASHED
    assert SubStatus.FAILED == clientapp_guard._FAILED
