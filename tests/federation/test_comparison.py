from dataclasses import fields, replace

import pytest
from memberships import NODE_KEY

from federation.comparison import Compared
from federation.node_key import new_node_key, public_text, read_node_key

COMPARED = Compared("Hearts", "ab" * 32, "cd" * 32, "anna", "ef" * 32, NODE_KEY)


def test_the_number_is_six_groups_of_five_digits():
    groups = COMPARED.number.split(" ")
    assert [len(group) for group in groups] == [5] * 6
    assert all(group.isdecimal() for group in groups)


@pytest.mark.parametrize("field", [field.name for field in fields(Compared)])
def test_everything_that_a_stranger_could_exchange_changes_the_number(field):
    other = public_text(read_node_key(new_node_key())) if field == "node_key" else "other"
    assert replace(COMPARED, **{field: other}).number != COMPARED.number


def test_the_number_may_be_typed_with_or_without_gaps():
    number = COMPARED.number
    for typed in (number, number.replace(" ", ""), number.replace(" ", "-"), f"  {number}\t"):
        assert COMPARED.matches(typed)


@pytest.mark.parametrize("typed", ["", "1", "yes", "٣" * 30, "é"])
def test_anything_else_does_not_match(typed):
    assert not COMPARED.matches(typed)
    assert not COMPARED.matches(COMPARED.number[:-1])
    assert not COMPARED.matches(COMPARED.number + "0")
