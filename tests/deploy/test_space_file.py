"""``[space] file = …``: a simulation works in the space of a file, or says why it cannot."""

import shutil
from dataclasses import replace

import pytest
from factories import make_space
from rich.console import Console
from small_federation import write_small_federation

from aggregator.store import Catalogue
from deploy.federation_file import FederationConfig
from deploy.progress_display import ProgressDisplay
from deploy.simulation import prepare, simulate
from federation.errors import ConfigError, ExtractorError, SpaceMismatchError
from federation.space import Space

BUILT = 'extractor = "lcnet_050"\n'
KEYS = ("image_size = 32\n", "reference_images = 100\n", "bins = 20\n")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A prepared federation and the space that it built."""
    folder = tmp_path_factory.mktemp("built")
    path = write_small_federation(folder)
    prepare(FederationConfig.read(path))
    return path, Space.from_bytes((folder / "run" / "space.safetensors").read_bytes())


@pytest.fixture
def with_file(built, tmp_path):
    """The same federation, which reads a space with halved edges from a file beside it."""
    shutil.copytree(built[0].parent, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "run")
    space = replace(built[1], edges=built[1].edges / 2, reference="halved")
    (tmp_path / "halved.safetensors").write_bytes(space.to_bytes())
    path = tmp_path / "federation.toml"
    text = path.read_text().replace(BUILT, 'file = "halved.safetensors"\n')
    for key in KEYS:
        text = text.replace(key, "")
    path.write_text(text)
    return path, space


def edited(path, old, new):
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_a_simulation_fingerprints_in_the_space_of_the_file(with_file):
    path, space = with_file
    done = simulate(FederationConfig.read(path), ProgressDisplay(Console(quiet=True)))
    assert done.problems == ()
    assert Catalogue(done.catalogue).latest_space() == space


def test_the_file_says_network_bins_and_sketches(with_file):
    path, space = with_file
    config = FederationConfig.read(path).space
    assert (config.bins, config.binning, config.sketches) == (20, "equal-width", ("histogram",))
    assert (config.extractor, config.image_size) == (space.extractor.name, 32)
    assert config.file == path.parent / "halved.safetensors"


def test_keys_may_repeat_what_the_file_says(with_file):
    path, _ = with_file
    edited(path, 'file = "halved', 'bins = 20\nsketches = ["histogram"]\nfile = "halved')
    assert FederationConfig.read(path).space.bins == 20


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("bins = 10", "bins is 10, but the space in halved.safetensors has 20"),
        ('binning = "skewed"', "binning is 'skewed'"),
        ('sketches = ["cdf"]', r"sketches is \['cdf'\]"),
        ('extractor = "resnet18"', "extractor is 'resnet18'"),
        ("image_size = 64", "image_size is 64"),
        ("private = true", "private is given beside file"),
        ("reference_images = 200", "reference_images is given beside file"),
        ("fisher = { clip = 1.0 }", "fisher is given beside file"),
    ],
)
def test_keys_that_contradict_the_file_are_refused(with_file, key, message):
    path, _ = with_file
    edited(path, 'file = "halved', f'{key}\nfile = "halved')
    with pytest.raises(ConfigError, match=f"federation.toml: space: {message}"):
        FederationConfig.read(path)


def test_a_distance_that_the_file_has_no_sketches_for_is_refused(with_file):
    path, _ = with_file
    edited(path, 'distance = "js"', 'distance = "cdf-l2"')
    with pytest.raises(ConfigError, match="'cdf-l2' needs 'cdf' among the sketches"):
        FederationConfig.read(path)


def test_weights_of_another_network_are_refused_before_anything_is_written(with_file):
    path, space = with_file
    other = replace(space, extractor=replace(space.extractor, weights_sha256="00" * 32))
    (path.parent / "halved.safetensors").write_bytes(other.to_bytes())
    with pytest.raises(SpaceMismatchError, match=r"weights_sha256 is .*, expected 000000"):
        prepare(FederationConfig.read(path))
    assert not (path.parent / "run").exists()


def test_a_file_that_is_missing_or_no_space_is_one_clear_error(with_file):
    path, _ = with_file
    (path.parent / "halved.safetensors").write_bytes(b"nothing")
    with pytest.raises(ConfigError, match="space"):
        FederationConfig.read(path)
    (path.parent / "halved.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"halved\.safetensors"):
        FederationConfig.read(path)
    edited(path, 'file = "halved.safetensors"', "file = 3")
    with pytest.raises(ConfigError, match=r"space\.file is 3, expected a path"):
        FederationConfig.read(path)


def test_a_space_of_a_network_nobody_knows_is_refused_by_name(with_file):
    path, _ = with_file
    (path.parent / "halved.safetensors").write_bytes(make_space().to_bytes())
    with pytest.raises(ExtractorError, match="tiny"):
        prepare(FederationConfig.read(path))
