import json
import re
import stat

import pytest
from factories import make_space
from tls_hub import serving
from typer.testing import CliRunner

from deploy.cli import app
from federation.errors import ConfigError, EnrolmentError
from site_agent.deployment_check.check import is_ready
from site_agent.flower.link_status import LinkStatus
from site_agent.site_folder import SiteFolder


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder in which operator and hospital type their commands."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "space").write_bytes(make_space().to_bytes())
    return tmp_path


def fp(*arguments, typed="", status=0):
    done = CliRunner().invoke(app, [str(each) for each in arguments], input=typed)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == status, done.output
    return done.output


def number(text):
    return re.search(r"^  (\d{5}( \d{5}){5})$", text, re.MULTILINE).group(1)


def let_in(site="anna", address="localhost:8443"):
    fp("hub", "init", "hub", "--name", "Hearts", "--address", address, "--space", "space")
    fp("hub", "invite", site, "-f", "hub")
    heard = number(fp("site", "init", f"{site}.invitation.json", typed="y\n"))
    fp("hub", "approve", f"{site}/{site}.enrolment.json", "-f", "hub", "--fingerprint", heard, "--yes")
    fp("site", "accept", f"{site}.membership-1.json", "-f", site)


def test_a_consortium_is_founded_and_a_hospital_let_in_by_commands(desk):
    let_in()
    listed = json.loads(fp("hub", "members", "-f", "hub", "--json"))
    assert listed["consortium"] == "Hearts"
    (member,) = listed["members"]
    assert (member["site"], member["standing"], member["serial"]) == ("anna", "valid", 1)
    assert len(list((desk / "anna" / "bundles" / "approved").iterdir())) == 1


def test_both_sides_are_shown_the_number_and_the_operator_is_asked(desk):
    fp("hub", "init", "hub", "--name", "Hearts", "--address", "localhost:1", "--space", "space")
    fp("hub", "invite", "anna", "-f", "hub")
    heard = number(fp("site", "init", "anna.invitation.json", typed="n\n"))
    refused = fp("hub", "approve", "anna/anna.enrolment.json", "-f", "hub", typed="n\n", status=1)
    assert number(refused) == heard
    assert "nobody yet" not in fp("hub", "members", "-f", "hub")
    assert "anna: invited" in fp("hub", "members", "-f", "hub")
    fp("hub", "approve", "anna/anna.enrolment.json", "-f", "hub", typed="y\n")
    assert not (desk / "anna" / "bundles" / "approved").exists()


def test_nothing_is_approved_without_a_number_or_a_person(desk):
    fp("hub", "init", "hub", "--name", "Hearts", "--address", "localhost:1", "--space", "space")
    fp("hub", "invite", "anna", "-f", "hub")
    fp("site", "init", "anna.invitation.json", "--yes")
    with pytest.raises(ConfigError, match="--yes needs --fingerprint"):
        fp("hub", "approve", "anna/anna.enrolment.json", "-f", "hub", "--yes")
    wrong = "00000 " * 6
    with pytest.raises(EnrolmentError, match="is not that of anna"):
        fp("hub", "approve", "anna/anna.enrolment.json", "-f", "hub", "--yes", "--fingerprint", wrong)


def test_an_invitation_file_is_not_overwritten_and_is_private(desk):
    fp("hub", "init", "hub", "--name", "Hearts", "--address", "localhost:1", "--space", "space")
    fp("hub", "invite", "anna", "-f", "hub")
    assert stat.S_IMODE((desk / "anna.invitation.json").stat().st_mode) == 0o600
    with pytest.raises(ConfigError, match="exists already"):
        fp("hub", "invite", "anna", "-f", "hub")
    fp("hub", "invite", "anna", "-f", "hub", "--again")


def test_keys_change_and_memberships_are_renewed_and_revoked_by_commands(desk):
    let_in()
    heard = number(fp("site", "rotate-keys", "-f", "anna"))
    fp("hub", "approve", "anna/anna.rotation.json", "-f", "hub", "--fingerprint", heard, "--yes")
    assert "membership 2" in fp("site", "accept", "anna.membership-2.json", "-f", "anna")
    assert "no new key" in fp("site", "rotate-keys", "-f", "anna", "--abort")
    fp("hub", "renew", "anna", "-f", "hub", "--days", "10")
    assert "→ fedprint hub renew anna" in fp("hub", "members", "-f", "hub")
    fp("hub", "revoke", "anna", "-f", "hub", "--because", "left")
    assert "anna: revoked, left" in fp("hub", "members", "-f", "hub")


