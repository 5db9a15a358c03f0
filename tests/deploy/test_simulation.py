"""Whole simulated federations, over real files and a real (small, random) network."""

import json
import re
import shutil
import stat

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from sealed_wire import opened
from small_federation import SITES, let_bern_answer_another_aggregator, write_digits, write_small_federation

from aggregator import matrix
from aggregator.config import HubConfig
from aggregator.server_app import app as server_app
from aggregator.store import Catalogue
from deploy.federation_file import FederationConfig
from deploy.inprocess import Node, run_in_process
from deploy.progress_display import ProgressDisplay
from deploy.simulation import prepare, simulate
from federation import distances
from federation.errors import ConfigError, ExtractorError, FedprintError, SpaceError
from federation.fingerprint import Fingerprint
from federation.identity import Identity
from federation.sampling import SamplingPlan
from site_agent.client_app import app as client_app
from site_agent.policy import Policy


def run(path):
    return simulate(FederationConfig.read(path), ProgressDisplay(Console(quiet=True)))


def all_bytes(sent):
    return b"\0".join(blob for each in sent for blob in each.blobs)


def site_folder(tmp_path, site):
    return tmp_path / "run" / "sites" / site


def tasks(catalogue_path):
    catalogue = Catalogue(catalogue_path)
    return sorted(e.fingerprint.key for e in catalogue.entries(catalogue.latest_space()) if e.current)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    return folder, run(write_small_federation(folder))


@pytest.fixture
def again(finished, tmp_path):
    """A copy of the finished run that a test may change."""
    shutil.copytree(finished[0], tmp_path, dirs_exist_ok=True)
    return tmp_path / "federation.toml"


def test_a_run_leaves_a_catalogue_a_matrix_and_no_complaints(finished):
    _, done = finished
    assert tasks(done.catalogue) == ["anna/digits", "bern/digits"]
    assert done.problems == ()
    assert Catalogue(done.catalogue).run_summary()["listening"] == ["cork/digits"]


def test_by_default_a_site_stops_drawing_when_its_histogram_is_known_well_enough(tmp_path):
    path = write_small_federation(tmp_path)
    write_digits(tmp_path, 400)
    edited(path, 'samples = "all"', "tolerance = 0.025")
    done = run(path)
    catalogue = Catalogue(done.catalogue)
    cards = [e.fingerprint for e in catalogue.entries(catalogue.latest_space())]
    assert {f.provenance.sampling for f in cards} == {SamplingPlan(10_000, tolerance=0.025)}
    assert all(128 <= f.card.n_images < 400 and f.card.n_images % 64 == 0 for f in cards)
    assert all(f.card.n_images == f.histogram.n for f in cards)


def test_the_listening_site_ranks_locally_and_nearest_is_the_site_with_like_pictures(finished):
    ranking = json.loads((site_folder(finished[0], "cork") / "rankings" / "digits.json").read_bytes())
    assert [choice["source"] for choice in ranking] == ["anna/digits", "bern/digits"]


def test_the_same_data_and_settings_give_the_same_sketch_bytes(finished, tmp_path):
    shutil.copytree(finished[0], tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "run" / "sites" / "anna" / "sketches")
    before = Catalogue(finished[1].catalogue)
    after = Catalogue(run(tmp_path / "federation.toml").catalogue)
    space = before.latest_space()
    ids = [
        {e.fingerprint.key: e.fingerprint.fingerprint_id for e in c.entries(space)} for c in (before, after)
    ]
    assert ids[0] == ids[1]


def test_a_second_run_reads_kept_sketches_instead_of_images(again, monkeypatch):
    def no_image(*_):
        pytest.fail("an image was decoded again")

    monkeypatch.setattr("site_agent.extraction.sketch", no_image)
    assert tasks(run(again).catalogue) == ["anna/digits", "bern/digits"]


def test_a_site_that_left_and_a_task_that_only_listens_are_no_longer_sources(again):
    text = again.read_text()
    bern = text.index('[[site]]\nname = "bern"')
    cork = text.index('[[site]]\nname = "cork"')
    again.write_text(text[:bern] + text[cork:])
    assert tasks(run(again).catalogue) == ["anna/digits"]
    edited(again, 'trust = "open"', 'trust = "listen"')
    done = run(again)
    assert tasks(done.catalogue) == []
    withdrawn = [e["task"] for e in Catalogue(done.catalogue).events() if e["kind"] == "withdrawn"]
    assert withdrawn == ["bern/digits", "anna/digits"]


