#!/usr/bin/env python3
"""Holds connections that are idle after one echo each, until standard input ends. Prints how many there are.

usage: idle_flows.py ADDRESS PORT COUNT
"""
import resource
import socket
import sys

address, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, count + 100), most))
held = []
for _ in range(count):
    try:
        connection = socket.create_connection((address, port), timeout=5)
        connection.sendall(b"x" * 64)
        if connection.recv(64, socket.MSG_WAITALL) == b"x" * 64:
            held.append(connection)
    except OSError:
        break
print(len(held), flush=True)
sys.stdin.read()
