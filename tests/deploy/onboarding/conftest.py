"""A hub that invites."""

import pytest
from onboarded import Guests, founded


@pytest.fixture
def guests(tmp_path):
    """A hub and an empty place for sites."""
    return Guests(founded(tmp_path / "hub"), tmp_path)
