"""What every page has in common: one file, its own style and script, nothing fetched, every text escaped."""

import base64
import hashlib
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined

from aggregator.report import words


def content_security_policy(style: str, script: str | None = None) -> str:
    """Return the policy that allows this style and this script and nothing else at all.

    Args:
        style: Text of the page's only ``<style>``.
        script: Text of the page's only executable ``<script>``, if it has one.
    """
    scripts = "" if script is None else f"script-src '{_hash_source(script)}'; "
    return (
        f"default-src 'none'; style-src '{_hash_source(style)}'; {scripts}base-uri 'none'; form-action 'none'"
    )


@cache
def asset(name: str) -> str:
    """Return the text of a file among the templates."""
    return files("aggregator.report").joinpath("templates", name).read_text("utf-8").strip()


@cache
def environment() -> Environment:
    """Return the environment in which pages are rendered."""
    made = Environment(
        loader=PackageLoader("aggregator.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=words.without_controls,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        {
            "count": words.say_count,
            "time": words.say_time,
            "sentence": words.sentence,
            "shorten": words.shorten,
        }
    )
    made.globals["plural"] = words.say_plural
    return made


def _hash_source(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
