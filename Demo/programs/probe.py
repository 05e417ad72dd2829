#!/usr/bin/env python3
"""Opens one TCP connection and says what the kernel made of it: the error's name, its text and the time it took.

usage: probe.py ADDRESS PORT [SECONDS]        exit status 0: connected, 1: it wasn't
"""
import errno
import os
import socket
import sys
import time

address, port = sys.argv[1], int(sys.argv[2])
patience = float(sys.argv[3]) if len(sys.argv) > 3 else 5.0
start = time.monotonic()
try:
    socket.create_connection((address, port), timeout=patience).close()
    outcome, status = "CONNECTED", 0
except TimeoutError as error:
    # The kernel's own ETIMEDOUT and the end of our patience are the same to a user: silence.
    outcome, status = f"ETIMEDOUT {error}", 1
except OSError as error:
    outcome, status = f"{errno.errorcode.get(error.errno, error.errno)} {os.strerror(error.errno or 0)}", 1
print(f"{outcome} ({(time.monotonic() - start) * 1000:.1f} ms)")
sys.exit(status)
