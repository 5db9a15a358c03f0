"""Whatever is changed in the tables of the log, or in those that it tells of, is found."""

import json
import re

import pytest
import sqlalchemy as sa
from factories import make_fingerprint, make_identity, make_space
from memberships import membership, put

from aggregator import outcome_table, schema
from aggregator.log.agreement import disagreements, untold_members
from aggregator.log.heads import keep_witness, sign_head
from aggregator.log.proofs import prove
from aggregator.log.told import told_of
from aggregator.log.verify import verify_log
from aggregator.outcomes import Outcome
from aggregator.store import Catalogue
from federation.errors import ConfigError
from federation.fingerprint import Fingerprint
from federation.log.kinds import ACCEPTED, OUTCOMES, WITHDRAWN
from federation.log.merkle import verifies_consistency
from federation.log.tree_head import CoSignedHead

SPACE = make_space()
OUTCOME = Outcome("pretraining", "auroc", 0, "anna/t", "bern/t", 0.7, 0.6)


@pytest.fixture
def catalogue(place, tmp_path):
    store = Catalogue(place, create=True)
    hub, anna = make_identity("hub", tmp_path), make_identity("anna", tmp_path)
    fingerprints = [make_fingerprint(anna, task, SPACE, seed=i) for i, task in enumerate("ttu")]
    with store.writing() as writer:
        writer.add_space(SPACE)
        for fingerprint in fingerprints:
            writer.add_fingerprint(fingerprint)
            writer.add_event(ACCEPTED, "job-1", **told_of(fingerprint))
        writer.withdraw(3)
        writer.add_event(WITHDRAWN, "job-1", task="anna/u", id=fingerprints[2].fingerprint_id)
        writer.add_outcomes([OUTCOME])
        writer.add_event(OUTCOMES, "", table=outcome_table.digest(writer.outcomes()))
    with store.transaction() as connection:
        keep_witness(connection, CoSignedHead.by(anna, sign_head(connection, hub)))
    yield store
    store.close()


def wrong(store):
    def look(connection):
        found = verify_log(connection)
        return [*found.findings, *disagreements(connection, found.entries)]

    return store.read(look)


def change(store, statement):
    with store.transaction() as connection:
        assert connection.execute(statement).rowcount


def test_what_nobody_touched_is_whole(catalogue):
    assert wrong(catalogue) == []


def test_every_flipped_bit_of_an_entry_is_found(catalogue):
    column = schema.event.c.leaf
    with catalogue.transaction() as connection:
        leaf = bytes(connection.execute(sa.select(column).where(schema.event.c.leaf_index == 1)).scalar_one())
        for bit in range(8 * len(leaf)):
            altered = bytearray(leaf)
            altered[bit // 8] ^= 1 << bit % 8
            here = sa.update(schema.event).where(schema.event.c.leaf_index == 1)
            connection.execute(here.values(leaf=bytes(altered)))
            assert verify_log(connection).findings, f"bit {bit}"
        connection.execute(here.values(leaf=leaf))
        assert not verify_log(connection).findings


@pytest.mark.parametrize(
    ("table", "column"), [("log_node", "hash"), ("log_head", "content"), ("log_witness", "content")]
)
def test_every_flipped_byte_of_hashes_and_heads_is_found(catalogue, table, column):
    stored = schema.metadata.tables[table]
    with catalogue.transaction() as connection:
        row = connection.execute(sa.select(stored)).first()
        same = sa.and_(*(key == row._mapping[key.name] for key in stored.primary_key.columns))
        content = bytes(row._mapping[column])
        for i in range(len(content)):
            altered = content[:i] + bytes([content[i] ^ 1]) + content[i + 1 :]
            connection.execute(sa.update(stored).where(same).values({column: altered}))
            assert verify_log(connection).findings, f"byte {i}"
        connection.execute(sa.update(stored).where(same).values({column: content}))


EVENT, NODE = schema.event, schema.log_node


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        (sa.delete(EVENT).where(EVENT.c.leaf_index == 4), "some were removed"),
        (sa.delete(EVENT).where(EVENT.c.leaf_index == 2), "stored as number 3, expected 2"),
        (sa.update(EVENT).where(EVENT.c.leaf_index == 0).values(leaf_index=9), "stored as number 9"),
        (sa.text("UPDATE event SET leaf = 'words' WHERE leaf_index = 0"), "entry 0 is damaged"),
        (sa.update(NODE).where(NODE.c.level == 1).values(hash=b"7"), "position 0 of the tree is wrong"),
        (sa.text("UPDATE log_head SET content = '[]'"), "a signed head is damaged"),
        (sa.update(EVENT).where(EVENT.c.leaf_index == 0).values(kind="missing"), "beside it are not its own"),
        (sa.update(EVENT).where(EVENT.c.leaf_index == 0).values(job_id="job-9"), "beside it are not its own"),
        (sa.update(schema.log_size).values(size=9), "says that it has 9"),
        (sa.delete(schema.log_size), "says that it has 0"),
        (sa.delete(NODE).where(NODE.c.level == 2), "level 2, position 0 of the tree is missing"),
        (sa.insert(NODE).values(level=7, position=0, hash=b"0" * 32), "level 7, position 0 .* left over"),
        (sa.update(schema.log_head).values(log_id="00" * 32), "and size 5 is stored as that of 000000000000"),
        (sa.update(schema.log_witness).values(size=2), "5 is stored as that of anna and size 2"),
        (sa.update(schema.log_witness).values(site="bern"), "anna and size 5 is stored as that of bern"),
    ],
)  # fmt: skip
def test_what_was_moved_removed_or_added_is_found(catalogue, statement, text):
    change(catalogue, statement)
    findings = " / ".join(wrong(catalogue))
    assert findings
    assert re.search(text, findings), findings


