# SPDX-License-Identifier: Apache-2.0
"""Streams whose every byte is known, between programs that may be moved while they talk.

    stream.py server PORT [--bind ADDRESS]        answers on TCP and UDP
    stream.py client HOST PORT FOLDER [options]   keeps connections busy until FOLDER/stop exists

A client sends numbered records of pseudo-random bytes; the server checks each against what it must be, and answers with
the same bytes inverted; the client checks that. At the end each connection is half-closed, and the server tells how many
records it has had and the SHA-256 of all their bytes. Whatever is not as it must be is an error in FOLDER/result.json.
A program keeps no file open and prints nothing, so that CRIU finds nothing that belongs to a place."""

import argparse
import asyncio
import hashlib
import json
import os
import random
import socket
import struct
import time

HEADER = struct.Struct(">QI")  # number of the record, length of its bytes
LARGEST = 1 << 16
DATAGRAM = struct.Struct(">QQ")  # session, number
INVERT = bytes(range(255, -1, -1))
FINAL = (1 << 64) - 1
NEWCOMER_PATIENCE = 3


def record_bytes(seed, number, largest):
    source = random.Random(seed << 32 | number)
    return source.randbytes(1 + source.randrange(largest))


class Server:
    """A connection begins with 16 bytes: its seed, the largest length of a record, and how many ms to wait at its end."""

    async def next_header(self, reader):
        """None at the end of the stream."""
        try:
            return HEADER.unpack(await reader.readexactly(HEADER.size))
        except asyncio.IncompleteReadError as end:
            if end.partial:
                raise
            return None

    async def connection(self, reader, writer):
        digest, count = hashlib.sha256(), 0
        try:
            seed, largest, linger = struct.unpack(">QII", await reader.readexactly(16))
            while (header := await self.next_header(reader)) is not None:
                number, length = header
                data = await reader.readexactly(length)
                if number != count or data != record_bytes(seed, number, largest):
                    writer.write(HEADER.pack(FINAL, 0))  # the client knows which one it was
                    return
                count += 1
                digest.update(data)
                writer.write(HEADER.pack(number, length) + data.translate(INVERT))
                await writer.drain()
            await asyncio.sleep(linger / 1000)
            writer.write(HEADER.pack(FINAL, 40) + struct.pack(">Q", count) + digest.digest())
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client knows, and tells
        finally:
            writer.close()


class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.transport.sendto(data.translate(INVERT), address)


async def serve(port, bind):
    server = Server()
    hosts = [bind] if bind else ["0.0.0.0", "::"]
    loop = asyncio.get_running_loop()
    for host in hosts:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
        await asyncio.start_server(server.connection, sock=sock, backlog=1024, limit=1 << 20)
        datagrams = socket.socket(family, socket.SOCK_DGRAM)
        if family == socket.AF_INET6:
            datagrams.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        datagrams.bind((host, port))
        await loop.create_datagram_endpoint(Echo, sock=datagrams)
    await asyncio.Event().wait()


