# SPDX-License-Identifier: Apache-2.0
"""Somebody types: one byte every 50 ms, and the far end echoes it.

    keystrokes.py server PORT
    keystrokes.py client HOST PORT     a line per keystroke: when it was typed and when its echo came, ms of
                                       CLOCK_REALTIME, and whether the echo was right

The server keeps no file open and prints nothing, so that CRIU finds nothing that belongs to a place."""

import selectors
import socket
import sys
import time

PACE = 0.05


def serve(port):
    listener = socket.create_server(("", port), backlog=512)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is listener:
                connection, _ = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                selector.register(connection, selectors.EVENT_READ)
                continue
            data = b""
            try:
                data = key.fileobj.recv(4096)
                key.fileobj.sendall(data)
            except ConnectionError:
                pass  # the client knows, and tells
            if not data:
                selector.unregister(key.fileobj)
                key.fileobj.close()


def client(host, port):
    """Keystrokes don't wait for echoes."""
    connection = socket.create_connection((host, port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    typed, number, echoed = [], 0, 0
    due = time.monotonic()
    while True:
        left = due - time.monotonic()
        if left <= 0:
            typed.append(time.time())
            connection.sendall(bytes([number % 251]))
            number += 1
            due += PACE
            continue
        connection.settimeout(left)
        try:
            data = connection.recv(4096)
        except TimeoutError:
            continue
        if not data:
            sys.exit("the server has closed the connection")
        now = time.time()
        for byte in data:
            begun = typed.pop(0) if typed else now
            print("%.3f %.3f %d" % (begun * 1000, now * 1000, byte == echoed % 251), flush=True)
            echoed += 1


if sys.argv[1] == "server":
    serve(int(sys.argv[2]))
else:
    client(sys.argv[2], int(sys.argv[3]))
