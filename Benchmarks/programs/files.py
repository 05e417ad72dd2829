#!/usr/bin/env python3
"""A file there and back, compared by SHA-256: the proof that a system carries what it is given.

At the device it keeps what is sent to it, answers with the checksum of what arrived, and sends it back when asked.

usage: files.py serve ADDRESS PORT           at the device
       files.py exchange ADDRESS PORT FILE   at the PC; exit status 0: the same both ways, 1: not
"""
import hashlib
import socket
import struct
import sys

HEADER = struct.Struct(">BQ")
PUT, TAKE = 1, 2


def exactly(connection, size):
    parts = []
    while size:
        part = connection.recv(min(size, 1 << 16))
        if not part:
            raise EOFError("the connection ended early")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def serve(address, port):
    kept = b""
    with socket.create_server((address, port)) as listener:
        while True:
            connection, _ = listener.accept()
            with connection:
                try:
                    verb, size = HEADER.unpack(exactly(connection, HEADER.size))
                    if verb == PUT:
                        kept = exactly(connection, size)
                        connection.sendall(hashlib.sha256(kept).digest())
                    else:
                        connection.sendall(HEADER.pack(TAKE, len(kept)) + kept)
                except (OSError, EOFError, struct.error):
                    pass  # a probe, or a client that went away


def exchange(address, port, path):
    with open(path, "rb") as file:
        content = file.read()
    expected = hashlib.sha256(content).digest()
    with socket.create_connection((address, port), timeout=30) as connection:
        connection.sendall(HEADER.pack(PUT, len(content)) + content)
        there = exactly(connection, len(expected))
    with socket.create_connection((address, port), timeout=30) as connection:
        connection.sendall(HEADER.pack(TAKE, 0))
        _, size = HEADER.unpack(exactly(connection, HEADER.size))
        back = hashlib.sha256(exactly(connection, size)).digest()
    print(f"{len(content)} bytes, SHA-256 {expected.hex()[:16]}, there {there.hex()[:16]}, back {back.hex()[:16]}")
    return there == expected == back


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2], int(sys.argv[3]))
    sys.exit(0 if exchange(sys.argv[2], int(sys.argv[3]), sys.argv[4]) else 1)
