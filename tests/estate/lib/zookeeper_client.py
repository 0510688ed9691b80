"""Just enough ZooKeeper to look into one and to put things there: list children, read, create and delete a node.

A request is a length, a request id, an operation number, and then the arguments; strings carry their own length.
Used for readiness checks, which never write, and by `estate zk`.
"""

import socket
import struct

CREATE, DELETE, GET_DATA, SET_DATA, GET_CHILDREN, CLOSE = 1, 2, 4, 5, 8, -11
NO_NODE, NODE_EXISTS = -101, -110
NO_WATCH = b"\0"
ANY_VERSION = struct.pack(">i", -1)
# One entry: all rights, for anyone.
OPEN_TO_ALL = struct.pack(">ii", 1, 31) + struct.pack(">i", 5) + b"world" + struct.pack(">i", 6) + b"anyone"
PERSISTENT = struct.pack(">i", 0)


class NoNode(Exception):
    """The path does not exist."""


class NodeExists(Exception):
    """The path exists."""


class Refused(OSError):
    """ZooKeeper has answered with another error."""


class ZooKeeper:
    def __init__(self, port, timeout=3):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.request_id = 0
        # protocol version, last seen zxid, session timeout in ms, session id, password, and "read only will do": no
        self._send(struct.pack(">iqiqi", 0, 0, 10_000, 0, 16) + bytes(16) + b"\0")
        self._receive()

    def children(self, path):
        body = self._call(GET_CHILDREN, path, NO_WATCH)
        count, offset, names = struct.unpack_from(">i", body)[0], 4, []
        for _ in range(count):
            length = struct.unpack_from(">i", body, offset)[0]
            names.append(body[offset + 4:offset + 4 + length].decode())
            offset += 4 + length
        return sorted(names)

    def data(self, path):
        body = self._call(GET_DATA, path, NO_WATCH)
        length = struct.unpack_from(">i", body)[0]
        return body[4:4 + length].decode("utf-8", "replace") if length > 0 else ""

    def put(self, path, data):
        """Creates a lasting node, with what is missing above it, or gives an existing one other data.

        `path` and `data` are bytes, so that what is no UTF-8 can be tried too.
        """
        above = path.rpartition(b"/")[0]
        try:
            self._call(CREATE, path, _counted(data) + OPEN_TO_ALL + PERSISTENT)
        except NodeExists:
            self._call(SET_DATA, path, _counted(data) + ANY_VERSION)
        except NoNode:
            if not above:
                raise
            self.put(above, b"")
            self.put(path, data)

    def delete(self, path):
        """Deletes a node without children."""
        self._call(DELETE, path, ANY_VERSION)

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

    def _call(self, operation, path, arguments):
        self.request_id += 1
        encoded = path if isinstance(path, bytes) else path.encode()
        self._send(struct.pack(">ii", self.request_id, operation) + _counted(encoded) + arguments)
        answer = self._receive()
        _, _, error = struct.unpack_from(">iqi", answer)
        if error == NO_NODE:
            raise NoNode(path)
        if error == NODE_EXISTS:
            raise NodeExists(path)
        if error:
            raise Refused(f"ZooKeeper error {error} for {path}")
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


def _counted(data):
    return struct.pack(">i", len(data)) + data


def four_letters(port, word):
    """The answer to a four letter word such as `ruok`."""
    with socket.create_connection(("127.0.0.1", port), 2) as connection:
        connection.sendall(word.encode())
        return connection.recv(65536).decode()
