"""The demo consortium: real pictures, honest labels, no pixel shared between sites."""

import hashlib
from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deploy.demo_images import DemoSite, DemoTask, pictures, write_demo_consortium
from deploy.demo_images.holdings import HOLDINGS
from deploy.demo_images.patches import LabelRule, Patch, Region, labelled_patches, spread
from federation.errors import ConfigError, DataError
from federation.names import check_name

# Cut from lossless files only, so these hold for every JPEG decoder.
PIXELS = {
    "alderbrook/colon-glands": "7a11d977ccd889fb",
    "alderbrook/form-digits-low": "b47f5c53d8e7ac59",
    "dunhaven/printed-letters": "ccea228183e524b7",
    "elmcaster/head-ct-soft": "e64f09f9c046153f",
    "fennimoor/abdomen-mr": "0c097f23c3eb4d9a",
    "larkmere/walking-surface-far": "301349d3eb965227",
}


@pytest.fixture(scope="module")
def consortium(tmp_path_factory: pytest.TempPathFactory) -> list[DemoSite]:
    return write_demo_consortium(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def patches() -> dict[str, list[Patch]]:
    return {f"{held.site}/{held.task}": held.patches() for held in HOLDINGS}


def _tasks(consortium: list[DemoSite]) -> dict[str, DemoTask]:
    return {f"{site.site}/{task.task}": task for site in consortium for task in site.tasks}


def _digest(files: list[Path]) -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in sorted(files))).hexdigest()


def test_consortium_has_ten_sites_and_fourteen_tasks_with_valid_names(consortium: list[DemoSite]) -> None:
    assert len(consortium) == 10
    assert len(_tasks(consortium)) == 14
    for site in consortium:
        assert check_name("site", site.site) == site.site
        assert all(check_name("task", task.task) for task in site.tasks)


def test_every_task_says_what_it_is_and_under_which_licence(consortium: list[DemoSite]) -> None:
    for task in _tasks(consortium).values():
        texts = (task.title, task.modality, task.body_part, task.licence, task.what_it_is)
        assert all(texts), task.task
        assert len(task.keywords) >= 3


def test_every_task_holds_150_images_in_equal_classes(consortium: list[DemoSite]) -> None:
    for name, task in _tasks(consortium).items():
        counts = Counter(file.parent.name for file in task.folder.rglob("*.png"))
        assert sum(counts.values()) == 150, name
        assert len(set(counts.values())) == 1, (name, counts)
        assert len(counts) in (2, 3, 5), name


def test_every_file_is_a_readable_square_png_with_some_contrast(consortium: list[DemoSite]) -> None:
    for task in _tasks(consortium).values():
        for file in sorted(task.folder.rglob("*.png"))[::25]:
            with Image.open(file) as image:
                assert image.format == "PNG"
                assert image.mode in ("L", "RGB")
                assert image.width == image.height >= 32
                assert np.ptp(np.asarray(image)) > 0


def test_twins_are_mutual_and_live_at_different_sites(consortium: list[DemoSite]) -> None:
    tasks = _tasks(consortium)
    paired = {name: task.twin for name, task in tasks.items() if task.twin}
    assert len(paired) == 12
    for name, twin in paired.items():
        assert paired[twin] == name
        assert twin.split("/")[0] != name.split("/")[0]


def test_no_two_tasks_share_a_pixel(patches: dict[str, list[Patch]]) -> None:
    for one, other in combinations(patches, 2):
        places: dict[str, list[Region]] = {}
        for patch in patches[other]:
            places.setdefault(patch.source, []).append(patch.region)
        for patch in patches[one]:
            shared = [r for r in places.get(patch.source, ()) if r.overlaps(patch.region)]
            assert not shared, (one, other, patch.name)


def test_no_task_holds_the_same_patch_twice(patches: dict[str, list[Patch]]) -> None:
    for name, own in patches.items():
        assert len({patch.name for patch in own}) == len(own), name


@pytest.mark.parametrize("name", sorted(PIXELS))
def test_pixels_and_labels_are_the_pinned_ones(name: str, patches: dict[str, list[Patch]]) -> None:
    digest = hashlib.sha256()
    for patch in patches[name]:
        digest.update(f"{patch.label}/{patch.name}".encode() + patch.pixels.tobytes())
    assert digest.hexdigest()[:16] == PIXELS[name]


def test_writing_again_into_the_same_folder_changes_no_byte(consortium: list[DemoSite]) -> None:
    root = consortium[0].tasks[0].folder.parents[1]
    files = list(root.rglob("*.png"))
    before = _digest(files)
    write_demo_consortium(root)
    assert _digest(list(root.rglob("*.png"))) == before


def test_a_folder_with_other_pictures_is_refused_and_left_alone(tmp_path: Path) -> None:
    stranger = tmp_path / "alderbrook" / "colon-glands" / "mine.png"
    stranger.parent.mkdir(parents=True)
    stranger.write_bytes(b"mine")
    with pytest.raises(DataError, match=r"already holds 1 other pictures.*mine\.png.*empty folder"):
        write_demo_consortium(tmp_path)
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [stranger]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    with pytest.raises(DataError, match=r"cannot write the demo images to .*file"):
        write_demo_consortium(blocked)


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pictures, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r'scikit-image.*pip install "fedprint\[demo\]"'):
        pictures.packaged_file("scikit-image", "ihc.png")


def test_a_package_without_the_picture_is_named() -> None:
    with pytest.raises(ConfigError, match=r"scikit-learn does not hold the demo picture absent\.csv"):
        pictures.packaged_file("scikit-learn", "absent.csv")


def test_a_patch_that_earns_two_labels_or_none_is_left_out() -> None:
    left, right = np.zeros((4, 12), dtype=bool), np.zeros((4, 12), dtype=bool)
    left[:, :8], right[:, 4:8] = True, True
    rules = [LabelRule("left", left, at_least=0.9), LabelRule("right", right, at_least=0.9)]
    pixels = np.zeros((4, 12), dtype=np.uint8)
    found = labelled_patches("bar", pixels, Region(0, 0, 4, 12), 4, 4, rules)
    assert [(patch.label, patch.region.left) for patch in found] == [("left", 0)]


def test_spread_takes_the_farthest_patches_of_every_class() -> None:
    pixels = np.zeros((1, 1), dtype=np.uint8)
    row = [Patch(pixels, "a", "bar", Region(0, left, 1, left + 1)) for left in (0, 1, 5, 9, 10)]
    assert [patch.region.left for patch in spread(row, per_class=3)] == [0, 5, 10]
