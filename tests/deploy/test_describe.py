"""``fedprint site describe`` as a person meets it."""

import io
import sys
import tomllib

import numpy as np
import pytest

from deploy import cli

ANSWERS = ["CT", "head", "ct, bone", "1", "grey", "", "o", "p", "shape"]


@pytest.fixture
def site_file(tmp_path):
    images = np.random.default_rng(0).integers(0, 255, (12, 8, 8)).astype(np.uint8)
    np.savez(tmp_path / "head.npz", images=images, labels=np.arange(12) % 2)
    path = tmp_path / "site.toml"
    datasets = "".join(
        f'[[dataset]]\nformat = "npz"\ntask = "{task}"\nfile = "head.npz"\n' for task in ("head", "skull")
    )
    path.write_text(f'name = "anna"\n{datasets}')
    return path


@pytest.fixture
def describe(monkeypatch, capsys):
    def run(*arguments, typed=()):
        monkeypatch.setattr(sys, "argv", ["fedprint", "site", "describe", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in typed)))
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        captured = capsys.readouterr()
        return stopped.value.code, captured.out, captured.err

    return run


def first_dataset(path):
    return tomllib.loads(path.read_text())["dataset"][0]


def test_answers_are_written_after_showing_what_will_be_public(describe, site_file):
    status, out, _ = describe(site_file, "--task", "head", typed=[*ANSWERS, "y"])
    assert status == 0
    assert 'keywords: ["ct", "bone"]' in out
    assert 'classes: {"0": 6, "1": 6}' in out
    said = first_dataset(site_file)
    assert (said["modality"], said["body_part"], said["keywords"]) == ("CT", "head", ["ct", "bone"])
    assert said["properties"] == {
        "subject": "body",
        "colour": "grey",
        "objects": "one",
        "background": "plain",
        "cue": "shape",
    }
    assert (site_file.parent / "state/contact-sheets/head.png").read_bytes().startswith(b"\x89PNG")


def test_enter_keeps_what_was_said_before(describe, site_file):
    describe(site_file, "--task", "head", typed=[*ANSWERS, "y"])
    before = site_file.read_text()
    status, _, _ = describe(site_file, "--task", "head", typed=[""] * len(ANSWERS) + ["y"])
    assert (status, site_file.read_text()) == (0, before)


def test_a_no_changes_nothing(describe, site_file):
    before = site_file.read_bytes()
    status, out, _ = describe(site_file, "--task", "head", typed=[*ANSWERS, "n"])
    assert (status, site_file.read_bytes()) == (0, before)
    assert "nothing was changed" in out


@pytest.mark.parametrize("stop", [KeyboardInterrupt, EOFError])
def test_an_interrupt_changes_nothing(describe, site_file, monkeypatch, stop):
    class Interrupted(io.StringIO):
        def readline(self, *_):
            raise stop

    before = site_file.read_bytes()
    monkeypatch.setattr(io, "StringIO", Interrupted)
    status, _, _ = describe(site_file, "--task", "head")
    assert (status, site_file.read_bytes()) == (cli.INTERRUPTED, before)


def test_every_task_is_asked_for_by_default(describe, site_file):
    status, _, _ = describe(site_file, typed=[*ANSWERS, "y", *ANSWERS, "y"])
    assert status == 0
    assert [d["modality"] for d in tomllib.loads(site_file.read_text())["dataset"]] == ["CT", "CT"]


def test_the_help_shows_how_a_rater_begins(describe):
    status, out, _ = describe("--help")
    assert status == 0
    assert "a table `rater` per person" in " ".join(out.replace("│", " ").split())


def test_answers_that_are_wrong_do_not_send_the_reader_to_a_federation_file(describe, site_file, tmp_path):
    answers = tmp_path / "answers.toml"
    answers.write_text("[[rater]]\nmodality = 3\n")
    status, _, err = describe(site_file, "--task", "head", "--answers", answers)
    assert status == 1
    assert "rater[#1].modality is 3, expected a text → correct the file" in " ".join(err.split())
    assert "init simulation" not in err


def test_several_raters_agree_without_questions(describe, site_file, tmp_path):
    answers = tmp_path / "answers.toml"
    answers.write_text(
        '[[rater]]\nmodality = "CT"\nproperties = { cue = "shape" }\n'
        '[[rater]]\nmodality = "MRI"\nproperties = { cue = "shape" }\n'
        '[[rater]]\nmodality = "ct"\nproperties = { cue = "colour" }\n'
    )
    status, _, _ = describe(site_file, "--task", "head", "--answers", answers, "--yes")
    said = first_dataset(site_file)
    assert (status, said["modality"], said["properties"]) == (0, "CT", {"cue": "shape"})


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (("--task", "knee"), "site anna has no task 'knee'"),
        (("--answers", "answers.toml"), "describes one task, and 2 are meant"),
        (("--site", "bern"), "describes site anna, not bern"),
    ],
)
def test_wrong_choices_are_one_error(describe, site_file, extra, message):
    status, _, err = describe(site_file, *extra)
    assert status == 1
    assert message in " ".join(err.split())