def test_a_task_that_fails_this_time_keeps_the_fingerprint_it_had(again):
    edited(again, "timeout_s = 120", "timeout_s = 0.000001")
    assert tasks(run(again).catalogue) == ["anna/digits", "bern/digits"]


def test_changed_data_are_sketched_anew(again):
    file = again.parent / "anna.npz"
    content = dict(np.load(file))
    np.savez(file, images=255 - content["images"], labels=content["labels"])
    catalogue = Catalogue(run(again).catalogue)
    entries = catalogue.entries(catalogue.latest_space())
    assert [e.current for e in entries if e.fingerprint.site == "anna"] == [False, True]


def test_no_image_label_file_name_or_feature_leaves_a_site(tmp_path):
    prepared = prepare(FederationConfig.read(write_small_federation(tmp_path)))
    nodes = [Node(client_app, {"site-config": str(path)}) for path in prepared.site_files]
    grid = run_in_process(server_app, nodes, {"hub-config": str(prepared.hub_file)}, record=True)
    wire = [sent for sent in grid.sent if sent.direction == "up"]
    said = opened(wire)
    up = all_bytes(said)
    assert len(up) > 10_000
    assert 0 < len(all_bytes(wire)) - len(up) < 2_000 * len(wire)
    assert not any(site.encode() in all_bytes(wire) for site in SITES)
    for site in SITES:
        content = np.load(tmp_path / f"{site}.npz")
        for secret in (content["images"][0].tobytes(), content["labels"].tobytes(), f"{site}.npz".encode()):
            assert secret not in up + all_bytes(wire)
    # What is left is exactly the signed fingerprints of the two open sites and small headers.
    prints = [blob.data for sent in said for blob in sent.message.content["blobs"].values()]
    assert {Fingerprint.from_bytes(data).site for data in prints} == {"anna", "bern"}
    assert len(up) - sum(map(len, prints)) < 20_000
    listener = [sent for sent in said if not sent.message.content["blobs"]]
    assert len(listener) == 7  # cork twice, the two open sites in the listening round, three witnesses
    assert all(sum(map(len, sent.blobs)) < 2_000 for sent in listener)


def test_a_site_that_fails_does_not_stop_the_others(again, monkeypatch):
    real = client_app

    def failing(message, context):
        if "bern" in str(context.node_config["site-config"]):
            raise ValueError("disk on fire")
        return real(message, context)

    monkeypatch.setattr("deploy.simulation.client_app", failing)
    done = run(again)
    missing = Catalogue(done.catalogue).run_summary()["missing"]
    assert [entry["site"] for entry in missing] == ["bern"]


def test_a_site_refuses_an_aggregator_that_it_does_not_list_and_its_fingerprint_stays(again):
    before = {e.fingerprint.key: e.fingerprint.fingerprint_id for e in entries(again)}
    let_bern_answer_another_aggregator(again)
    done = run(again)
    assert {e.fingerprint.key: e.fingerprint.fingerprint_id for e in entries(again)} == before
    assert Catalogue(done.catalogue).run_summary()["missing"] == [
        {"site": "bern", "task": "", "code": "policy"}
    ]
    hub = HubConfig.read(again.parent / "run" / "hub.toml")
    (problem,) = done.problems
    assert (problem.site, problem.task) == ("bern", "")
    assert Identity.load_or_create("hub", hub.key).public_key in problem.text


def entries(federation_file):
    catalogue = Catalogue(federation_file.parent / "run" / "catalogue.sqlite")
    return [e for e in catalogue.entries(catalogue.latest_space()) if e.current]


def test_the_key_of_the_aggregator_is_made_once_and_only_its_owner_reads_it(again):
    key = again.parent / "run" / "hub.key"
    before = key.read_bytes()
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    run(again)
    assert key.read_bytes() == before


def test_every_site_lists_the_aggregator_of_its_simulation(finished):
    public_key = Identity.load_or_create("hub", finished[0] / "run" / "hub.key").public_key
    for site in SITES:
        policy = Policy.read(site_folder(finished[0], site) / "policy.toml")
        assert policy.aggregator.public_keys == (public_key,)


