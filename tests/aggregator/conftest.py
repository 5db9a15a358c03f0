import pytest

from aggregator.catalogue_place import CataloguePlace


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request, tmp_path):
    """Where a new catalogue may be: in a file, and on a server."""
    if request.param == "sqlite":
        return tmp_path / "catalogue.sqlite"
    return CataloguePlace.of(request.getfixturevalue("postgresql_url"), tmp_path)
