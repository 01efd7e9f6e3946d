"""A way to a tracking server that can be cut: it refuses, or takes what is sent and never answers."""

import os
import select
import socket
from contextlib import suppress

PASS, REFUSE, HANG, END = b"p", b"r", b"h", b"e"


class Proxy:
    """A process of its own that passes connections on to a port of this machine; fork it before threads."""

    def __init__(self, port: int) -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        self.port = listening.getsockname()[1]
        told, self._tell = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._tell)
            with suppress(KeyboardInterrupt):
                _pass_on(listening, port, told)
            os._exit(0)
        os.close(told)
        listening.close()

    def __call__(self, state: bytes) -> None:
        """Pass on, refuse, hang or end from now on."""
        os.write(self._tell, state)

    def end(self) -> None:
        """End the process."""
        self(END)
        os.waitpid(self.pid, 0)


def _pass_on(listening: socket.socket, port: int, told: int) -> None:
    other: dict[socket.socket, socket.socket] = {}  # both ends of each connection
    state = PASS

    def drop(one: socket.socket) -> None:
        for end in (one, other.pop(one, one)):
            other.pop(end, None)
            end.close()

    while True:
        readable = select.select([told, listening, *(other if state == PASS else ())], [], [])[0]
        if told in readable:
            state = os.read(told, 1) or END
            if state == END:
                return
            if state == REFUSE:
                for one in list(other):
                    drop(one)
            continue
        for one in readable:
            if one is listening:
                near = listening.accept()[0]
                if state == REFUSE:
                    near.close()
                    continue
                far = socket.create_connection(("127.0.0.1", port))
                other |= {near: far, far: near}
            elif one in other:
                try:
                    data = one.recv(65536)
                    other[one].sendall(data)
                except OSError:
                    data = b""
                if not data:
                    drop(one)