class Client:
    def __init__(self, options):
        self.options = options
        self.errors = []
        self.established = 0
        self.records = 0
        self.bytes = 0
        self.worst_gap = 0.0
        self.half_closed = 0
        self.finished = 0
        self.datagrams_sent = 0
        self.datagrams_received = 0
        self.reconnects = []

    def stopping(self):
        return os.path.exists(os.path.join(self.options.folder, "stop"))

    def report(self, final=False):
        result = {
            "final": final,
            "at": time.time() * 1000,
            "connections": self.options.connections,
            "established": self.established,
            "halfClosed": self.half_closed,
            "finished": self.finished,
            "records": self.records,
            "bytes": self.bytes,
            "worstGapMs": round(self.worst_gap * 1000, 3),
            "datagramsSent": self.datagrams_sent,
            "datagramsReceived": self.datagrams_received,
            "connectMs": self.reconnects,
            "errors": self.errors[:20],
            "errorCount": len(self.errors),
        }
        path = os.path.join(self.options.folder, "result.json")
        with open(path + ".new", "w") as file:
            json.dump(result, file)
        os.replace(path + ".new", path)

    def fail(self, index, what):
        self.errors.append("connection %d: %s" % (index, what))

    async def stream(self, index):
        options = self.options
        seed = options.seed * 100003 + index
        try:
            local = (options.local, 0) if options.local else None
            reader, writer = await asyncio.open_connection(
                options.host, options.port, limit=1 << 20, local_addr=local
            )
        except OSError as error:
            self.fail(index, "connect: %s" % error)
            return
        self.established += 1
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await self.exchange(index, seed, reader, writer)
        except (OSError, asyncio.IncompleteReadError) as error:
            self.fail(index, "%s: %s" % (type(error).__name__, error))
        finally:
            writer.close()

    async def exchange(self, index, seed, reader, writer):
        options = self.options
        digest, number = hashlib.sha256(), 0
        writer.write(struct.pack(">QII", seed, options.largest, options.linger))
        while not self.stopping() and (options.records == 0 or number < options.records):
            batch = [record_bytes(seed, number + i, options.largest) for i in range(options.pipeline)]
            asked = time.monotonic()
            for i, data in enumerate(batch):
                writer.write(HEADER.pack(number + i, len(data)) + data)
            await asyncio.sleep(options.stall)
            for i, data in enumerate(batch):
                digest.update(data)
                answered, length = HEADER.unpack(await reader.readexactly(HEADER.size))
                if answered != number + i or await reader.readexactly(length) != data.translate(INVERT):
                    self.fail(index, "answer %d is not that of record %d" % (answered, number + i))
                    return
                self.records += 1
                self.bytes += 2 * length
            number += len(batch)
            self.worst_gap = max(self.worst_gap, time.monotonic() - asked)
            await asyncio.sleep(options.pause)
        writer.write_eof()
        self.half_closed += 1
        last, length = HEADER.unpack(await reader.readexactly(HEADER.size))
        told = await reader.readexactly(length) if last == FINAL and length == 40 else b""
        if told != struct.pack(">Q", number) + digest.digest():
            self.fail(index, "the server counts other records than were sent")
        elif await reader.read(1):
            self.fail(index, "there is more than there should be")
        else:
            self.finished += 1

    async def datagrams(self, index):
        """Each is answered or sent again; an answer that is not the question's is an error."""
        options = self.options
        loop = asyncio.get_running_loop()
        family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM)
        sock.setblocking(False)
        if options.connected:
            sock.connect((options.host, options.port))
        number = 0
        while not self.stopping():
            data = DATAGRAM.pack(index, number) + random.Random(number).randbytes(64)
            asked = time.monotonic()
            for _ in range(100):
                self.datagrams_sent += 1
                try:
                    if options.connected:
                        await loop.sock_sendall(sock, data)
                    else:
                        await loop.sock_sendto(sock, data, (options.host, options.port))
                    answer, sender = await asyncio.wait_for(loop.sock_recvfrom(sock, 2048), 0.2)
                except asyncio.TimeoutError:
                    continue
                except OSError as error:
                    self.fail(index, "datagram: %s" % error)
                    return
                while DATAGRAM.unpack_from(answer.translate(INVERT))[1] < number:
                    answer, sender = await asyncio.wait_for(loop.sock_recvfrom(sock, 2048), 0.2)
                if answer != data.translate(INVERT) or sender[0] != options.host:
                    self.fail(index, "datagram %d was answered wrongly by %s" % (number, sender[0]))
                    return
                self.datagrams_received += 1
                break
            else:
                self.fail(index, "datagram %d was never answered" % number)
                return
            number += 1
            self.worst_gap = max(self.worst_gap, time.monotonic() - asked)
            await asyncio.sleep(max(options.pause, 0.002))
        self.finished += 1
        sock.close()

    async def newcomers(self):
        """One new connection after the other, each with one record: how long each takes to be established."""
        options = self.options
        number = 0
        while not self.stopping():
            begun = time.monotonic()
            wall = time.time()
            try:
                opening = asyncio.open_connection(options.host, options.port)
                reader, writer = await asyncio.wait_for(opening, NEWCOMER_PATIENCE)
                established = time.monotonic() - begun
                seed = options.seed * 7 + number
                data = record_bytes(seed, 0, 64)
                writer.write(struct.pack(">QII", seed, 64, 0) + HEADER.pack(0, len(data)) + data)
                await reader.readexactly(HEADER.size + len(data))
                writer.close()
                self.reconnects.append([round(wall * 1000, 1), round(established * 1000, 1)])
            except (OSError, asyncio.TimeoutError):
                self.reconnects.append([round(wall * 1000, 1), -1])
            self.reconnects = self.reconnects[-2000:]
            number += 1
            await asyncio.sleep(options.newcomers)

    async def reporting(self):
        while True:
            self.report()
            await asyncio.sleep(0.25)

    async def run(self):
        options = self.options
        one = self.datagrams if options.udp else self.stream
        work = [one(index) for index in range(options.connections)]
        if options.newcomers:
            work.append(self.newcomers())
        reporting = asyncio.create_task(self.reporting())
        await asyncio.gather(*work)
        reporting.cancel()
        self.report(final=True)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    roles = parser.add_subparsers(dest="role", required=True)
    server = roles.add_parser("server")
    server.add_argument("port", type=int)
    server.add_argument("--bind")
    client = roles.add_parser("client")
    client.add_argument("host")
    client.add_argument("port", type=int)
    client.add_argument("folder")
    client.add_argument("--connections", type=int, default=1)
    client.add_argument("--pipeline", type=int, default=4, help="records on their way at once")
    client.add_argument("--largest", type=int, default=4096, help="bytes of a record at most")
    client.add_argument("--pause", type=float, default=0.005, help="seconds between batches")
    client.add_argument("--seed", type=int, default=1)
    client.add_argument("--records", type=int, default=0, help="of each connection, which it then half-closes; 0: until stopped")
    client.add_argument("--linger", type=int, default=0, help="ms that the server waits after that")
    client.add_argument("--stall", type=float, default=0, help="seconds between a batch and the reading of its answers")
    client.add_argument("--local", help="address to connect from")
    client.add_argument("--udp", action="store_true")
    client.add_argument("--connected", action="store_true", help="connect() the UDP sockets")
    client.add_argument("--newcomers", type=float, default=0, help="seconds between new connections; 0: none")
    return parser.parse_args()


def main():
    options = arguments()
    if options.role == "server":
        asyncio.run(serve(options.port, options.bind))
    else:
        asyncio.run(Client(options).run())


main()
