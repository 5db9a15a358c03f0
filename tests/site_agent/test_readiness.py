import pytest
from served_site import Authority, write_node_key, write_site

from federation.errors import ConfigError, EnrolmentError, PolicyError
from site_agent.readiness import check_address, check_flower, check_readiness


@pytest.fixture(scope="module")
def authority():
    return Authority.make()


@pytest.fixture
def folder(tmp_path, authority):
    return write_site(tmp_path / "site", authority, "hub.example.org:8000")


def test_a_site_that_is_set_up_may_be_served(folder):
    assert check_readiness(folder).hub.address == "hub.example.org:8000"


def test_a_site_without_a_hub_is_refused(folder):
    text = folder.config.read_text()
    folder.config.write_text(text[: text.index("[hub]")] + text[text.index("[serve]") :])
    with pytest.raises(ConfigError, match=r"no table \[hub\].*site init INVITATION"):
        check_readiness(folder)


@pytest.mark.parametrize(
    "address",
    [
        "hub.example.org",
        "https://hub.example.org:8000",
        "hub:0",
        "hub:65536",
        "hub:",
        ":8000",
        "a b:80",
        "hub:80/x",
    ],
)
def test_an_address_without_host_or_port_is_refused(address):
    with pytest.raises(ConfigError, match="not host:port"):
        check_address(address)


@pytest.mark.parametrize("address", ["hub.example.org:8000", "10.0.0.1:443", "[2001:db8::1]:8000"])
def test_host_and_port_are_enough(address):
    check_address(address)


def test_another_version_of_flower_is_refused():
    with pytest.raises(ConfigError, match=r"Flower 1\.42\.0 is installed.*pip install"):
        check_flower(lambda _name: "1.42.0")


def test_a_missing_certificate_of_the_authority_is_refused(folder):
    folder.ca_certificate.unlink()
    with pytest.raises(ConfigError, match="is missing"):
        check_readiness(folder)


def test_a_damaged_certificate_of_the_authority_is_refused(folder):
    folder.ca_certificate.write_text("no certificate")
    with pytest.raises(ConfigError, match="is no certificate"):
        check_readiness(folder)


def test_an_expired_certificate_of_the_authority_is_refused(folder):
    folder.ca_certificate.write_bytes(Authority.make(days=-1).pem)
    with pytest.raises(ConfigError, match="has expired on"):
        check_readiness(folder)


@pytest.mark.parametrize("name", ["node.key", "identity.key"])
def test_a_key_that_others_can_read_is_refused(folder, name):
    (folder.state / name).chmod(0o640)
    with pytest.raises(ConfigError, match=rf"{name} can be read by others \(mode 640\).*chmod 600"):
        check_readiness(folder)


@pytest.mark.parametrize("name", ["node.key", "identity.key"])
def test_a_missing_key_is_refused(folder, name):
    (folder.state / name).unlink()
    with pytest.raises(ConfigError, match=f"{name} cannot be read"):
        check_readiness(folder)


def test_another_kind_of_node_key_is_refused(folder):
    folder.node_key.write_text("no key")
    with pytest.raises(EnrolmentError):
        check_readiness(folder)
    folder.node_key.unlink()
    write_node_key(folder.node_key)
    check_readiness(folder)


def test_a_site_without_a_policy_is_refused(folder):
    folder.policy.unlink()
    with pytest.raises(PolicyError, match="there is no policy"):
        check_readiness(folder)


def test_a_folder_of_bundles_to_which_others_may_write_is_refused(folder):
    folder.approved_bundles.mkdir(parents=True)
    folder.approved_bundles.chmod(0o777)
    with pytest.raises(ConfigError, match="others may write"):
        check_readiness(folder)
