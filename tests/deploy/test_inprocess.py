"""The contract between the in-process runtime and Flower, and the runtime's own promises."""

import importlib
import importlib.metadata

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

from deploy.inprocess import Node, run_in_process


def test_flower_is_the_version_whose_private_names_are_used():
    assert importlib.metadata.version("flwr") == "1.41.0"


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("flwr.supercore.inflatable.inflatable_object", "get_all_nested_objects"),
        ("flwr.supercore.inflatable.inflatable_utils", "inflate_object_from_contents"),
        ("flwr.supercore.run", "Run"),
        ("flwr.supercore.task_identity", "TaskIdentity"),
    ],
)
def test_the_private_names_exist(module, name):
    assert hasattr(importlib.import_module(module), name)


def echo():
    app = ClientApp()

    @app.query("echo")
    def answer(message, context):
        content = RecordDict({"blobs": message.content["blobs"]})
        content["who"] = ConfigRecord({"node": context.node_config["name"], "run": context.run_config["x"]})
        return Message(content, reply_to=message)

    return app


def exchange(nodes, message_type="query.echo", data=b"\x00\xff" * 50):
    collected = []
    server = ServerApp()

    @server.main()
    def main(grid, _context):
        content = RecordDict({"blobs": ArrayRecord({"a": Array("uint8", (len(data),), "raw", data)})})
        pending = set(grid.push_messages([Message(content, n, message_type) for n in grid.get_node_ids()]))
        while pending:
            for message in grid.pull_messages(pending):
                pending.discard(message.metadata.reply_to_message_id)
                collected.append(message)

    return collected, run_in_process(server, nodes, {"x": 7}, record=True)


def test_content_configuration_and_bytes_cross_unchanged():
    data = np.random.default_rng(0).bytes(6_000_000)
    replies, grid = exchange([Node(echo(), {"name": n}) for n in ("a", "b", "c")], data=data)
    assert {r.content["who"]["node"] for r in replies} == {"a", "b", "c"}
    assert all(r.content["blobs"]["a"].data == data and r.content["who"]["run"] == 7 for r in replies)
    assert sorted(sent.direction for sent in grid.sent) == ["down"] * 3 + ["up"] * 3


def test_a_handler_that_raises_answers_with_flowers_error():
    app = ClientApp()

    @app.query("echo")
    def answer(_message, _context):
        raise ValueError("boom")

    replies, _ = exchange([Node(app, {"name": "a"})])
    assert replies[0].has_error()
    assert replies[0].error.code == 2


def test_nodes_that_are_offline_get_nothing():
    replies, _ = exchange([Node(echo(), {"name": "a"}), Node(echo(), {"name": "b"}, online=False)])
    assert [r.content["who"]["node"] for r in replies] == ["a"]


def test_an_error_of_the_server_app_reaches_the_caller():
    server = ServerApp()

    @server.main()
    def main(_grid, _context):
        raise RuntimeError("catalogue")

    with pytest.raises(RuntimeError, match="catalogue"):
        run_in_process(server, [Node(echo(), {"name": "a"})], {})
