"""What the pages on deployment name exists: commands, files, tests, metrics."""

import re
from pathlib import Path

import pytest
import typer
from deploy_tools import DEPLOY

from aggregator.operations import collector as hub_collector
from deploy.cli import app
from federation.operations import families
from site_agent.operations import collector as site_collector

ROOT = DEPLOY.parent
PAGES = ("deploy.md", "production-checklist.md", "security.md")


def page(name):
    return (ROOT / "docs" / name).read_text()


def commands():
    """Every command of the command line, as ``hub init``."""
    group = typer.main.get_command(app)
    return {f"{side} {name}" for side in ("hub", "site") for name in group.commands[side].commands}


@pytest.mark.parametrize("name", PAGES)
def test_commands_exist(name):
    said = set(re.findall(r"(?:fedprint |`|\$ |^    )((?:hub|site) [a-z][a-z-]+)", page(name), re.MULTILINE))
    assert not said - commands() - {"site site"}


@pytest.mark.parametrize("name", PAGES)
def test_options_exist(name):
    group = typer.main.get_command(app)
    for side, command, rest in re.findall(r"(?:fedprint |\$ |`)(hub|site) ([a-z-]+)([^`\n]*)", page(name)):
        known = group.commands[side].commands[command]
        options = {option for parameter in known.params for option in parameter.opts}
        assert not set(re.findall(r"--[a-z][a-z-]+", rest)) - options - {"--help"}, (command, rest)


@pytest.mark.parametrize("name", PAGES)
def test_files_and_tests_exist(name):
    text = page(name)
    for path, test in re.findall(r"`((?:tests|deploy|docs)/[\w./-]+)(?:::(\w+))?`", text):
        place = ROOT / path
        assert place.exists(), path
        assert not test or f"def {test}(" in place.read_text(), test


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name):
    for target, anchor in re.findall(r"\]\(([\w.-]*)(?:#([\w-]+))?\)", page(name)):
        text = page(target or name)
        headings = {
            re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
            for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        }
        assert not anchor or anchor in headings, (target, anchor)


def test_metrics_exist():
    modules = (hub_collector, site_collector, families)
    sources = "".join(Path(module.__file__).read_text() for module in modules)
    for name in re.findall(r"`(fedprint_[a-z_]+)", page("deploy.md")):
        known = name.removesuffix("_total")
        assert known in sources, name
