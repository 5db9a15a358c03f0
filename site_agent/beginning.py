"""The first files of a site."""

from pathlib import Path

from federation.errors import ConfigError
from federation.files import create_atomically
from federation.identity import Identity
from federation.names import check_name
from site_agent.policy import POLICY_FILE
from site_agent.state import SiteState

_TEMPLATES = {"site.toml": "site.example.toml", POLICY_FILE: "policy.example.toml"}
_EXAMPLE_NAME = "st-anna"


def begin_site(folder: Path, name: str) -> Identity:
    """Write a commented site file and policy, make the signing key, and return the site's identity.

    Args:
        folder: Where the files go; it is made where it is missing.
        name: Name of the site.

    Raises:
        ConfigError: If the name is not allowed or a file is there already; nothing is written then.
        StoreError: If a file cannot be written.
    """
    check_name("site", name)
    for file in _TEMPLATES:
        if (folder / file).exists():
            raise ConfigError(f"{folder / file} exists already", remedy="choose another folder or remove it")
    for file in _TEMPLATES:
        create_atomically(folder / file, template_text(file, name).encode())
    return Identity.load_or_create(name, SiteState(folder / "state").key_path)


def template_text(file: str, name: str) -> str:
    """Return the commented example of a site's file.

    Args:
        file: ``site.toml`` or ``policy.toml``.
        name: Name of the site.
    """
    text = (Path(__file__).parent / _TEMPLATES[file]).read_text("utf-8")
    return text.replace(f'"{_EXAMPLE_NAME}"', f'"{name}"')
