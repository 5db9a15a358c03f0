import stat

import pytest
from onboarded import NOW, Guests, events, founded, members

from aggregator.config import HubConfig
from aggregator.enrolling import examine
from federation.errors import ConfigError
from federation.node_key import public_text, read_node_key
from site_agent.config import SiteConfig
from site_agent.joining import join
from site_agent.membership import kept_membership
from site_agent.policy import Policy
from site_agent.site_folder import SiteFolder


def test_a_site_is_let_in_by_files_alone(guests):
    membership = guests.member()
    assert members(guests) == {"anna": membership}
    assert HubConfig.read(guests.hub.folder.config, NOW).roster == {"anna": guests.site().identity.public_key}
    assert membership.node_key == public_text(read_node_key(guests.site().folder.node_key.read_bytes()))
    assert kept_membership(guests.site()) == membership
    assert events(guests) == ["invited", "approved"]


def test_both_ends_see_the_same_number(guests):
    joined = guests.joined(guests.invited())
    candidate = examine(guests.hub, joined.enrolment.read_bytes(), NOW)
    assert candidate.compared.number == joined.compared.number


def test_a_site_is_ready_to_fill_in(guests):
    invitation = guests.invited()
    guests.joined(invitation)
    site = SiteConfig.read(guests.home / "anna" / "site.toml")
    assert (site.name, site.hub.address, site.hub.public_key) == (
        "anna",
        "localhost:8443",
        guests.hub.identity.public_key,
    )
    assert site.hub.ca_certificate.read_bytes() == guests.hub.ca_certificate
    policy = Policy.read(site.policy_path)
    policy.check_aggregator(guests.hub.identity.public_key)
    assert policy.task("pneumonia-cxr").spaces == {invitation.space_id}
    assert (guests.home / "anna" / "hub" / "space.safetensors").read_bytes() == invitation.space_file


def test_keys_lie_where_nobody_else_can_read_them(guests):
    guests.member()
    folders = {guests.hub.folder.path, guests.hub.folder.tls, guests.hub.folder.members}
    folders |= {guests.home / "anna" / "state", guests.home / "anna" / "hub"}
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}
    files = [path for top in ("hub", "anna") for path in (guests.home / top).rglob("*") if path.is_file()]
    shared = {p.name for p in files if stat.S_IMODE(p.stat().st_mode) & 0o077}
    assert shared <= {"catalogue.sqlite-wal", "catalogue.sqlite-shm"}
    assert {p.suffix for p in files} >= {".key", ".crt", ".json"}


def test_no_secret_is_in_what_is_sent(guests):
    joined = guests.joined(guests.invited())
    secrets = [guests.hub.identity.private_key.private_bytes_raw().hex().encode()]
    secrets.append(guests.site().identity.private_key.private_bytes_raw().hex().encode())
    sent = joined.invitation.to_bytes() + joined.enrolment.read_bytes()
    assert not any(secret in sent for secret in secrets)
    assert b"PRIVATE" not in sent


def test_a_half_finished_answer_is_finished_by_repeating_it(guests, monkeypatch):
    invitation = guests.invited()
    import site_agent.joining as module

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_site_text", interrupted)
    with pytest.raises(KeyboardInterrupt):
        guests.joined(invitation)
    monkeypatch.undo()
    key = (guests.home / "anna" / "state" / "identity.key").read_bytes()
    enrolment = (guests.home / "anna" / "anna.enrolment.json").read_bytes()
    guests.joined(invitation)
    assert (guests.home / "anna" / "state" / "identity.key").read_bytes() == key
    assert (guests.home / "anna" / "anna.enrolment.json").read_bytes() == enrolment


def test_a_half_finished_answer_to_another_hub_is_not_mixed_with(guests, tmp_path, monkeypatch):
    other = Guests(founded(tmp_path / "other", consortium="Lungs"), tmp_path)
    monkeypatch.setattr("site_agent.joining._site_text", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        other.joined(other.invited())
    monkeypatch.undo()
    with pytest.raises(ConfigError, match="half-finished answer of anna to Lungs"):
        guests.joined(guests.invited())


def test_answering_again_overwrites_nothing_that_a_person_wrote(guests):
    invitation = guests.invited()
    guests.joined(invitation)
    for name in ("site.toml", "policy.toml"):
        path = guests.home / "anna" / name
        path.write_text(path.read_text() + "# mine\n")
    guests.joined(invitation)
    assert all(
        (guests.home / "anna" / n).read_text().endswith("# mine\n") for n in ("site.toml", "policy.toml")
    )


def test_a_folder_of_another_site_or_hub_is_not_touched(guests, tmp_path):
    guests.joined(guests.invited())
    with pytest.raises(ConfigError, match="is that of site anna"):
        join(SiteFolder(tmp_path / "anna"), guests.invited("cork"), NOW)
    other = Guests(founded(tmp_path / "other", consortium="Lungs"), tmp_path)
    with pytest.raises(ConfigError, match="belongs to Hearts"):
        other.joined(other.invited())


def test_a_site_that_stood_alone_is_told_which_lines_to_add(guests):
    from site_agent.beginning import begin_site

    begin_site(guests.home / "anna", "anna")
    invitation = guests.invited()
    with pytest.raises(ConfigError, match="names no hub yet") as told:
        guests.joined(invitation)
    path = guests.home / "anna" / "site.toml"
    lines = told.value.remedy.split("repeat:\n")[1]
    path.write_text(path.read_text().replace("[[dataset]]\nformat", lines + "\n[[dataset]]\nformat"))
    guests.joined(invitation)
    assert guests.approved(guests.home / "anna" / "anna.enrolment.json").site == "anna"
