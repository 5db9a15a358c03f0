"""A throw-away PostgreSQL server from Debian's binaries, on a Unix socket, with a database for every test."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

import psycopg

SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "60",
    "log_min_messages": "fatal",
}


def binaries() -> Path | None:
    """Return the folder of the newest server's programs, None where none is installed."""
    found = [*Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    on_path = shutil.which("postgres")
    newest = sorted(found, key=lambda path: float(path.parent.parent.name))
    if newest:
        return newest[-1].parent
    return Path(on_path).parent if on_path else None


class PostgresqlServer:
    """One server; files and socket lie in a folder of its own, with a short name that sockets need."""

    def __init__(self, programs: Path):
        self._programs = programs
        self._owner = _another_user()
        self.folder = Path(tempfile.mkdtemp(prefix="fedprint-pg-"))
        if self._owner is not None:
            os.chown(self.folder, self._owner.pw_uid, self._owner.pw_gid)
        self._process: subprocess.Popen[bytes] | None = None
        # The locale of the machine, where there is one: it orders text in another way than code points do.
        locale = "en_US.UTF-8" if "en_US.utf8" in _locales() else "C.UTF-8"
        options = ["--no-sync", "--auth", "trust", "--encoding", "UTF8", "--locale", locale]
        self._run("initdb", "--pgdata", str(self._data), "--username", "tester", *options)

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def start(self) -> None:
        settings = [part for key, value in SETTINGS.items() for part in ("-c", f"{key}={value}")]
        command = [self._programs / "postgres", "-D", self._data, "-k", self.folder, *settings]
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(command, stderr=log, start_new_session=True, **self._as_owner())
        self._wait_until_it_answers()

    def kill(self) -> None:
        """Let the server and everything it began die at once, as in a power failure."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._kill_its_children()
            self._process.wait()
            self._process = None

    def revive(self) -> None:
        """Start the server if it was killed."""
        if self._process is None:
            self.start()

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def new_database(self) -> str:
        """Make an empty database and return its URL."""
        name = f"t{uuid.uuid4().hex[:12]}"
        with self._connected() as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        return self.url(name)

    def url(self, name: str) -> str:
        return f"postgresql+psycopg://tester@/{name}?host={self.folder}"

    def drop(self, url: str) -> None:
        name = url.split("@/")[1].split("?")[0]
        with self._connected() as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def kill_connections(self, url: str) -> None:
        """End every connection to a database, as an administrator or a restart would."""
        name = url.split("@/")[1].split("?")[0]
        with self._connected() as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
            )

    def _connected(self):
        return psycopg.connect(host=str(self.folder), user="tester", dbname="postgres", autocommit=True)

    def _wait_until_it_answers(self) -> None:
        until = time.monotonic() + 60
        while True:
            try:
                self._connected().close()
            except psycopg.OperationalError:
                if time.monotonic() > until or self._process.poll() is not None:
                    raise
                time.sleep(0.05)
            else:
                return

    def _kill_its_children(self) -> None:
        """Its processes lead groups of their own; they hold the memory that a new start needs."""
        for status in Path("/proc").glob("[0-9]*/cwd"):
            try:
                if status.readlink() == self._data:
                    os.kill(int(status.parent.name), signal.SIGKILL)
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue

    def _run(self, program: str, *arguments: str) -> None:
        command = [self._programs / program, *arguments]
        subprocess.run(command, check=True, capture_output=True, **self._as_owner())

    def _as_owner(self) -> dict[str, object]:
        """The server refuses to run as root."""
        if self._owner is None:
            return {"cwd": self.folder}
        return {
            "cwd": self.folder,
            "user": self._owner.pw_uid,
            "group": self._owner.pw_gid,
            "extra_groups": [],
        }


def _another_user() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeError("there is no user but root")


def _locales() -> str:
    found = shutil.which("locale")
    return subprocess.run([found, "-a"], capture_output=True, text=True).stdout if found else ""
