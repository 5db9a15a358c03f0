"""A backup holds all that an aggregator remembers; restored, it is the same on either kind of database."""

import io
import tarfile
import threading

import pytest
from factories import make_fingerprint, make_identity, make_space
from typer.testing import CliRunner

from aggregator import matrix
from aggregator.backup import archive
from aggregator.backup import backup as backup_module
from aggregator.backup.backup import copy_rounds, make_backup
from aggregator.backup.restore import restore
from aggregator.catalogue_place import CataloguePlace
from aggregator.cli import app
from aggregator.config import HubConfig
from aggregator.outcomes import Outcome
from aggregator.store import Catalogue
from aggregator.transfer.models import ModelFiles
from federation.errors import ConfigError, StoreError
from federation.files import write_atomically
from federation.identity import Identity

OUTCOME = Outcome("pretraining", "auroc", 0, "anna/t0", "anna/t1", 0.93, 0.9)


class Hub:
    """A hub's folder with something of everything."""

    def __init__(self, folder, catalogue="catalogue.sqlite", key="hub.key"):
        self.folder = folder
        self.space = make_space()
        self.file(
            "hub.toml", f'# ours\nconsortium = "C"\ncatalogue = "{catalogue}"\nkey = "{key}"\nsite = []\n'
        )
        self.file("space.safetensors", self.space.to_bytes())
        self.key = Identity.load_or_create("C", folder / key).public_key
        self.file("members/anna.json", "{}")
        self.file("tls/ca.key", "-----BEGIN PRIVATE KEY-----\n")
        self.file("tls/ca.crt", "-----BEGIN CERTIFICATE-----\n")
        self.file("rounds/r1/terms.json", "{}")
        self.file("flower/state.db", "Flower's own")
        self.file("logs/hub.log", "line")
        self.place = HubConfig.read(folder / "hub.toml").catalogue
        self.model = ModelFiles.beside(self.place).keep(b"a model")
        self.fill()

    def file(self, name, content):
        write_atomically(self.folder / name, content if isinstance(content, bytes) else content.encode())

    def fill(self):
        catalogue, identity = Catalogue(self.place, create=True), make_identity("anna", self.folder.parent)
        with catalogue.writing() as writer:
            writer.add_space(self.space)
            for k in range(3):
                writer.add_fingerprint(make_fingerprint(identity, f"t{k}", self.space, seed=k))
            writer.add_outcomes([OUTCOME])
            writer.add_event("accepted", "job")
            writer.finish_run("job", self.space, {"distance": "js"})
        matrix.grow(catalogue, self.space)
        catalogue.close()


def remembered(place):
    catalogue = Catalogue(place)
    space = catalogue.latest_space()
    told = (
        space.space_id,
        [(e.seq, e.received_at, e.fingerprint.to_bytes()) for e in catalogue.entries(space)],
        matrix.read(catalogue, space, "js").values.tolist(),
        catalogue.outcomes(),
        catalogue.events(),
        catalogue.run_summary(),
    )
    catalogue.close()
    return told


@pytest.fixture
def hub(place, tmp_path):
    address = place.address if isinstance(place, CataloguePlace) else place.name
    return Hub(tmp_path / "hub", address)


@pytest.fixture
def made(hub, tmp_path):
    make_backup(hub.folder, tmp_path / "b.tar")
    return tmp_path / "b.tar"


def names(path):
    with tarfile.open(path) as tar:
        return set(tar.getnames())


def test_what_is_restored_into_a_folder_is_what_was_backed_up(hub, made, tmp_path):
    contents = restore(made, tmp_path / "new")
    config = HubConfig.read(tmp_path / "new" / "hub.toml")
    assert config.catalogue.file == tmp_path / "new" / "catalogue.sqlite"
    assert remembered(config.catalogue) == remembered(hub.place)
    assert Identity.load_or_create("C", config.key).public_key == hub.key
    assert ModelFiles.beside(config.catalogue).read(hub.model) == b"a model"
    assert (tmp_path / "new" / "hub.toml").read_text().startswith("# ours\n")
    assert (contents.consortium, contents.rows["fingerprint"], contents.rows["event"]) == ("C", 3, 1)


def test_a_consortium_moves_onto_a_server(hub, made, tmp_path, postgresql):
    url = postgresql.new_database()
    restore(made, tmp_path / "new", CataloguePlace.of(url))
    config = HubConfig.read(tmp_path / "new" / "hub.toml")
    assert config.catalogue.is_on_server
    assert not (tmp_path / "new" / "catalogue.sqlite").exists()
    assert remembered(config.catalogue) == remembered(hub.place)
    catalogue = Catalogue(config.catalogue, create=True)
    with catalogue.writing() as writer:
        writer.add_event("accepted", "job-2")
        writer.add_fingerprint(make_fingerprint(make_identity("bern", tmp_path), "t", hub.space, seed=9))
    assert [entry.seq for entry in catalogue.listings(hub.space)] == [1, 2, 3, 4]
    assert [event["job"] for event in catalogue.events()] == ["job", "job-2"]
    catalogue.close()
    postgresql.drop(url)


