"""A connection between two ports of this machine that can be cut and mended."""

import selectors
import socket
import threading
from contextlib import suppress


class LooseCable:
    """Forwards what arrives at ``port`` to another one.

    Args:
        target: The other port.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._ends: list[socket.socket] = []
        self._is_cut = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Break what is connected, and let nobody connect."""
        self._is_cut.set()
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """Let whoever tries connect again."""
        self._is_cut.clear()

    def close(self) -> None:
        """Forward no more."""
        self.cut()
        self._server.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._server.accept()
                if self._is_cut.is_set():
                    near.close()
                    continue
                far = socket.create_connection(("127.0.0.1", self._target))
                self._ends += [near, far]
                threading.Thread(target=_forward, args=(near, far), daemon=True).start()


def _forward(near: socket.socket, far: socket.socket) -> None:
    """Copy both ways until one end is gone."""
    with near, far, selectors.DefaultSelector() as waiting, suppress(OSError):
        for one, other in ((near, far), (far, near)):
            waiting.register(one, selectors.EVENT_READ, other)
        while True:
            for key, _ in waiting.select():
                data = key.fileobj.recv(65_536)
                if not data:
                    return
                key.data.sendall(data)