def test_a_membership_that_nobody_decided_about_is_found(tmp_path, catalogue):
    hub = make_identity("hub", tmp_path)
    for site, serial in (("anna", 1), ("bern", 2)):
        put(tmp_path / "members", membership(hub, site=site, serial=serial, valid_from=0, valid_until=2**33))
    with catalogue.writing() as writer:
        writer.add_event("approved", "", site="anna", serial=1)
        writer.add_event("approved", "", site="bern", serial=1)
    entries = catalogue.read(verify_log).entries
    found = list(untold_members(tmp_path / "members", hub.public_key, entries))
    assert found == ["membership 2 of site bern counts, and the log does not tell of it"]


FINGERPRINT, OUTCOME_TABLE = schema.fingerprint, schema.outcome
FIRST = FINGERPRINT.c.seq == 1


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        (sa.delete(FINGERPRINT).where(FIRST), "was accepted and is gone"),
        (sa.update(FINGERPRINT).where(FIRST).values(fingerprint_id="00" * 32), "does not tell"),
        (sa.update(FINGERPRINT).where(FIRST).values(task="z"), "was accepted as one of anna/t"),
        (sa.update(FINGERPRINT).where(FINGERPRINT.c.seq == 3).values(current=True), "by the log it does not"),
        (sa.update(FINGERPRINT).where(FINGERPRINT.c.seq == 2).values(current=False), "does not stand"),
        (sa.update(OUTCOME_TABLE).values(value=0.9), "1 outcomes are not those"),
        (sa.delete(OUTCOME_TABLE), "0 outcomes are not those"),
    ],
)  # fmt: skip
def test_tables_that_say_otherwise_than_the_log_are_found(catalogue, statement, text):
    change(catalogue, statement)
    assert any(text in finding for finding in wrong(catalogue)), wrong(catalogue)


def test_a_changed_fingerprint_is_found_even_in_its_signature(catalogue):
    column = FINGERPRINT.c.content
    with catalogue.transaction() as connection:
        content = bytes(connection.execute(sa.select(column).where(FIRST)).scalar_one())
    signature = Fingerprint.from_bytes(content).signature.hex().encode()
    assert content.count(signature) == 1
    altered = content.replace(signature, signature[:-1] + (b"0" if signature[-1:] != b"0" else b"1"))
    change(catalogue, sa.update(FINGERPRINT).where(FIRST).values(content=altered))
    assert any("content was changed" in finding for finding in wrong(catalogue))


def test_a_log_that_was_rewritten_as_a_whole_is_not_what_was_signed(catalogue):
    """Whoever owns the database can compute every hash anew, but not what was signed before."""
    with catalogue.transaction() as connection:
        leaves = connection.execute(sa.select(EVENT.c.leaf).order_by(EVENT.c.leaf_index)).scalars().all()
        for table in (EVENT, NODE, schema.log_size):
            connection.execute(sa.delete(table))
    with catalogue.writing() as writer:
        for leaf in leaves[1:]:
            told = json.loads(leaf)
            writer.add_event(told["kind"], told["job"], **told["detail"])
        writer.add_event("made-up", "")
    findings = catalogue.read(verify_log).findings
    assert [f for f in findings if "signed head of size 5 has another root" in f]
    assert [f for f in findings if "site anna co-signed has another root" in f]


def test_growth_is_proven_between_sizes_that_the_log_had(catalogue):
    found = catalogue.read(lambda c: prove(c, 2, 5))
    assert verifies_consistency(2, 5, found.old_root, found.new_root, found.proof)
    for sizes in ((0, 2), (3, 2), (2, 6)):
        with pytest.raises(ConfigError, match="no proof from"):
            catalogue.read(lambda c, sizes=sizes: prove(c, *sizes))