def test_a_backup_holds_nothing_of_flower_and_nothing_that_can_be_made_again(made):
    assert names(made) == {
        "hub.toml", "catalogue.sqlite", "rounds/r1/terms.json", "space.safetensors", "hub.key",
        "members/anna.json", "tls/ca.key", "tls/ca.crt", "manifest.json",
    } | {name for name in names(made) if name.startswith("models/")}  # fmt: skip


def test_only_its_owner_can_read_a_backup_and_what_is_restored(made, tmp_path):
    restore(made, tmp_path / "new")
    files = [path for path in (tmp_path / "new").rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in [made, *files]} == {0o600}
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


def test_private_keys_can_be_left_out(hub, tmp_path):
    make_backup(hub.folder, tmp_path / "b.tar", with_keys=False)
    assert not {"hub.key", "tls/ca.key"} & names(tmp_path / "b.tar")
    assert "tls/ca.crt" in names(tmp_path / "b.tar")


def test_a_key_that_lies_elsewhere_comes_to_lie_in_the_folder(tmp_path):
    hub = Hub(tmp_path / "hub", key="../signing.key")
    make_backup(hub.folder, tmp_path / "b.tar")
    restore(tmp_path / "b.tar", tmp_path / "new")
    config = HubConfig.read(tmp_path / "new" / "hub.toml")
    assert config.key == tmp_path / "new" / "hub.key"
    assert Identity.load_or_create("C", config.key).public_key == hub.key


def test_rows_models_and_rounds_that_lie_elsewhere_come_to_lie_in_the_folder(tmp_path):
    hub = Hub(tmp_path / "hub", "data/prints.db")
    hub.file("data/rounds/r2/terms.json", "{}")
    make_backup(hub.folder, tmp_path / "b.tar")
    assert not [name for name in names(tmp_path / "b.tar") if name.startswith("data/")]
    restore(tmp_path / "b.tar", tmp_path / "new")
    config = HubConfig.read(tmp_path / "new" / "hub.toml")
    assert remembered(config.catalogue) == remembered(hub.place)
    assert ModelFiles.beside(config.catalogue).has(hub.model)
    assert (tmp_path / "new" / "rounds" / "r2" / "terms.json").exists()


def test_no_password_of_a_database_gets_into_a_backup(hub, tmp_path):
    if not hub.place.is_on_server:
        pytest.skip("a file has none")
    hub.file("database.pass", "*:*:*:*:geheim")
    address = hub.place.address.replace("tester@", "tester:geheim@") + "&passfile=database.pass"
    hub.file("hub.toml", f'consortium = "C"\ncatalogue = "{address}"\nsite = []\n')
    make_backup(hub.folder, tmp_path / "b.tar")
    assert b"geheim" not in (tmp_path / "b.tar").read_bytes()


def test_a_backup_while_others_write_is_the_state_of_one_moment(hub, tmp_path):
    stop = threading.Event()

    def write():
        catalogue = Catalogue(hub.place, create=True)
        while not stop.is_set():
            with catalogue.writing() as writer:
                writer.add_event("one", "busy")
                writer.add_event("two", "busy")
        catalogue.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for k in range(3):
            make_backup(hub.folder, tmp_path / f"{k}.tar")
    finally:
        stop.set()
        writer.join()
    for k in range(3):
        restore(tmp_path / f"{k}.tar", tmp_path / f"new-{k}")
        kinds = [e["kind"] for e in Catalogue(tmp_path / f"new-{k}" / "catalogue.sqlite").events()]
        assert kinds.count("one") == kinds.count("two")


def test_a_round_that_changes_meanwhile_is_copied_again(tmp_path, monkeypatch):
    folder = tmp_path / "rounds" / "r1"
    write_atomically(folder / "terms.json", b"{}")
    real, copies = backup_module.shutil.copytree, []

    def copytree(source, target):
        found = real(source, target)
        copies.append(source)
        if len(copies) == 1:
            write_atomically(folder / "finished.json", b"{}")
        return found

    monkeypatch.setattr(backup_module.shutil, "copytree", copytree)
    copy_rounds(tmp_path / "rounds", tmp_path / "copy")
    assert len(copies) == 2
    assert {path.name for path in (tmp_path / "copy" / "r1").iterdir()} == {"terms.json", "finished.json"}


