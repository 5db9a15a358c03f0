"""A connection that a test can cut, silence or slow down, between a site and its hub."""

import socket
import threading
import time
from contextlib import suppress

_PIECE = 16_384


class TcpProxy:
    """Passes connections on to a port of this machine.

    Attributes:
        port: Where it listens.
        bytes_per_s: How much it passes on per connection and direction; None: as fast as it comes.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.bytes_per_s: float | None = None
        self._open = threading.Event()
        self._open.set()
        self._hears = True
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Break every connection, and every new one as soon as it is there."""
        self._hears = False
        with self._lock:
            sockets, self._sockets = self._sockets, set()
        for each in sockets:
            _close(each)

    def silence(self) -> None:
        """Let nothing through, and say nothing about it, as a firewall that has forgotten its connections."""
        self._open.clear()

    def mend(self) -> None:
        """Let everything through again."""
        self._hears, self.bytes_per_s = True, None
        self._open.set()

    def close(self) -> None:
        """End for good."""
        self.cut()
        self.mend()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                try:
                    self._join(near)
                except OSError:
                    _close(near)

    def _join(self, near: socket.socket) -> None:
        if not self._hears:
            _close(near)
            return
        far = socket.create_connection(("127.0.0.1", self._target))
        with self._lock:
            self._sockets |= {near, far}
        for source, sink in ((near, far), (far, near)):
            threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(_PIECE):
                self._open.wait()
                if self.bytes_per_s is not None:
                    time.sleep(len(piece) / self.bytes_per_s)
                sink.sendall(piece)
        for each in (source, sink):
            _close(each)
        with self._lock:
            self._sockets -= {source, sink}


def _close(each: socket.socket) -> None:
    with suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
