"""``python -m aggregator.migrations "What it changes" --revision 0002``: write a migration to the schema."""

import argparse
import tempfile
from pathlib import Path

from alembic import command

from aggregator.catalogue_place import CataloguePlace
from aggregator.database import Database
from aggregator.migration import configuration


def main() -> None:
    """Bring an empty catalogue up to the last migration and compare it with the schema."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("message", help="what it changes, without a full stop")
    parser.add_argument("--revision", required=True, help="its number, such as 0002")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        database = Database(CataloguePlace.of(Path(folder) / "catalogue.sqlite"), create=True)
        with database.changing_tables() as connection:
            config = configuration(connection)
            command.upgrade(config, "head")
            command.revision(config, arguments.message, autogenerate=True, rev_id=arguments.revision)
        database.close()


if __name__ == "__main__":
    main()
