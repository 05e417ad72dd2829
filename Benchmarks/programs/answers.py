#!/usr/bin/env python3
"""Whether the device answers: 64 bytes there and back. A connection alone proves nothing of a forwarder, which accepts
on the device's behalf.

usage: answers.py ADDRESS PORT      exit status 0: the same came back, 1: not
"""
import socket
import sys

with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=2) as connection:
    connection.sendall(b"x" * 64)
    sys.exit(connection.recv(64, socket.MSG_WAITALL) != b"x" * 64)
