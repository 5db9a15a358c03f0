"""``fedprint space calibrate``: a space from public images, or one that follows a cohort."""

import json
import sys

import pytest
from small_federation import write_small_federation

from deploy import cli
from federation.space import Space


@pytest.fixture
def fedprint(monkeypatch, capsys):
    """Run ``fedprint`` with arguments; returns exit status, standard output and standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["fedprint", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        captured = capsys.readouterr()
        return stopped.value.code, captured.out, captured.err

    return run


def read_space(path):
    return Space.from_bytes(path.read_bytes())


def test_without_a_cohort_the_space_is_the_one_that_a_simulation_builds(fedprint, tmp_path):
    path = write_small_federation(tmp_path)
    status, out, _ = fedprint("space", "calibrate", path, "--out", tmp_path / "public.safetensors")
    assert status == 0
    assert "edges follow the public reference alone" in out
    assert "file = …" in out
    assert fedprint("simulate", path)[0] == 0
    built = read_space(tmp_path / "run" / "space.safetensors")
    assert read_space(tmp_path / "public.safetensors") == built
    assert built.space_id in out


def test_bins_and_binning_may_differ_from_the_file(fedprint, tmp_path):
    path, out = write_small_federation(tmp_path), tmp_path / "space"
    arguments = ("space", "calibrate", path, "--out", out, "--bins", 4, "--binning", "equal-mass", "--json")
    status, text, err = fedprint(*arguments)
    assert (status, err) == (0, "")
    found = json.loads(text)
    space = read_space(out)
    assert (space.n_bins, space.binning) == (4, "equal-mass")
    assert (found["space_id"], found["bins"], found["pooled"]) == (space.space_id, 4, None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--binning", "round"), "binning is \"round\", expected 'equal-width', 'equal-mass' or 'skewed'"),
        (("--bins", 1), "bins is 1, expected at least 2"),
        (("--federated", "ward"), "no cohort 'ward'; it has: none"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused_in_one_sentence(fedprint, tmp_path, arguments, message):
    path, out = write_small_federation(tmp_path), tmp_path / "space"
    status, _, err = fedprint("space", "calibrate", path, "--out", out, *arguments)
    assert status == 1
    assert message in " ".join(err.split())
    assert not out.exists()


def test_a_space_file_that_exists_is_not_replaced(fedprint, tmp_path):
    path, out = write_small_federation(tmp_path), tmp_path / "space"
    out.write_bytes(b"of somebody")
    status, _, err = fedprint("space", "calibrate", path, "--out", out)
    assert (status, out.read_bytes()) == (1, b"of somebody")
    assert "exists already" in err


def test_a_space_that_is_read_from_a_file_is_not_calibrated(fedprint, tmp_path):
    path = write_small_federation(tmp_path)
    fedprint("space", "calibrate", path, "--out", tmp_path / "space")
    text = path.read_text()
    for key in ('extractor = "lcnet_050"\n', "image_size = 32\n", "reference_images = 100\n", "bins = 20\n"):
        text = text.replace(key, "")
    path.write_text(text.replace("[space]\n", '[space]\nfile = "space"\n'))
    status, _, err = fedprint("space", "calibrate", path, "--out", tmp_path / "other")
    assert status == 1
    assert "names the file space" in " ".join(err.split())
