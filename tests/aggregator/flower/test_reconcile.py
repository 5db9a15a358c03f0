import pytest
from memberships import NODE_KEY, membership

from aggregator.flower.control import FlowerNode
from aggregator.flower.reconcile import reconcile
from federation.errors import DeploymentError
from federation.node_key import new_node_key, pem_of_public_text, public_text, read_node_key

OTHER_KEY = public_text(read_node_key(new_node_key()))


class Register:
    """A register of nodes in memory."""

    def __init__(self, **keys):
        self.known = [
            FlowerNode(k, site, pem_of_public_text(key), "online")
            for k, (site, key) in enumerate(keys.items())
        ]
        self.changes = []

    def nodes(self):
        return list(self.known)

    def register(self, name, node_key):
        self.changes.append(("register", name))
        self.known.append(FlowerNode(len(self.known), name, pem_of_public_text(node_key), "registered"))

    def unregister(self, node):
        self.changes.append(("unregister", node.name))
        self.known.remove(node)


def members(**keys):
    return {site: membership(site=site, node_key=key) for site, key in keys.items()}


def test_a_new_member_may_connect():
    register = Register()
    reconcile(register, members(anna=NODE_KEY))
    assert register.changes == [("register", "anna")]


def test_a_member_that_left_may_connect_no_longer():
    register = Register(anna=NODE_KEY, bern=OTHER_KEY)
    reconcile(register, members(anna=NODE_KEY))
    assert register.changes == [("unregister", "bern")]


def test_a_rotated_key_replaces_the_old_one():
    register = Register(anna=NODE_KEY)
    reconcile(register, members(anna=OTHER_KEY))
    assert register.changes == [("unregister", "anna"), ("register", "anna")]
    assert [node.public_key for node in register.nodes()] == [pem_of_public_text(OTHER_KEY)]


def test_a_key_under_another_name_is_replaced():
    register = Register(bern=NODE_KEY)
    reconcile(register, members(anna=NODE_KEY))
    assert register.changes == [("unregister", "bern"), ("register", "anna")]


def test_one_that_cannot_be_registered_does_not_keep_the_others_out():
    class Refusing(Register):
        def register(self, name, node_key):
            if name == "anna":
                raise DeploymentError("refused")
            super().register(name, node_key)

    register = Refusing()
    with pytest.raises(DeploymentError, match="refused"):
        reconcile(register, members(anna=NODE_KEY, bern=OTHER_KEY))
    assert register.changes == [("register", "bern")]


def test_nothing_changes_where_nothing_did():
    register = Register(anna=NODE_KEY)
    reconcile(register, members(anna=NODE_KEY))
    assert register.changes == []
