"""Editing a configuration file: the description changes and nothing else does."""

import stat
import tomllib

import pytest

from federation.errors import ConfigError, StoreError, UnknownNameError
from federation.expert_properties import ExpertProperties
from site_agent.config import SiteConfig
from site_agent.description import config_text
from site_agent.description.answers import Description
from site_agent.description.config_text import ConfigText

SITE = """# our site
name = "anna"   # as agreed
trust = "open"

[[dataset]]
format = "folder"
task = "cxr"
root = "cxr"
modality = "xray"  # to be corrected
licence = "CC BY 4.0"

# the second one
[[dataset]]
format = "folder"
task = "skin"
root = "skin"
"""
FEDERATION = """[consortium]
name = "C"
output = "runs/c"

[[site]]
name = "bern"
    [[site.dataset]]
    format = "folder"
    task = "skin"
    root = "skin"
    # columns stay
    licence = "x"

# next
[[site]]
name = "cork"
    [[site.dataset]]
    format = "folder"
    task = "skin"
    root = "other"
"""
SAID = Description("chest X-ray", "chest", ("x-ray", "lung"), ExpertProperties(subject="body", cue="texture"))


@pytest.fixture
def site_file(tmp_path):
    path = tmp_path / "site.toml"
    path.write_text(SITE)
    return path


@pytest.fixture
def federation_file(tmp_path):
    path = tmp_path / "federation.toml"
    path.write_text(FEDERATION)
    return path


def test_keys_are_replaced_or_added_and_comments_stay_where_they_were(site_file):
    text = ConfigText.read(site_file)
    text.write(text.described("cxr", SAID))
    expected = SITE.replace('modality = "xray"', 'modality = "chest X-ray"').replace(
        'licence = "CC BY 4.0"\n',
        'licence = "CC BY 4.0"\nbody_part = "chest"\nkeywords = ["x-ray", "lung"]\n'
        'properties = {subject = "body", cue = "texture"}\n',
    )
    assert site_file.read_text() == expected
    card = SiteConfig.read(site_file).dataset[0].card(1, {})
    assert (card.keywords, card.properties) == (SAID.keywords, SAID.properties)


def test_describing_again_the_same_way_changes_no_byte(site_file):
    text = ConfigText.read(site_file)
    text.write(text.described("cxr", SAID))
    again = ConfigText.read(site_file)
    assert again.described("cxr", SAID) == again.content


def test_what_is_no_longer_said_is_removed(site_file):
    text = ConfigText.read(site_file)
    assert tomllib.loads(text.described("cxr", Description()).decode())["dataset"][0].keys() == {
        *("format", "task", "root", "licence")
    }


def test_only_the_chosen_site_of_a_federation_changes(federation_file):
    text = ConfigText.read(federation_file, "bern")
    changed = text.described("skin", SAID).decode()
    added = [line for line in changed.splitlines() if line not in FEDERATION.splitlines()]
    assert added == [
        '    modality = "chest X-ray"',
        '    body_part = "chest"',
        '    keywords = ["x-ray", "lung"]',
        '    properties = {subject = "body", cue = "texture"}',
    ]
    assert changed.index("properties") < changed.index("# next")
    assert text.site.state == federation_file.parent / "runs/c/sites/bern"
    assert text.site.dataset[0].root == federation_file.parent / "skin"


def test_a_site_is_chosen_where_there_are_several(federation_file, site_file):
    with pytest.raises(
        UnknownNameError, match=r"names several sites → choose with --site one of: bern, cork"
    ):
        ConfigText.read(federation_file)
    with pytest.raises(UnknownNameError, match="no site 'rome'"):
        ConfigText.read(federation_file, "rome")
    with pytest.raises(UnknownNameError, match="describes site anna, not bern"):
        ConfigText.read(site_file, "bern")


def test_a_file_that_someone_else_changed_meanwhile_is_left_alone(site_file):
    text = ConfigText.read(site_file)
    site_file.write_text(SITE + "# mine\n")
    with pytest.raises(StoreError, match="changed meanwhile"):
        text.write(text.described("cxr", SAID))
    assert site_file.read_text() == SITE + "# mine\n"


def test_permissions_and_links_survive(site_file, tmp_path):
    site_file.chmod(0o640)
    link = tmp_path / "link.toml"
    link.symlink_to(site_file)
    text = ConfigText.read(link)
    text.write(text.described("cxr", SAID))
    assert link.is_symlink()
    assert "x-ray" in site_file.read_text()
    assert stat.S_IMODE(site_file.stat().st_mode) == 0o640


@pytest.mark.parametrize(
    "table",
    [
        '[[dataset]]\nformat = "csv"\ntask = "cxr"\ntable = "a.csv"\n[dataset.columns]\npath = "p"\n',
        '[[dataset]]\nformat = "csv"\ntask = "cxr"\ntable = "a.csv"\n[dataset.properties]\ncue = "shape"\n'
        '[dataset.columns]\npath = "p"\n',
        'dataset = [{ format = "folder", task = "cxr", root = "x" }]\n',
        '[[dataset]]\r\nformat = "folder"\r\ntask = "cxr"\r\nroot = "x"\r\n',
    ],
)
def test_other_layouts_read_back_as_meant(tmp_path, table):
    path = tmp_path / "site.toml"
    path.write_bytes(f'name = "anna"\n{table}'.encode())
    path.write_bytes(ConfigText.read(path).described("cxr", SAID))
    card = SiteConfig.read(path).dataset[0].card(1, {})
    assert (card.modality, card.keywords, card.properties) == (SAID.modality, SAID.keywords, SAID.properties)


def test_an_edit_that_would_change_anything_else_is_refused(site_file, monkeypatch):
    monkeypatch.setattr(config_text, "_put", lambda table, stated: table.update(stated, root="elsewhere"))
    with pytest.raises(StoreError, match=r"cannot be edited safely → write these keys into the dataset cxr"):
        ConfigText.read(site_file).described("cxr", SAID)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"\xff", "is not UTF-8"),
        (b"[[dataset", "is not valid TOML"),
        (b'name = "anna"', "dataset is missing"),
        (None, "cannot be read"),
    ],
)
def test_a_wrong_file_is_one_error(tmp_path, content, complaint):
    path = tmp_path / "site.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=complaint):
        ConfigText.read(path)
