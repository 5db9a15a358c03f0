import stat

import pytest
from factories import make_space

from aggregator.certificate_renewal import renew_certificate
from aggregator.certificates import Issued, issue_server, new_authority, new_server_key
from aggregator.founding import Founding, ImportedTls, found_hub
from aggregator.operated_hub import OperatedHub
from federation.errors import ConfigError, FedprintError, StoreError

ADDRESS = "hub.example.org:9000"
FOUNDING = Founding("Hearts", ADDRESS)


def found(folder, **changes):
    found_hub(folder, Founding("Hearts", ADDRESS, **changes))
    return OperatedHub.open(folder)


@pytest.fixture(scope="module")
def authority():
    return new_authority("University")


@pytest.fixture
def files(tmp_path, authority):
    key = new_server_key()
    contents = {
        "ca.crt": b"issued by us\n" + authority.certificate,
        "ca.key": authority.key,
        "server.crt": issue_server(authority, "hub.example.org", key),
        "server.key": key,
    }
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    return {name: tmp_path / name for name in contents}


def test_a_hub_is_what_it_was_founded_as(tmp_path):
    hub = found(tmp_path / "hub")
    serve = hub.config.serve
    assert (hub.config.consortium, serve.address, serve.host, serve.port) == (
        "Hearts",
        ADDRESS,
        "0.0.0.0",
        9000,
    )
    assert hub.config.roster == {}
    assert hub.config.members == tmp_path / "hub" / "members"
    assert (hub.folder.path / "hub.toml").read_text().startswith("#")


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("localhost:1", "127.0.0.1"),
        ("127.0.0.1:1", "127.0.0.1"),
        ("[::1]:1", "::1"),
        ("[2001:db8::7]:1", "::"),
    ],
)
def test_a_hub_for_this_machine_alone_listens_to_nobody_else(tmp_path, address, host):
    found_hub(tmp_path / "hub", Founding("Hearts", address))
    assert OperatedHub.open(tmp_path / "hub").config.serve.host == host


def test_names_may_hold_quotes(tmp_path):
    found_hub(tmp_path / "hub", Founding('Hearts "and" \\ minds ♥', ADDRESS))
    assert OperatedHub.open(tmp_path / "hub").config.consortium == 'Hearts "and" \\ minds ♥'


def test_a_catalogue_on_a_database_server_is_named_by_its_url(tmp_path):
    url = "postgresql+psycopg://hub:secret@db.example.org/fedprint"
    hub = found(tmp_path / "hub", database=url)
    assert f'catalogue = "{url}"' in hub.folder.config.read_text()
    assert "secret" not in str(hub.config.catalogue)


def test_everything_of_a_hub_is_private(tmp_path):
    found(tmp_path / "hub")
    for path in [tmp_path / "hub", *(tmp_path / "hub").rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


def test_a_space_is_copied_and_must_be_one(tmp_path):
    space = tmp_path / "space"
    space.write_bytes(make_space().to_bytes())
    assert found(tmp_path / "hub", space=space).config.space.read_bytes() == space.read_bytes()
    space.write_bytes(b"none")
    with pytest.raises(FedprintError):
        found(tmp_path / "other", space=space)


def test_a_hub_is_not_overwritten(tmp_path):
    key = found(tmp_path / "hub").identity.public_key
    with pytest.raises(ConfigError, match="there is a hub"):
        found(tmp_path / "hub")
    assert OperatedHub.open(tmp_path / "hub").identity.public_key == key


@pytest.mark.parametrize("at", ["new_server_key", "issue_server", "check_server", "_config_text"])
def test_a_half_finished_founding_is_finished_by_repeating_it(tmp_path, monkeypatch, at):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"aggregator.founding.{at}", interrupted)
    with pytest.raises(KeyboardInterrupt):
        found(tmp_path / "hub")
    monkeypatch.undo()
    authority = (tmp_path / "hub" / "tls" / "ca.crt").read_bytes()
    assert found(tmp_path / "hub").ca_certificate == authority


@pytest.mark.parametrize("address", ["hub", "https://hub:1", "hub:0"])
def test_an_address_is_host_and_port(tmp_path, address):
    with pytest.raises(ConfigError, match="no address"):
        found_hub(tmp_path / "hub", Founding("Hearts", address))
    assert not (tmp_path / "hub").exists()