def test_a_thousand_files_with_three_bad_ones_finish_and_the_three_are_named(tmp_path):
    random = np.random.default_rng(0)
    for i in range(1000):
        folder = tmp_path / "pictures" / ("ill" if i % 2 else "well")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 255, (8, 8), dtype=np.uint8)).save(folder / f"{i:04d}.png")
    bad = {"ill/0001.png": b"", "well/0500.png": b"no picture", "ill/0999.png": b"\x89PNG\r\n\x1a\n"}
    for name, content in bad.items():
        (tmp_path / "pictures" / name).write_bytes(content)
    extra = """
[[site]]
name = "dorn"
trust = "open"
[[site.dataset]]
format = "folder"
task = "noise"
root = "pictures"
"""
    done = run(write_small_federation(tmp_path, extra=extra))
    assert "dorn/noise" in tasks(done.catalogue)
    assert sorted(problem.image for problem in done.problems) == sorted(bad)
    assert all(problem.text for problem in done.problems)


def edited(path, pattern, replacement):
    text = path.read_text()
    assert re.search(pattern, text)
    path.write_text(re.sub(pattern, replacement, text, count=1))


@pytest.mark.parametrize(
    ("pattern", "replacement", "error", "message"),
    [
        ('weights_sha256 = "..', 'weights_sha256 = "00', ExtractorError, "SHA-256|sha256"),
        ('file = "anna.npz"', 'file = "nowhere.npz"', ConfigError, "anna/digits.*nowhere.npz"),
        ('weights_sha256 = "[0-9a-f]+"', "", ConfigError, "space: sha256|needs its sha256"),
        ("seed = 0|bins = 20", "bins = 20\nseed = -1", ConfigError, "space.seed"),
        ('name = "bern"', 'name = "anna"', ConfigError, "two sites are named 'anna'"),
        ('distance = "js"', 'distance = "closest"', ConfigError, "closest"),
        ('extractor = "lcnet_050"', 'extractor = "lcnet_05"', ExtractorError, "lcnet_05.*lcnet_050"),
        ("bins = 20", "bins = 0", ConfigError, "space.bins"),
        ("bins = 20", "bins = 20\ntolerance = 0.1", ConfigError, "tolerance has no effect where samples"),
        ("bins = 20", "bin = 20", ConfigError, "space.bin: unknown key →"),
        ('trust = "open"', 'trust = "opne"', ConfigError, "'open'"),
        (r"\[space\]", "[privacy]\neps = 0\n[space]", ConfigError, "privacy.eps"),
        (r"\[space\]", "[space", ConfigError, "not valid TOML"),
        ("bins = 20", 'bins = 20\nsketches = "histogram"', ConfigError, 'is "histogram", expected a list'),
        (
            "bins = 20",
            'bins = 20\nsketches = ["histogram", "histogram"]',
            ConfigError,
            "space.sketches: 'histogram' is named twice",
        ),
        ("bins = 20", "bins = 20\nsketches = []", ConfigError, "space.sketches: name at least one"),
        ("bins = 20", 'bins = 20\nsketches = ["cdf"]', ConfigError, "16 bins, not 20.*use bins = 2 or 4"),
        ("bins = 20", "bins = 20\nclip = 0", ConfigError, "space.clip is 0, expected more than 0"),
        ("bins = 20", 'bins = 20\nlayers = ["a", "a"]', ConfigError, "space.layers: 'a' is named twice"),
        ("bins = 20", 'bins = 20\nlayers = ["blocks.99"]', ExtractorError, "layers: .* no layer 'blocks.99'"),
        (
            'samples = "all"',
            "tolerance = 1e-300",
            ConfigError,
            "tolerance is 1e-300, expected at least 0.0001",
        ),
        ('samples = "all"', "tolerance = nan", ConfigError, "space.tolerance is nan, which is no number"),
        ('samples = "all"', "samples = true", ConfigError, "is true, expected a whole number, or 'adaptive'"),
    ],
)
def test_a_wrong_setting_is_one_clear_error_and_the_catalogue_stays(
    again, pattern, replacement, error, message
):
    edited(again, pattern, replacement)
    catalogue = again.parent / "run" / "catalogue.sqlite"
    before = catalogue.read_bytes()
    with pytest.raises(error, match=message):
        run(again)
    assert catalogue.read_bytes() == before


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((0, 8, 8), np.uint8), np.zeros(0, int), "no image|zero|0 images"),
        (np.zeros((9, 8, 8), np.uint8), np.zeros(9, int), "class"),
        (np.zeros((9, 8, 8), np.uint8), np.zeros(8, int), "9.*8|8.*9"),
    ],
)
def test_unusable_data_are_named_before_any_work(again, images, labels, message):
    np.savez(again.parent / "anna.npz", images=images, labels=labels)
    with pytest.raises(ConfigError, match=rf"anna/digits.*({message})"):
        run(again)


