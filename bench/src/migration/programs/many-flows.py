# SPDX-License-Identifier: Apache-2.0
"""Connections by the ten thousand, which say nothing.

    many-flows.py server PORT COUNT            accepts COUNT connections
    many-flows.py client HOST PORT COUNT       opens COUNT connections

Each prints `ready` when all are established, and keeps them. A process may have 20,000 descriptors here (more needs
CAP_SYS_RESOURCE), so each is several processes."""

import os
import resource
import signal
import socket
import sys

EACH = 16_000
FIRST_PORT = 1_100


def shares(count):
    return [min(EACH, count - begun) for begun in range(0, count, EACH)]


def accept(listener, _, count):
    return [listener.accept()[0].detach() for _ in range(count)]


def connect(address, begun, count):
    """From ports of our own choice: the kernel looks long for a free one when there are many."""
    opened = []
    for number in range(count):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        connection.bind(("", FIRST_PORT + begun + number))
        connection.connect(address)
        opened.append(connection.detach())
    return opened


def each_share(count, work, argument):
    """One child for each share; they end with us."""
    begun, pipes = 0, []
    until, alive = os.pipe()
    for share in shares(count):
        done, told = os.pipe()
        if os.fork() == 0:
            os.close(done)
            os.close(alive)
            kept = work(argument, begun, share)
            os.write(told, b"%d" % len(kept))
            os.read(until, 1)
            os._exit(0)
        os.close(told)
        pipes.append(done)
        begun += share
    established = sum(int(os.read(pipe, 16) or b"0") for pipe in pipes)
    print("ready" if established == count else "%d of %d connections" % (established, count), flush=True)
    while True:
        signal.pause()


def main():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if sys.argv[1] == "server":
        listener = socket.create_server(("", int(sys.argv[2])), backlog=4096)
        print("listening", flush=True)
        each_share(int(sys.argv[3]), accept, listener)
    else:
        each_share(int(sys.argv[4]), connect, (sys.argv[2], int(sys.argv[3])))


main()
