"""Attacks on a ledger: whatever is changed, removed, added or moved is found."""

import json
import shutil
from itertools import combinations

import pytest
from ledgers import (
    START,
    Clock,
    budgets,
    charge,
    identity_in,
    keep_private_release,
    ledger_in,
    private_fingerprint,
)

from federation.canonical import canonical_json
from federation.errors import LedgerError
from federation.identity import Identity
from site_agent.ledger import Entry, Ledger
from site_agent.ledger.head import Head
from site_agent.ledger.storage import LedgerFiles
from site_agent.ledger.verify import verify_ledger


@pytest.fixture
def folder(tmp_path):
    ledger_in(tmp_path, 4)
    return tmp_path


def findings(folder, fingerprints=()):
    found = verify_ledger(LedgerFiles(folder), identity_in(folder).public_key, fingerprints)
    return [str(finding) for finding in found.findings]


def lines(folder):
    return (folder / "ledger.jsonl").read_bytes().splitlines(keepends=True)


def rewrite(folder, new):
    (folder / "ledger.jsonl").write_bytes(b"".join(new))


def refused(folder):
    try:
        Ledger.open(folder, identity_in(folder), Clock())
    except LedgerError:
        return True
    return False


def test_a_whole_ledger_is_whole(folder):
    assert findings(folder) == []
    assert not refused(folder)


@pytest.mark.parametrize("name", ["ledger.jsonl", "ledger.head"])
def test_every_changed_byte_is_found(tmp_path, name):
    ledger_in(tmp_path, 1)
    files, key = LedgerFiles(tmp_path), identity_in(tmp_path).public_key
    path = tmp_path / name
    whole = path.read_bytes()
    for i in range(len(whole)):
        for flip in (0x01, 0x20):
            path.write_bytes(whole[:i] + bytes([whole[i] ^ flip]) + whole[i + 1 :])
            assert verify_ledger(files, key).findings, f"byte {i} of {name} ^ {flip}"


@pytest.mark.parametrize("name", ["ledger.jsonl", "ledger.head"])
def test_no_changed_byte_is_charged_upon(tmp_path, name):
    ledger_in(tmp_path, 1)
    path = tmp_path / name
    whole = path.read_bytes()
    for i in range(0, len(whole), 7):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 0x20]) + whole[i + 1 :])
        assert refused(tmp_path), f"byte {i} of {name}"


@pytest.mark.parametrize("line", range(5))
def test_every_deleted_line_is_found(folder, line):
    all_lines = lines(folder)
    rewrite(folder, all_lines[:line] + all_lines[line + 1 :])
    assert findings(folder)
    assert refused(folder)


@pytest.mark.parametrize(("first", "second"), list(combinations(range(5), 2)))
def test_every_two_swapped_lines_are_found(folder, first, second):
    moved = lines(folder)
    moved[first], moved[second] = moved[second], moved[first]
    rewrite(folder, moved)
    assert any(text.startswith(f"line {first + 1}: ") for text in findings(folder))
    assert refused(folder)


@pytest.mark.parametrize("line", range(5))
def test_every_repeated_line_is_found(folder, line):
    all_lines = lines(folder)
    rewrite(folder, [*all_lines[: line + 1], all_lines[line], *all_lines[line + 1 :]])
    assert any(text.startswith(f"line {line + 2}: ") for text in findings(folder))
    assert refused(folder)


@pytest.mark.parametrize("kept", range(5))
def test_a_ledger_cut_at_its_end_is_found(folder, kept):
    rewrite(folder, lines(folder)[:kept])
    assert f"line {kept + 1}: entries {kept + 1} to 5 were cut off the end" in findings(folder)
    assert refused(folder)


@pytest.mark.parametrize("kept", range(2, 5))
def test_a_ledger_cut_together_with_its_head_is_found(folder, kept):
    rewrite(folder, lines(folder)[:kept])
    (folder / "ledger.head").unlink()
    assert findings(folder) == ["ledger.head is missing: entries may have been cut off the end"]
    assert refused(folder)


def test_a_ledger_put_back_to_an_older_state_is_found_by_its_releases(tmp_path):
    ledger = ledger_in(tmp_path, 1)
    older = tmp_path / "older"
    shutil.copytree(tmp_path, older)
    entry = ledger.charge(charge("r"), budgets())
    fingerprint = tmp_path / "held-by-others.safetensors"
    fingerprint.write_bytes(private_fingerprint(tmp_path, entry).to_bytes())
    assert findings(older) == []
    assert findings(tmp_path, [fingerprint]) == []
    assert findings(older, [fingerprint]) == [
        f"line 3: {fingerprint} names an entry that is not in this ledger"
    ]
    keep_private_release(older, "job-1", entry)
    assert "names an entry that is not in this ledger" in findings(older)[0]


def test_an_added_line_that_another_key_signed_is_found(folder, tmp_path_factory):
    other = Identity.load_or_create("other", tmp_path_factory.mktemp("other") / "key")
    last = Entry.parse(lines(folder)[-1].rstrip())
    forged = Entry.sign(other, 6, START, last.hash, "charge", charge("forged").to_json())
    rewrite(folder, [*lines(folder), forged.line + b"\n"])
    assert findings(folder) == ["line 6: was changed: it does not carry the site's signature"]
    assert refused(folder)
    (folder / "ledger.head").write_bytes(Head.of(forged).sign(other))
    assert "ledger.head is damaged, or another key signed it" in findings(folder)


