"""Where a catalogue is, and that no message shows the password of a database."""

from pathlib import Path

import pytest

from aggregator import database
from aggregator.catalogue_place import CataloguePlace
from aggregator.config import HubConfig, HubFiles
from aggregator.store import Catalogue
from federation.errors import ConfigError, StoreError

SECRET = "s3cr%40t"
URL = f"postgresql+psycopg://anna:{SECRET}@127.0.0.1:1/prints"


@pytest.fixture(autouse=True)
def impatience(monkeypatch):
    monkeypatch.setattr(database, "PATIENCE_S", 0.0)


def hub_file(folder, catalogue):
    path = folder / "hub.toml"
    path.write_text(f'consortium = "C"\ncatalogue = "{catalogue}"\nsite = []\n')
    return path


def test_a_path_in_a_hub_file_starts_at_its_folder(tmp_path):
    place = HubConfig.read(hub_file(tmp_path, "data/prints.sqlite")).catalogue
    assert place == HubFiles.read(tmp_path / "hub.toml").catalogue
    assert (place.file, place.folder) == (tmp_path / "data" / "prints.sqlite", tmp_path / "data")
    assert place.mapped == tmp_path / "data" / "prints.mapped"


def test_files_of_a_catalogue_on_a_server_lie_beside_the_hub_file(tmp_path):
    place = HubConfig.read(hub_file(tmp_path, URL)).catalogue
    assert (place.is_on_server, place.folder) == (True, tmp_path)
    assert place.mapped == tmp_path / "catalogue.mapped"


def test_a_configuration_is_written_as_it_was_read(tmp_path):
    hub = HubConfig.model_validate({"consortium": "C", "catalogue": URL, "site": []})
    assert hub.model_dump(mode="json")["catalogue"] == URL


def test_no_text_of_a_place_shows_its_password(tmp_path):
    hub = HubConfig.read(hub_file(tmp_path, URL))
    for text in (str(hub.catalogue), repr(hub.catalogue), repr(hub), str(hub.catalogue.url)):
        assert "s3cr" not in text
    assert str(hub.catalogue) == "postgresql+psycopg://anna:***@127.0.0.1:1/prints"


def test_a_server_that_cannot_be_reached_is_one_clear_error_without_a_password():
    with pytest.raises(StoreError, match=r"anna:\*\*\*@127.0.0.1:1/prints cannot be used.*server runs") as e:
        Catalogue(URL)
    shown = "".join(map(str, (e.value, e.value.__cause__)))
    assert "s3cr" not in shown


def test_what_a_driver_says_is_shown_without_the_password():
    assert CataloguePlace.of(URL).hide("invalid: s3cr@t") == "invalid: ***"


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        (f"postgresql://anna:{SECRET}@h/d", "cannot be kept by postgresql.*psycopg://"),
        (f"mysql://anna:{SECRET}@h/d", "cannot be kept by mysql"),
        (f"postgresql+psycopg://anna:{SECRET}@h:port/d", "malformed.*write it like"),
        (f"postgresql+psycopg://anna:{SECRET}@h", "names no database"),
        ("postgresql+psycopg://h/d?passfile=nowhere", "nowhere.*does not exist.*HOST:PORT"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_showing_it(url, complaint):
    with pytest.raises(ConfigError, match=complaint) as e:
        CataloguePlace.of(url)
    assert "s3cr" not in str(e.value)
    assert e.value.__cause__ is None


def test_a_wrong_url_in_a_hub_file_names_the_file_alone(tmp_path):
    with pytest.raises(ConfigError, match=r"hub\.toml: .*mysql") as e:
        HubConfig.read(hub_file(tmp_path, f"mysql://anna:{SECRET}@h/d"))
    assert "s3cr" not in str(e.value)


def test_a_password_file_that_others_can_read_is_refused(tmp_path):
    file = tmp_path / "database.pass"
    file.write_text("*:*:*:*:geheim")
    file.chmod(0o640)
    with pytest.raises(ConfigError, match=r"can be read by others.*chmod 600"):
        HubConfig.read(hub_file(tmp_path, "postgresql+psycopg://h/d?passfile=database.pass"))
    file.chmod(0o600)
    url = HubConfig.read(hub_file(tmp_path, "postgresql+psycopg://h/d?passfile=database.pass")).catalogue.url
    assert url.query["passfile"] == str(file)


@pytest.mark.parametrize(
    ("host", "mode"),
    [
        ("db.example.org/d", "verify-full"),
        ("db.example.org/d?sslmode=disable", "disable"),
        ("127.0.0.1/d", None),
        ("localhost/d", None),
        ("/d?host=/run/postgresql", None),
        ("/d?host=db.example.org", "verify-full"),
    ],
)
def test_a_server_elsewhere_must_prove_who_it_is_unless_the_url_says_otherwise(host, mode):
    url = CataloguePlace.of(f"postgresql+psycopg://anna@{host}").url
    assert url.query.get("sslmode") == mode


def test_a_place_is_taken_as_it_is():
    place = CataloguePlace.of(URL, Path("somewhere"))
    assert CataloguePlace.of(place, Path("elsewhere")) is place
