# SPDX-License-Identifier: Apache-2.0
"""Sockets of a pod, worked from outside: one JSON request a line on standard input, one answer a line on standard
output, in any order. Each request has a thread of its own, so that one may wait while others work. See sockets.ts for
what the requests are. Python, because it reaches every socket option and ancillary datum that the kernel has."""

import ctypes
import errno
import fcntl
import hashlib
import json
import os
import random
import select
import socket
import struct
import sys
import threading
import time

BLOCK = 1 << 20
NUMBER = struct.Struct(">Q")
KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM, "raw": socket.SOCK_RAW}
SIOCETHTOOL = 0x8946
# enum of linux/ethtool.h: "set" commands that take a number
OFFLOADS = {"rx": 0x15, "tx": 0x17, "sg": 0x19, "tso": 0x1F, "gso": 0x24, "gro": 0x2C}
MSG_ERRQUEUE = 0x2000


def payload(seed, size):
    return random.Random(seed).randbytes(size)


def digest(data):
    return hashlib.sha256(data).hexdigest()


def option_value(value):
    return bytes.fromhex(value) if isinstance(value, str) else value


class Hand:
    def __init__(self):
        self.sockets = {}
        self.stopped = set()
        self.lock = threading.Lock()

    def keep(self, sock):
        with self.lock:
            handle = len(self.sockets) + 1
            self.sockets[handle] = sock
        return handle

    def open(self, kind, family, local=None, remote=None, listen=False, options=(), timeout=10, protocol=0):
        sock = socket.socket(socket.AF_INET6 if family == 6 else socket.AF_INET, KINDS[kind], protocol)
        try:
            if kind == "tcp":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if kind == "udp":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            for level, name, value in options:
                sock.setsockopt(level, name, option_value(value))
            if local:
                sock.bind(tuple(local))
            if listen:
                sock.listen(16)
            sock.settimeout(timeout)
            if remote:
                sock.connect(tuple(remote))
        except BaseException:
            sock.close()
            raise
        name = sock.getsockname()
        return {"handle": self.keep(sock), "local": list(name[:2])}

    def accept(self, handle):
        sock, peer = self.sockets[handle].accept()
        sock.settimeout(20)
        return {"handle": self.keep(sock), "local": list(sock.getsockname()[:2]), "peer": list(peer[:2])}

    def option(self, handle, level, name, value):
        self.sockets[handle].setsockopt(level, name, option_value(value))

    def close(self, handle):
        self.sockets[handle].close()

    def exchange(self, handle, size, seed):
        """Send this many bytes and read as many, both at once; the digests of both."""
        sock = self.sockets[handle]
        sent = hashlib.sha256()
        failures = []

        def write():
            block = payload(seed, BLOCK)
            try:
                for number in range(0, size, BLOCK):
                    part = (NUMBER.pack(number) + block[NUMBER.size :])[: size - number]
                    sock.sendall(part)
                    sent.update(part)
            except OSError as error:
                failures.append(error)

        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        received = hashlib.sha256()
        room = bytearray(256 << 10)
        left = size
        while left > 0:
            got = sock.recv_into(room, min(left, len(room)))
            if got == 0:
                break
            received.update(memoryview(room)[:got])
            left -= got
        writer.join()
        if failures:
            raise failures[0]
        return {"sent": sent.hexdigest(), "received": received.hexdigest(), "missing": left}

    def send(self, handle, seed, size, to=None, ancillary=()):
        data = payload(seed, size)
        extra = [(level, kind, bytes.fromhex(value)) for level, kind, value in ancillary]
        self.sockets[handle].sendmsg([data], extra, 0, *([tuple(to)] if to else []))
        return {"digest": digest(data)}

    def number(self, handle, first, count):
        """Send datagrams that carry nothing but their number."""
        for number in range(first, first + count):
            self.sockets[handle].send(NUMBER.pack(number))

    def receive(self, handle, timeout=3):
        sock = self.sockets[handle]
        self.wait(sock, select.POLLIN, timeout)
        data, ancillary, _, source = sock.recvmsg(1 << 16, 4096)
        return {
            "size": len(data),
            "digest": digest(data),
            "head": data[:64].hex(),
            "from": list(source[:2]) if source else None,
            "ancillary": [[level, kind, value.hex()] for level, kind, value in ancillary],
        }

    def numbers(self, handle, quiet):
        """The numbers of all datagrams until none has come for this long."""
        sock = self.sockets[handle]
        found = []
        while True:
            try:
                self.wait(sock, select.POLLIN, quiet)
            except TimeoutError:
                return found
            found.append(NUMBER.unpack(sock.recv(64))[0])

    def echo(self, handle):
        """Return datagrams to their senders until the socket is stopped."""
        sock = self.sockets[handle]
        while not self.is_stopped(handle):
            try:
                self.wait(sock, select.POLLIN, 0.05)
            except TimeoutError:
                continue
            data, source = sock.recvfrom(1 << 16)
            sock.sendto(data, source)

    def failure(self, handle, timeout=3):
        """What the error queue tells: the error, who told it, about a packet to whom."""
        sock = self.sockets[handle]
        self.wait(sock, select.POLLERR, timeout)
        _, ancillary, _, destination = sock.recvmsg(256, 4096, MSG_ERRQUEUE)
        for _, _, value in ancillary:
            if len(value) < 16:
                continue
            number, _, kind, code, _, info, _ = struct.unpack_from("=IBBBBII", value)
            return {
                "error": errno.errorcode.get(number, str(number)),
                "type": kind,
                "code": code,
                "info": info,
                "offender": offender(value[16:]),
                "destination": list(destination[:2]),
            }
        raise OSError(errno.ENOMSG, "no extended error")

    def ask(self, handle, interval):
        """One numbered request after the other, until stopped: [answer, when asked, when answered] of each."""
        sock = self.sockets[handle]
        log = []
        while not self.is_stopped(handle):
            begun = time.monotonic_ns()
            sock.sendall(NUMBER.pack(len(log)))
            answer = read_number(sock)
            log.append([answer, begun, time.monotonic_ns()])
            time.sleep(interval)
        return log

    def answer(self, handle):
        """Answer each request with its own number until the client closes; all numbers that came."""
        sock = self.sockets[handle]
        seen = []
        while True:
            number = read_number(sock)
            if number is None:
                return seen
            seen.append(number)
            sock.sendall(NUMBER.pack(number))

    def stop(self, handle):
        with self.lock:
            self.stopped.add(handle)

    def offload(self, device, **wanted):
        """As ethtool -K does, by the same call."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for name, value in wanted.items():
                command = ctypes.create_string_buffer(struct.pack("=II", OFFLOADS[name], 1 if value else 0))
                request = struct.pack("16sP", device.encode(), ctypes.addressof(command))
                fcntl.ioctl(sock, SIOCETHTOOL, request)

    def is_stopped(self, handle):
        with self.lock:
            return handle in self.stopped

    @staticmethod
    def wait(sock, event, timeout):
        poll = select.poll()
        poll.register(sock, event)
        if not poll.poll(timeout * 1000):
            raise TimeoutError(errno.ETIMEDOUT, "nothing came")


def offender(address):
    family = struct.unpack_from("=H", address)[0]
    if family == socket.AF_INET:
        return socket.inet_ntop(family, address[4:8])
    return socket.inet_ntop(family, address[8:24]) if family == socket.AF_INET6 else None


def read_number(sock):
    data = b""
    while len(data) < NUMBER.size:
        part = sock.recv(NUMBER.size - len(data))
        if not part:
            return None
        data += part
    return NUMBER.unpack(data)[0]


def main():
    hand = Hand()
    output = threading.Lock()

    def work(request):
        try:
            answer = {"result": getattr(hand, request["do"])(**request["with"])}
        except OSError as error:
            number = errno.ETIMEDOUT if isinstance(error, TimeoutError) else error.errno
            answer = {"code": errno.errorcode.get(number, "EIO"), "error": str(error)}
        except Exception as error:
            answer = {"code": "EPROTO", "error": repr(error)}
        with output:
            print(json.dumps({"id": request["id"], **answer}), flush=True)

    for line in sys.stdin:
        threading.Thread(target=work, args=(json.loads(line),), daemon=True).start()
    os._exit(0)


main()