def test_a_replaced_signature_is_found_although_the_chain_was_mended(folder):
    """Whoever has no key cannot change an entry even with all hashes after it corrected."""
    key = identity_in(folder).public_key
    parsed = [Entry.parse(line.rstrip()) for line in lines(folder)]
    changed = parsed[2].line.replace(b'"release-1"', b'"release-9"')
    entry = Entry.parse(changed)
    rewrite(folder, [*lines(folder)[:2], changed + b"\n", *lines(folder)[3:]])
    assert entry.hash != parsed[2].hash
    found = verify_ledger(LedgerFiles(folder), key).findings
    assert {finding.line for finding in found} == {3, 4}


def test_another_encoding_of_the_same_entry_is_found(folder):
    all_lines = lines(folder)
    spaced = json.dumps(json.loads(all_lines[4])).encode() + b"\n"
    rewrite(folder, [*all_lines[:4], spaced])
    assert "line 5: was changed: it does not carry the site's signature" in findings(folder)
    assert canonical_json(json.loads(spaced)) + b"\n" == all_lines[4]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"rho": "1/20"}, "but states ρ 1/20 instead of 1/10"),
        ({"task": "skin"}, "which is no charge of task skin"),
    ],
)
def test_a_fingerprint_that_states_something_else_than_its_entry_is_found(folder, changes, match):
    entry = Entry.parse(lines(folder)[2].rstrip())
    path = folder / "fingerprint.safetensors"
    path.write_bytes(private_fingerprint(folder, entry, **changes).to_bytes())
    (found,) = findings(folder, [path])
    assert match in found


def test_a_sum_of_cohorts_names_the_entry_of_the_last_one(folder):
    entry = Entry.parse(lines(folder)[2].rstrip())
    path = folder / "fingerprint.safetensors"
    path.write_bytes(private_fingerprint(folder, entry, rho="1/5", cohorts=2).to_bytes())
    assert findings(folder, [path]) == []
    path.write_bytes(private_fingerprint(folder, entry, rho="1/20", cohorts=2).to_bytes())
    (found,) = findings(folder, [path])
    assert "but states ρ 1/20 instead of 1/10" in found


def test_a_fingerprint_that_names_no_entry_or_is_damaged_is_found(folder):
    path = folder / "fingerprint.safetensors"
    path.write_bytes(private_fingerprint(folder).to_bytes())
    assert "names an entry that is not in this ledger" in findings(folder, [path])[0]
    path.write_bytes(path.read_bytes()[:-1])
    assert "bytes are not what fedprint wrote" in findings(folder, [path])[0]


def test_releases_before_a_restart_are_remembered_by_it(tmp_path):
    ledger = ledger_in(tmp_path)
    keep_private_release(tmp_path, "job-1", ledger.charge(charge("r"), budgets()))
    Ledger.restart(tmp_path, identity_in(tmp_path), budgets(), Clock())
    found = verify_ledger(LedgerFiles(tmp_path), identity_in(tmp_path).public_key)
    assert found.findings == ()
    assert "1 releases are older than this ledger, which remembers them" in found.notes


def test_an_incomplete_last_line_is_found(folder):
    with (folder / "ledger.jsonl").open("ab") as file:
        file.write(b"{")
    assert findings(folder) == ["line 6: is incomplete: a crash or somebody cut it short"]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b"null",
        b"[" * 100_000,
        b"\xff\xfe",
        b'{"at":1e999,"body":{},"kind":"start","previous":"","seq":1,"signature":""}',
        b'{"at":1%s,"body":{},"kind":"start","previous":"","seq":1,"signature":""}' % (b"0" * 400),
        b'{"at":1.5,"body":[],"kind":"charge","previous":"","seq":1,"signature":""}',
        b'{"at":1.5,"body":{"budgets":[{"name":"a","rho":"1e999999999","scope":"task"}]},"kind":"restart",'
        b'"previous":"","seq":1,"signature":""}',
        b'{"at":1.5,"body":{"releases_before":7},"kind":"restart","previous":7,"seq":1,"signature":7}',
        b'{"at":1.5,"body":{},"kind":["start"],"previous":null,"seq":1,"signature":"zz"}',
    ],
)
def test_whatever_is_in_the_file_is_a_finding_and_no_crash(folder, line):
    rewrite(folder, [line + b"\n", *lines(folder)[1:]])
    assert any(text.startswith("line 1: ") for text in findings(folder))
    assert refused(folder)


@pytest.mark.parametrize(
    "head", [b"[]", b"{}", b"null", b"[" * 100_000, b'{"hash":1,"seq":"1","signature":7}']
)
def test_whatever_is_in_the_head_is_a_finding_and_no_crash(folder, head):
    (folder / "ledger.head").write_bytes(head)
    assert findings(folder) == ["ledger.head is damaged, or another key signed it"]
    assert refused(folder)
