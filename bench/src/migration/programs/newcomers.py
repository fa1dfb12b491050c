# SPDX-License-Identifier: Apache-2.0
"""newcomers.py HOST PORT: opens one connection after the other, and closes each at once.

A line when connect() is called, and one more when it has returned, with both times: ms of CLOCK_REALTIME. It ends where one
fails: the workload has left that address."""

import socket
import struct
import sys
import time

PAUSE = 0.01
# Closed by a reset, so that nothing of it lives on.
LINGER = struct.pack("ii", 1, 0)

while True:
    begun = time.time()
    print("%.3f" % (begun * 1000), flush=True)
    connection = socket.create_connection((sys.argv[1], int(sys.argv[2])))
    print("%.3f %.3f" % (begun * 1000, time.time() * 1000), flush=True)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
    connection.close()
    time.sleep(PAUSE)
