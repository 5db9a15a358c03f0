"""The stored log: contiguous, written with what it records, the same on both databases."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from factories import make_identity

from aggregator import schema
from aggregator.log import storage
from aggregator.log.heads import cosigned_heads, keep_witness, sign_head, signed_heads
from aggregator.log.tree import StoredTree
from aggregator.log.verify import verify_log
from aggregator.store import Catalogue
from federation.errors import LogError, StoreError
from federation.log import merkle
from federation.log.entry import Entry
from federation.log.tree_head import CoSignedHead


@pytest.fixture
def catalogue(place):
    store = Catalogue(place, create=True)
    yield store
    store.close()


@pytest.fixture
def hub(tmp_path):
    return make_identity("hub", tmp_path)


def tell(catalogue, *numbers):
    with catalogue.writing() as writer:
        for number in numbers:
            writer.add_event("counted", "job-1", number=number)


def leaves(catalogue):
    return catalogue.read(lambda c: list(storage.leaves(c)))


def test_entries_are_canonical_leaves_with_contiguous_indices(catalogue):
    tell(catalogue, 1, 2)
    tell(catalogue, 3)
    found = leaves(catalogue)
    assert [index for index, _ in found] == [0, 1, 2]
    entries = [Entry.from_leaf(leaf) for _, leaf in found]
    assert [(e.index, e.kind, e.job_id, e.detail["number"]) for e in entries] == [
        (0, "counted", "job-1", 1), (1, "counted", "job-1", 2), (2, "counted", "job-1", 3),
    ]  # fmt: skip
    assert [e["number"] for e in catalogue.events()] == [1, 2, 3]


@pytest.mark.parametrize("batches", [(1,) * 20, (7, 1, 12), (33,), (64, 1, 5)])
def test_stored_roots_and_proofs_are_those_of_the_leaves(catalogue, batches):
    for size in batches:
        tell(catalogue, *range(size))
    hashes = [merkle.leaf_hash(leaf) for _, leaf in leaves(catalogue)]

    def check(connection):
        for size in range(len(hashes) + 1):
            tree, subtree = StoredTree(connection, size), merkle.subtrees_of(hashes[:size])
            assert tree.root() == merkle.root_of(hashes[:size])
            for other in range(size):
                assert list(tree.inclusion(other)) == merkle.inclusion_proof(other, size, subtree)
                assert list(tree.consistency(other)) == merkle.consistency_proof(other, size, subtree)

    catalogue.read(check)


def test_an_append_reads_and_writes_few_hashes(catalogue):
    tell(catalogue, *range(1000))
    said = []

    def count(_connection, _cursor, statement, parameters, *_):
        if "log_node" in statement:
            said.append(len(parameters) if "INSERT" in statement and isinstance(parameters, list) else 1)

    with catalogue.transaction() as connection:
        sa.event.listen(connection, "before_cursor_execute", count)
        storage.append(connection, [storage.Happening("counted", "", {})])
        storage.append(connection, [storage.Happening("counted", "", {})])
    assert sum(said) <= 2 * 2 * 10


def test_a_crash_leaves_neither_the_record_nor_its_entry(catalogue):
    tell(catalogue, 1)

    def crash(before_the_log):
        with catalogue.writing() as writer:
            writer.add_event("counted", "job-1", number=2)
            if not before_the_log:
                writer.write_log()
            raise RuntimeError("crash")

    for before in (True, False):
        with pytest.raises(RuntimeError, match="crash"):
            crash(before)
    assert catalogue.read(verify_log).findings == ()
    tell(catalogue, 3)
    assert [e["number"] for e in catalogue.events()] == [1, 3]
    assert catalogue.read(verify_log).findings == ()


def test_writers_at_once_never_take_one_index(place, catalogue):
    together = threading.Barrier(4)

    def write(writer):
        own = Catalogue(place)
        together.wait(30)
        for number in range(10):
            tell(own, 10 * writer + number)
        own.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert [index for index, _ in leaves(catalogue)] == list(range(40))
    assert sorted(e["number"] for e in catalogue.events()) == list(range(40))
    assert catalogue.read(verify_log).findings == ()


def test_an_index_that_is_taken_is_refused_by_the_table_itself(catalogue):
    tell(catalogue, 1)
    again = sa.insert(schema.event).values(leaf_index=0, kind="x", job_id="", leaf=b"{}")

    def write():
        with catalogue.transaction() as connection:
            connection.execute(again)

    with pytest.raises(StoreError, match="cannot be used"):
        write()


def test_a_head_is_signed_once_per_size_and_later_ones_are_younger(catalogue, hub, monkeypatch):
    monkeypatch.setattr("aggregator.log.heads.time.time", lambda: 1000.0)  # a clock that stands still
    tell(catalogue, 1)
    with catalogue.transaction() as connection:
        first, again = sign_head(connection, hub), sign_head(connection, hub)
    tell(catalogue, 2)
    with catalogue.transaction() as connection:
        second = sign_head(connection, hub)
    assert first == again
    assert (first.size, second.size) == (1, 2)
    assert second.head.timestamp > first.head.timestamp
    assert catalogue.read(signed_heads) == [first, second]
    first.verify()


def test_heads_that_sites_co_signed_are_kept(catalogue, hub, tmp_path):
    tell(catalogue, 1)
    with catalogue.transaction() as connection:
        head = CoSignedHead.by(make_identity("anna", tmp_path), sign_head(connection, hub))
        keep_witness(connection, head)
        keep_witness(connection, head)
    assert catalogue.read(cosigned_heads) == [head]


def test_a_tree_with_a_lost_hash_says_so(catalogue):
    tell(catalogue, *range(5))
    with catalogue.transaction() as connection:
        connection.execute(sa.delete(schema.log_node).where(schema.log_node.c.level == 1))
    with pytest.raises(LogError, match=r"level 1, position 0.*backup"):
        catalogue.read(lambda c: StoredTree(c, 3).root())