def test_the_consortiums_authority_with_its_key_issues_the_certificate(tmp_path, files, authority):
    hub = found(tmp_path / "hub", tls=ImportedTls(files["ca.crt"], files["ca.key"]))
    assert hub.ca_certificate == authority.certificate
    assert hub.folder.ca_key.exists()


def test_without_the_authoritys_key_its_certificate_for_the_hub_is_used(tmp_path, files):
    tls = ImportedTls(files["ca.crt"], None, files["server.crt"], files["server.key"])
    hub = found(tmp_path / "hub", tls=tls)
    assert hub.folder.server_certificate.read_bytes() == files["server.crt"].read_bytes()
    assert not hub.folder.ca_key.exists()
    with pytest.raises(ConfigError, match="not on this machine"):
        renew_certificate(hub)


@pytest.mark.parametrize(
    "named", [(), ("ca.key", "server.crt", "server.key"), ("server.crt",), ("server.key",)]
)
def test_an_import_names_either_key_or_certificate(files, named):
    others = [files[name] if name in named else None for name in ("ca.key", "server.crt", "server.key")]
    with pytest.raises(ConfigError, match="needs either"):
        ImportedTls(files["ca.crt"], *others)


def test_a_certificate_that_sites_would_not_trust_is_not_imported(tmp_path, files):
    files["ca.crt"].write_bytes(new_authority("University").certificate)
    tls = ImportedTls(files["ca.crt"], None, files["server.crt"], files["server.key"])
    with pytest.raises(ConfigError, match="would not trust"):
        found(tmp_path / "hub", tls=tls)
    assert not (tmp_path / "hub" / "hub.toml").exists()


def test_a_renewed_certificate_keeps_authority_and_key_and_the_old_one(tmp_path):
    hub = found(tmp_path / "hub")
    before = {path.name: path.read_bytes() for path in hub.folder.tls.iterdir()}
    renew_certificate(hub)
    after = {path.name: path.read_bytes() for path in hub.folder.tls.iterdir() if path.is_file()}
    assert {name for name in before if before[name] != after[name]} == {"server.crt"}
    assert [path.read_bytes() for path in (hub.folder.tls / "replaced").iterdir()] == [before["server.crt"]]


def test_a_renewed_certificate_from_elsewhere_must_be_trusted(tmp_path, files, authority):
    hub = found(
        tmp_path / "hub", tls=ImportedTls(files["ca.crt"], None, files["server.crt"], files["server.key"])
    )
    old, key = files["server.crt"].read_bytes(), new_server_key()
    files["server.key"].write_bytes(key)
    for wrong in (
        issue_server(Issued(*_parts(new_authority("x"))), "hub.example.org", key),
        issue_server(authority, "other.example.org", key),
        issue_server(authority, "hub.example.org", new_server_key()),
    ):
        files["server.crt"].write_bytes(wrong)
        with pytest.raises(ConfigError, match="would not trust"):
            renew_certificate(hub, files["server.crt"], files["server.key"])
    assert hub.folder.server_certificate.read_bytes() == old
    files["server.crt"].write_bytes(issue_server(authority, "hub.example.org", key))
    renew_certificate(hub, files["server.crt"], files["server.key"])
    assert hub.folder.server_key.read_bytes() == key
    assert {p.name for p in hub.folder.tls.iterdir()} == {"ca.crt", "server.crt", "server.key", "replaced"}


def _parts(authority):
    return authority.certificate, authority.key


def test_a_folder_without_a_hub_is_named(tmp_path):
    with pytest.raises(ConfigError, match="there is no hub"):
        OperatedHub.open(tmp_path)


def test_a_hub_of_a_simulation_has_no_members(tmp_path):
    text = 'consortium = "Hearts"\n[[site]]\nname = "anna"\npublic_key = "' + "ab" * 32 + '"\n'
    (tmp_path / "hub.toml").write_text(text)
    with pytest.raises(ConfigError, match="for simulations"):
        OperatedHub.open(tmp_path)


def test_a_hub_that_lost_its_key_is_not_opened(tmp_path):
    hub = found(tmp_path / "hub")
    hub.folder.key.unlink()
    with pytest.raises(StoreError, match="signing key"):
        OperatedHub.open(tmp_path / "hub")