def test_a_damaged_space_file_is_built_again(again):
    space = again.parent / "run" / "space.safetensors"
    good = space.read_bytes()
    space.write_bytes(good[:-3])
    run(again)
    assert space.read_bytes() == good


def test_a_damaged_kept_sketch_is_made_again(again):
    (kept,) = (again.parent / "run" / "sites" / "anna" / "sketches").iterdir()
    good = kept.read_bytes()
    kept.write_bytes(good[:100])
    run(again)
    assert kept.read_bytes() == good


def test_a_full_disk_while_storing_is_one_error_and_the_old_catalogue_stays_readable(again, monkeypatch):
    before = tasks(again.parent / "run" / "catalogue.sqlite")
    monkeypatch.setattr(
        "aggregator.database._configure_file",
        lambda connection, _record: connection.execute("PRAGMA max_page_count = 1"),
    )
    file = again.parent / "anna.npz"
    content = dict(np.load(file))
    np.savez(file, images=255 - content["images"], labels=content["labels"])
    with pytest.raises(FedprintError, match=r"full.*disk space"):
        run(again)
    monkeypatch.undo()
    assert tasks(again.parent / "run" / "catalogue.sqlite") == before


def test_a_distance_that_needs_another_sketch_is_refused_before_anything_runs(tmp_path):
    path = write_small_federation(tmp_path)
    path.write_text(path.read_text().replace('distance = "js"', 'distance = "fid"'))
    with pytest.raises(ConfigError, match="'fid' needs 'moments' among the sketches"):
        FederationConfig.read(path)


def test_a_space_with_more_sketches_is_compared_by_more_distances(tmp_path):
    path = write_small_federation(tmp_path)
    sketches = 'bins = 20\nsketches = ["histogram", "mean-embedding", "moments"]'
    path.write_text(path.read_text().replace("bins = 20", sketches))
    done = run(path)
    assert done.problems == ()
    catalogue = Catalogue(done.catalogue)
    space = catalogue.latest_space()
    assert space.sketches["mean-embedding"]["bandwidth"] > 0
    (first, second) = (entry.fingerprint.bind(space) for entry in catalogue.entries(space))
    assert {sketch.n for sketch in first.sketches.values()} == {60}
    for name in ("mmd", "kld-mean-target"):
        stored = matrix.read(catalogue, space, name)
        np.testing.assert_allclose(
            stored.values, distances.get(name).matrix([first, second], [first, second]), atol=1e-10
        )
        assert stored.values[0, 1] > 0
    assert distances.get("fid").matrix([first], [second])[0, 0] > 0


def test_features_too_many_for_moments_are_one_error_before_any_image_is_looked_at(tmp_path, monkeypatch):
    def no_image(*_):
        pytest.fail("a reference image was rendered")

    monkeypatch.setattr("site_agent.reference_corpus.reference_images", no_image)
    path = write_small_federation(tmp_path)
    layers = 'bins = 20\nsketches = ["histogram", "moments"]\nlayers = ["conv_head", "features"]'
    path.write_text(path.read_text().replace("bins = 20", layers))
    with pytest.raises(SpaceError, match=r"moments of 2560 features .* only 2048 .* fewer or other layers"):
        run(path)


def test_layers_of_the_federation_file_become_the_features_everywhere(tmp_path):
    path = write_small_federation(tmp_path)
    text = path.read_text().replace("image_size = 32", 'image_size = 32\nlayers = ["blocks.0", "features"]')
    path.write_text(text.replace('distance = "js"', 'distance = "sinkhorn"'))
    done = run(path)
    space = Catalogue(done.catalogue).latest_space()
    assert (space.extractor.layers, space.n_features) == (("blocks.0", "features"), 16 + 1280)
    assert (tasks(done.catalogue), done.problems) == (["anna/digits", "bern/digits"], ())
    ranking = json.loads((site_folder(tmp_path, "cork") / "rankings" / "digits.json").read_bytes())
    assert ranking[0]["source"] == "anna/digits"