def altered(made, change):
    """The same archive with one member changed, and its own list of files."""
    path = made.with_name("altered.tar")
    with tarfile.open(made) as old, tarfile.open(path, "w") as new:
        for member in old:
            content = old.extractfile(member).read()
            for name, data in change(member.name, content):
                copy = tarfile.TarInfo(name)
                copy.size = len(data)
                new.addfile(copy, io.BytesIO(data))
    return path


CHANGES = {
    "altered": lambda n, c: [(n, c.replace(b"ours", b"mine") if n == "hub.toml" else c)],
    "missing": lambda n, c: [] if n == "members/anna.json" else [(n, c)],
    "added": lambda n, c: [(n, c), ("members/eve.json", b"{}")] if n == "hub.toml" else [(n, c)],
    "renamed": lambda n, c: [(n.replace("anna", "eve"), c)],
    "unlisted": lambda n, c: [] if n == "manifest.json" else [(n, c)],
    "escaping": lambda n, c: [(n, c), ("../outside", b"x")] if n == "hub.toml" else [(n, c)],
    "absolute": lambda n, c: [(n, c), ("/outside", b"x")] if n == "hub.toml" else [(n, c)],
    "newer": lambda n, c: [(n, c.replace(b'"format":1', b'"format":2'))],
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_a_backup_that_was_changed_is_refused_and_nothing_is_restored(made, tmp_path, change):
    with pytest.raises(StoreError):
        restore(altered(made, change), tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_backup_that_is_cut_off_is_refused(made, tmp_path, share):
    data = made.read_bytes()
    made.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(StoreError, match="no whole backup"):
        restore(made, tmp_path / "new")


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_nothing_is_restored_over_anything(hub, made, tmp_path):
    with pytest.raises(StoreError, match="is not empty"):
        restore(made, hub.folder)


def test_rows_are_not_restored_over_rows(hub, made, tmp_path):
    if not hub.place.is_on_server:
        pytest.skip("a file is always new")
    before = remembered(hub.place)
    with pytest.raises(StoreError, match="holds a catalogue already"):
        restore(made, tmp_path / "new", hub.place)
    assert not (tmp_path / "new").exists()
    assert remembered(hub.place) == before


def test_a_server_that_dies_while_rows_come_in_keeps_none_and_can_be_tried_again(
    hub, made, tmp_path, postgresql, monkeypatch
):
    from aggregator import database
    from aggregator.backup import rows

    monkeypatch.setattr(database, "PATIENCE_S", 0.0)
    url, real = postgresql.new_database(), rows._go_on_counting
    monkeypatch.setattr(rows, "_go_on_counting", lambda connection: (postgresql.kill(), real(connection)))
    with pytest.raises(StoreError, match="cannot be used"):
        restore(made, tmp_path / "new", CataloguePlace.of(url))
    assert not (tmp_path / "new").exists()
    postgresql.revive()
    monkeypatch.setattr(rows, "_go_on_counting", real)
    restore(made, tmp_path / "new", CataloguePlace.of(url))
    assert remembered(CataloguePlace.of(url)) == remembered(hub.place)
    postgresql.drop(url)


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_a_full_disk_leaves_no_half_backup(hub, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive.ArchiveWriter, "finish", full)
    with pytest.raises(StoreError, match=r"No space left.*no backup was made"):
        make_backup(hub.folder, tmp_path / "b.tar")
    assert [path.name for path in tmp_path.iterdir() if "b.tar" in path.name or "backup" in path.name] == []


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_a_backup_is_never_written_over(made, hub):
    with pytest.raises(StoreError, match="exists already"):
        make_backup(hub.folder, made)


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_the_commands_say_what_they_did_and_warn_of_what_restoring_means(hub, tmp_path):
    def run(*arguments):
        return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False).output

    assert "consortium C, 3 fingerprints" in run("backup", tmp_path / "b.tar", "--folder", hub.folder)
    said = run("restore", tmp_path / "b.tar", tmp_path / "new")
    assert "report a log that shrank" in said
    assert "revoked after it is a member again" in said
    assert "is up to date" in run("migrate", "--catalogue", tmp_path / "new" / "hub.toml")


def test_a_password_on_the_command_line_is_refused(tmp_path):
    url = "postgresql+psycopg://anna:geheim@127.0.0.1/d"
    with pytest.raises(ConfigError, match=r"\?passfile=FILE") as e:
        CliRunner().invoke(app, ["tasks", "--catalogue", url], catch_exceptions=False)
    assert "geheim" not in str(e.value)
