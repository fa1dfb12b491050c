# SPDX-License-Identifier: Apache-2.0
"""acknowledged.py PORT: how far the TCP connections from here to PORT have come, by the kernel's own word.

A line each 2 ms: time in ms of CLOCK_REALTIME, and how many bytes the far end has acknowledged of the connection that
has sent most. One sock_diag request each time: nothing is asked of the programs that own the connections."""

import socket
import struct
import sys
import time

PERIOD = 0.002
NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY = 20
REQUEST_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
DONE = 3
INET_DIAG_INFO = 2
ESTABLISHED = 1 << 1
# The parts of struct inet_diag_msg before its attributes, and where struct tcp_info has tcpi_bytes_acked.
MESSAGE = 72
BYTES_ACKED = 120


def request(port):
    """struct inet_diag_req_v2 with the far end's port; IPv4, TCP. The kernel leaves ports to a filter: see most()."""
    identity = struct.pack("!HH16s16sI8s", 0, port, b"", b"", 0, b"\xff" * 8)
    body = struct.pack("=BBBBI", socket.AF_INET, socket.IPPROTO_TCP, 1 << (INET_DIAG_INFO - 1), 0, ESTABLISHED)
    header = struct.pack("=IHHII", 16 + len(body) + len(identity), SOCK_DIAG_BY_FAMILY, REQUEST_DUMP, 1, 0)
    return header + body + identity


def acknowledged(message, port):
    """0 where it is a connection to somewhere else."""
    if struct.unpack_from("!H", message, 6)[0] != port:
        return 0
    at = MESSAGE
    while at + 4 <= len(message):
        length, kind = struct.unpack_from("=HH", message, at)
        if kind == INET_DIAG_INFO and length >= 4 + BYTES_ACKED + 8:
            return struct.unpack_from("=Q", message, at + 4 + BYTES_ACKED)[0]
        at += max(4, (length + 3) & ~3)
    return 0


def most(netlink, question, port):
    netlink.send(question)
    best = 0
    while True:
        data = netlink.recv(1 << 16)
        at = 0
        while at + 16 <= len(data):
            length, kind = struct.unpack_from("=IH", data, at)
            if kind == DONE or length < 16:
                return best
            if kind == SOCK_DIAG_BY_FAMILY:
                best = max(best, acknowledged(data[at + 16 : at + length], port))
            at += (length + 3) & ~3


def main(port):
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG)
    question = request(port)
    while True:
        print("%.3f %d" % (time.time() * 1000, most(netlink, question, port)), flush=True)
        time.sleep(PERIOD)


main(int(sys.argv[1]))
