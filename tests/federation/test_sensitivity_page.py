"""docs/privacy-sensitivity.md names tests that exist, and docstrings that point to it find their section."""

import re
from pathlib import Path

import pytest

from federation.sketches.kinds import KINDS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/privacy-sensitivity.md").read_text()


def test_every_test_that_the_page_names_exists():
    written = {
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)\(", file.read_text())
    }
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert named
    assert named <= written


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_declared_sensitivity_of_a_kind_points_to_its_derivation(kind):
    headings = re.findall(r"^## (.+)$", PAGE, flags=re.MULTILINE)
    sections = {heading.lower().replace(" ", "-") for heading in headings}
    (section,) = re.findall(r"privacy-sensitivity\.md#([\w-]+)", KINDS[kind].sensitivity.__doc__)
    assert section in sections
