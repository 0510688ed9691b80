"""Just enough ZooKeeper to look into one: connect, list children, read a node.

A request is a length, a request id, an operation number, and then the arguments; strings carry their own length.
Used for readiness checks and by `estate zk`; it never writes.
"""

import socket
import struct

GET_CHILDREN, GET_DATA, CLOSE = 8, 4, -11
NO_NODE = -101


class NoNode(Exception):
    """The path does not exist."""


class ZooKeeper:
    def __init__(self, port, timeout=3):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.request_id = 0
        # protocol version, last seen zxid, session timeout in ms, session id, password, and "read only will do": no
        self._send(struct.pack(">iqiqi", 0, 0, 10_000, 0, 16) + bytes(16) + b"\0")
        self._receive()

    def children(self, path):
        body = self._call(GET_CHILDREN, path)
        count, offset, names = struct.unpack_from(">i", body)[0], 4, []
        for _ in range(count):
            length = struct.unpack_from(">i", body, offset)[0]
            names.append(body[offset + 4:offset + 4 + length].decode())
            offset += 4 + length
        return sorted(names)

    def data(self, path):
        body = self._call(GET_DATA, path)
        length = struct.unpack_from(">i", body)[0]
        return body[4:4 + length].decode("utf-8", "replace") if length > 0 else ""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # Closing tells the server to end the session at once.
        try:
            self._send(struct.pack(">ii", self.request_id + 1, CLOSE))
            self._receive()
        except OSError:
            pass
        self.socket.close()

    def _call(self, operation, path):
        self.request_id += 1
        encoded = path.encode()
        no_watch = b"\0"
        self._send(struct.pack(">iii", self.request_id, operation, len(encoded)) + encoded + no_watch)
        answer = self._receive()
        _, _, error = struct.unpack_from(">iqi", answer)
        if error == NO_NODE:
            raise NoNode(path)
        if error:
            raise OSError(f"ZooKeeper error {error} for {path}")
        return answer[16:]

    def _send(self, body):
        self.socket.sendall(struct.pack(">i", len(body)) + body)

    def _receive(self):
        return self._exactly(struct.unpack(">i", self._exactly(4))[0])

    def _exactly(self, wanted):
        parts = b""
        while len(parts) < wanted:
            part = self.socket.recv(wanted - len(parts))
            if not part:
                raise OSError("ZooKeeper closed the connection")
            parts += part
        return parts


def four_letters(port, word):
    """The answer to a four letter word such as `ruok`."""
    with socket.create_connection(("127.0.0.1", port), 2) as connection:
        connection.sendall(word.encode())
        return connection.recv(65536).decode()