def test_the_certificate_is_renewed_by_a_command(desk):
    let_in()
    before = (desk / "hub" / "tls" / "server.crt").read_bytes()
    assert "ends on" in fp("hub", "renew-certificate", "-f", "hub")
    assert (desk / "hub" / "tls" / "server.crt").read_bytes() != before


def test_a_site_without_a_hub_begins_as_before(desk):
    assert "public key of lone" in fp("site", "init", "lone")
    fp("site", "init", "other", "--name", "cork")
    assert 'name = "cork"' in (desk / "other" / "site.toml").read_text()


def test_options_that_do_not_go_together_are_refused(desk):
    with pytest.raises(ConfigError, match="for one name"):
        fp("site", "init", "anna.invitation.json", "--name", "anna")
    with pytest.raises(ConfigError, match="goes with an invitation"):
        fp("site", "init", "anna", "--folder", "b")
    with pytest.raises(ConfigError, match="--ca-certificate is missing"):
        fp("hub", "init", "hub", "--name", "H", "--address", "localhost:1", "--ca-key", "space")
    with pytest.raises(ConfigError, match="needs --server-certificate"):
        fp("hub", "renew-certificate", "--server-key", "space")


@pytest.fixture
def served(desk):
    """A member whose hub answers, and whose data are there; yields the site file."""
    let_in()
    site = desk / "anna" / "site.toml"
    hub = desk / "hub" / "tls"
    images = desk / "anna" / "images"
    for label in ("a", "b"):
        (images / label).mkdir(parents=True)
        (images / label / "1.png").write_bytes(b"")
    text = site.read_text().partition("[[dataset]]\nformat")[0]
    with serving(hub / "server.crt", hub / "server.key") as port:
        text = text.replace("localhost:8443", f"localhost:{port}")
        site.write_text(text + '[[dataset]]\nformat = "folder"\ntask = "t"\nroot = "images"\n')
        yield site


def findings(site, status):
    told = json.loads(fp("site", "check", site, "--json", status=status))
    return {each["name"]: each for each in told["checks"]}


def test_a_site_that_is_ready_is_told_so_line_by_line(served):
    found = findings(served, 0)
    failed = {name for name, each in found.items() if each["state"] == "fail"}
    assert failed == set()
    assert set(found) == {
        *("network", "identity", "certificate", "clock", "disk", "GPU", "keys", "policy"),
        *("membership", "app bundle", "log", "data of t"),
    }
    text = fp("site", "check", served.parent)
    assert "ok    keys: only their owner can read them" in text


def test_what_keeps_a_site_from_serving_has_a_remedy(served):
    anna = served.parent
    (anna / "state" / "node.key").chmod(0o644)
    (anna / "hub" / "membership.json").unlink()
    (anna / "images").rename(anna / "moved")
    for bundle in (anna / "bundles" / "approved").iterdir():
        bundle.unlink()
    policy = anna / "policy.toml"
    policy.write_text(re.sub("[0-9a-f]{64}", "ab" * 32, policy.read_text(), count=1))
    found = findings(anna, 1)
    failed = {name for name, each in found.items() if each["state"] == "fail"}
    assert failed == {"keys", "policy", "membership", "app bundle", "data of t"}
    assert all(found[name]["remedy"] for name in failed - {"data of t"})
    assert found["keys"]["remedy"].startswith("chmod go= ")


def test_a_membership_that_ends_soon_is_warned_of(served, desk):
    fp("hub", "renew", "anna", "-f", "hub", "--days", "20")
    fp("site", "accept", "anna.membership-2.json", "-f", "anna")
    assert findings(served, 0)["membership"]["state"] == "warn"


def test_a_site_whose_keys_are_lost_is_told_so(served):
    (served.parent / "state" / "identity.key").unlink()
    assert findings(served, 1)["keys"]["state"] == "fail"


def test_a_policy_that_forbids_the_sketches_of_the_space_is_warned_of(served):
    policy = served.parent / "policy.toml"
    policy.write_text(re.sub(r"^sketches = \[.*\]", 'sketches = ["moments"]', policy.read_text(), flags=re.M))
    found = findings(served, 0)["policy"]
    assert found["state"] == "warn"
    assert "the policy does not allow sketches of kind" in found["text"]
    assert "sketches" in found["remedy"]


def test_a_site_that_the_hub_refuses_is_told_so(served):
    link = LinkStatus(SiteFolder(served.parent).link_status)
    link.lost("the hub does not accept this site's node key → telephone the operator")
    found = findings(served, 1)["connection"]
    assert found["text"] == "the hub does not accept this site's node key"
    assert found["remedy"] == "telephone the operator"
    link.connected()
    assert "connection" not in findings(served, 0)


def test_a_site_without_a_hub_has_no_findings():
    assert is_ready([])
