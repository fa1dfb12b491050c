# SPDX-License-Identifier: Apache-2.0
"""Transfers over TCP connections that stay.

    bursts.py server PORT                      takes what comes, and says when a burst is complete
    bursts.py client ADDRESS PORT STREAMS      for each line N on standard input sends N bytes, shared among the
                                               connections; prints the seconds until all of it had arrived

Connections stay, so that a burst has no slow start and can be short: what is compared then stands close together."""

import socket
import struct
import sys
import threading
import time

CHUNK = 1 << 18
HEADER = struct.Struct("!Q")


def receive_exactly(connection, view):
    while len(view) > 0:
        got = connection.recv_into(view)
        if got == 0:
            return False
        view = view[got:]
    return True


def serve_one(connection):
    header = bytearray(HEADER.size)
    buffer = memoryview(bytearray(CHUNK))
    while receive_exactly(connection, memoryview(header)):
        (left,) = HEADER.unpack(header)
        while left > 0:
            got = connection.recv_into(buffer, min(left, CHUNK))
            if got == 0:
                return
            left -= got
        connection.send(b"!")


def serve(port):
    listener = socket.create_server(("0.0.0.0", port))
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve_one, args=(connection,), daemon=True).start()


def send_burst(connection, size):
    connection.send(HEADER.pack(size))
    data = memoryview(bytes(CHUNK))
    left = size
    while left > 0:
        left -= connection.send(data[: min(left, CHUNK)])
    if connection.recv(1) != b"!":
        raise SystemExit("the server has gone")


def burst(connections, size):
    share = size // len(connections)
    if len(connections) == 1:
        send_burst(connections[0], share)
        return
    threads = [threading.Thread(target=send_burst, args=(each, share)) for each in connections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def play(address, port, streams):
    connections = [socket.create_connection((address, port)) for _ in range(streams)]
    print("ready", flush=True)
    for line in sys.stdin:
        began = time.perf_counter()
        burst(connections, int(line))
        print("%.6f" % (time.perf_counter() - began), flush=True)


if sys.argv[1] == "server":
    serve(int(sys.argv[2]))
else:
    play(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
