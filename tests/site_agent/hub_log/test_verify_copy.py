"""A site finds out offline whether its copy is whole, and whether another site was shown the same log."""

import json

import pytest
from witnesses import Hub, Witness

from aggregator.log.proofs import prove
from federation.errors import ConfigError, LogError, UnknownNameError
from federation.log.tree_head import short_form
from site_agent.hub_log.comparison import Verdict


@pytest.fixture
def hub(tmp_path):
    return Hub(tmp_path / "hub")


@pytest.fixture
def anna(tmp_path, hub):
    return Witness(tmp_path, "anna", hub)


@pytest.fixture
def bern(tmp_path, hub):
    return Witness(tmp_path, "bern", hub)


@pytest.fixture
def followed(hub, anna):
    for n in (3, 2, 5):
        hub.tell(*["accepted"] * n)
        hub.show(anna)
    return anna


def test_a_whole_copy_is_whole(hub, followed):
    found = followed.sitting.verify()
    assert (found.findings, found.size, found.n_heads, len(found.entries)) == ((), 10, 3, 10)
    assert short_form(hub.head().root) in "\n".join(found.described())


def signature(value):
    value["signature"] = "00" + value["signature"][2:]


def root(value):
    value["update"]["signed"]["head"]["root"] = "00" * 32


def proof(value):
    value["update"]["proof"] = value["update"]["proof"][:-1]


def leaf(value):
    entry = value["update"]["entries"][1]
    entry["leaf"] = entry["leaf"].replace("accepted", "rejected")


def dropped_file(value):
    value["update"]["since"] = 0


@pytest.mark.parametrize("change", [signature, root, proof, leaf, dropped_file])
def test_a_changed_copy_is_found(followed, change):
    followed.edit(change)
    assert followed.sitting.verify().findings


def test_a_removed_head_is_found(followed):
    sorted(followed.copy.folder.glob("0*.json"))[1].unlink()
    assert "begins at 5" in followed.sitting.verify().findings[0]


def test_every_flipped_character_of_a_kept_file_is_found(hub, anna):
    hub.tell("accepted", "accepted")
    hub.show(anna)
    path = next(anna.copy.folder.glob("0*.json"))
    content = path.read_bytes()
    unsigned = range(content.index(b'"at"'), content.index(b'"signature"'))  # when, and after which job
    for i in range(0, len(content), 3):
        if i in unsigned:
            continue
        path.write_bytes(content[:i] + bytes([content[i] ^ 1]) + content[i + 1 :])
        assert anna.sitting.verify().findings, content[i : i + 20]
    path.write_bytes(content)
    assert anna.sitting.verify().findings == ()


def test_what_left_and_was_never_told_is_a_finding_once_its_job_was_witnessed(hub, anna):
    hub.tell()
    hub.show(anna, job="job-0")
    anna.released("ab" * 32)
    found = anna.sitting.verify()
    assert (found.findings, len(found.notes)) == ((), 1)
    hub.tell(site="bern")
    hub.show(anna)
    assert anna.copy.size == 1
    hub.tell(id="ab" * 32)
    hub.show(anna)
    assert (anna.sitting.verify().findings, anna.sitting.verify().notes) == ((), ())


def test_a_contradiction_is_a_finding(tmp_path, hub, followed):
    other = Hub(tmp_path / "fork", key=tmp_path / "hub" / "hub.key")
    other.tell()
    other.show(followed)
    assert "a later head contradicts" in followed.sitting.verify().findings[0]


def test_a_site_that_witnessed_nothing_says_so(tmp_path, anna):
    with pytest.raises(UnknownNameError, match="keeps no copy"):
        _ = anna.sitting


def test_logs_of_several_hubs_are_told_apart(tmp_path, hub, followed):
    second = Hub(tmp_path / "second")
    followed.answers(followed.hub_key, second.identity.public_key)
    second.tell()
    assert second.show(followed).code == "done"
    with pytest.raises(ConfigError, match="copies of 2 logs"):
        _ = followed.sitting
    log = followed.copy.folder.name
    assert followed.sitting_of(log[:10]).verify().size == 10


def export(witness, tmp_path):
    path = tmp_path / f"{witness.name}.json"
    witness.sitting.export(path)
    return path


def test_an_export_holds_no_entry(tmp_path, followed):
    assert "accepted" not in export(followed, tmp_path).read_text()


def test_sites_of_one_log_find_that_they_are(tmp_path, hub, followed, bern):
    hub.show(bern)
    verdict, text = bern.sitting.compare(export(followed, tmp_path), None)
    assert (verdict, text) == (Verdict.SAME, "both sites were shown one log up to size 10")


def test_two_heads_of_one_size_are_a_split_view(tmp_path, hub, followed, bern):
    other = Hub(tmp_path / "fork", key=tmp_path / "hub" / "hub.key")
    other.tell(*["accepted"] * 5)
    other.show(bern)
    verdict, text = bern.sitting.compare(export(followed, tmp_path), None)
    assert (verdict, text) == (
        Verdict.SPLIT, "SPLIT VIEW: the aggregator signed two different logs of size 5",
    )  # fmt: skip


def test_different_sizes_are_compared_by_a_forwarded_head(tmp_path, hub, anna, bern):
    hub.tell("accepted", "accepted")
    hub.show(anna)
    hub.tell("accepted", "accepted")
    hub.show(bern)  # is shown what anna co-signed
    assert anna.sitting.compare(export(bern, tmp_path), None)[0] is Verdict.SAME
    assert bern.sitting.compare(export(anna, tmp_path), None)[0] is Verdict.SAME


def hub_proof(hub, tmp_path, old, new):
    path = tmp_path / "proof.json"
    path.write_text(json.dumps(hub.catalogue.read(lambda c: prove(c, old, new)).to_json()))
    return path


def test_different_sizes_need_a_proof_of_the_hub_else(tmp_path, hub, followed, bern):
    hub.last.clear()
    hub.tell("accepted", "accepted")
    hub.show(bern)
    path = export(bern, tmp_path)
    verdict, text = followed.sitting.compare(path, None)
    assert verdict is Verdict.UNDECIDED
    assert "fedprint hub verify --prove 10 12 > proof.json" in text
    assert followed.sitting.compare(path, hub_proof(hub, tmp_path, 10, 12))[0] is Verdict.SAME


def test_a_proof_that_leads_elsewhere_is_a_split_view(tmp_path, hub, followed, bern):
    other = Hub(tmp_path / "fork", key=tmp_path / "hub" / "hub.key")
    other.tell(*["accepted"] * 12)
    other.show(bern)
    proof = hub_proof(other, tmp_path, 10, 12)
    verdict, text = followed.sitting.compare(export(bern, tmp_path), proof)
    assert verdict is Verdict.SPLIT
    assert text.startswith("SPLIT VIEW: the hub's proof does not lead")


def test_a_forged_export_is_refused(tmp_path, hub, followed, bern):
    hub.show(bern)
    path = export(followed, tmp_path)
    value = json.loads(path.read_text())
    value["heads"][1]["head"]["head"]["root"] = "00" * 32
    path.write_text(json.dumps(value))
    with pytest.raises(LogError, match="signature"):
        bern.sitting.compare(path, None)
    path.write_text("[]")
    with pytest.raises(LogError, match="is no export"):
        bern.sitting.compare(path, None)


def test_logs_of_different_hubs_are_not_compared(tmp_path, hub, followed):
    second = Hub(tmp_path / "second")
    cork = Witness(tmp_path, "cork", second)
    second.tell()
    second.show(cork)
    assert followed.sitting.compare(export(cork, tmp_path), None)[0] is Verdict.UNDECIDED
