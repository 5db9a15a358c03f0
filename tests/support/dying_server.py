"""Kills a PostgreSQL server at one of the moments at which an aggregator uses it."""

from contextlib import contextmanager

from aggregator import database
from aggregator.database import Database
from federation.errors import StoreError


class DyingServer:
    """Counts the moments of every writing transaction (begun, about to commit, committed) and of readings."""

    def __init__(self, server, monkeypatch):
        self._server = server
        self._counted, self._at = 0, None
        writing, read = Database.writing, Database.read

        @contextmanager
        def counted_writing(own):
            with writing(own) as connection:
                self._moment()
                yield connection
                self._moment()
            self._moment()

        def counted_read(own, work):
            self._moment()
            return read(own, work)

        monkeypatch.setattr(database, "PATIENCE_S", 0.0)
        monkeypatch.setattr(Database, "writing", counted_writing)
        monkeypatch.setattr(Database, "read", counted_read)

    def until_done(self, job):
        """Do a job again and again, the server dying one moment later each time.

        Returns what the job returned at last, and the texts of all errors before.
        """
        errors = []
        while True:
            self._counted, self._at = 0, len(errors) + 1
            try:
                return job(), errors
            except StoreError as error:
                errors.append(str(error))
            finally:
                self._at = None
                self._server.revive()

    def _moment(self):
        self._counted += 1
        if self._counted == self._at:
            self._server.kill()
