#!/usr/bin/env python3
"""Opens many connections and keeps those that stay, until it is ended; says how many stayed for a second.

usage: hold.py ADDRESS PORT COUNT
"""
import select
import signal
import socket
import sys
import time

address, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
kept = []
for _ in range(count):
    try:
        kept.append(socket.create_connection((address, port), timeout=3))
    except OSError:
        pass
time.sleep(1)
closed, _, _ = select.select(kept, [], [], 0)
print(f"{len(kept) - len(closed)} of {count} stay", flush=True)
signal.pause()
