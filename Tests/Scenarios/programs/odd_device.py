#!/usr/bin/env python3
"""Devices that do what devices do: one behaviour a port, counted from the first one, as in the list below.

usage: odd_device.py ADDRESS FIRST-PORT
"""
import hashlib
import socket
import struct
import sys
import threading
import time


def echo(connection):
    """Sends back what comes."""
    while chunk := connection.recv(1 << 18):
        connection.sendall(chunk)


def mute(connection):
    """Accepts and says nothing, but reads, and so hears of the other end's."""
    while connection.recv(1 << 18):
        pass


def deaf(connection):
    """Accepts, and reads nothing for a minute; then all of it, and answers with its size and SHA-256."""
    time.sleep(float(sys.argv[3]) if len(sys.argv) > 3 else 60)
    digest, count = hashlib.sha256(), 0
    while chunk := connection.recv(1 << 18):
        digest.update(chunk)
        count += len(chunk)
    connection.sendall(f"{count} {digest.hexdigest()}\n".encode())


def resetting(connection):
    """Resets in the middle of a transfer that it sends."""
    for _ in range(64):
        connection.sendall(bytes(1 << 16))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def source(connection):
    """Sends without end."""
    block = bytes(1 << 16)
    while True:
        connection.sendall(block)


def gigabit_source(connection):
    """The same, as fast as a port of Gigabit Ethernet: 125 MB in a second (SO_MAX_PACING_RATE)."""
    connection.setsockopt(socket.SOL_SOCKET, 47, struct.pack("I", 125_000_000))
    source(connection)


def serve(server, behaviour):
    def handle(connection):
        with connection:
            try:
                behaviour(connection)
            except OSError:
                pass

    while True:
        connection, _ = server.accept()
        threading.Thread(target=handle, args=(connection,), daemon=True).start()


address, first = sys.argv[1], int(sys.argv[2])
for offset, behaviour in [(0, echo), (1, mute), (2, deaf), (3, resetting), (4, source), (6, gigabit_source)]:
    server = socket.create_server((address, first + offset), backlog=100)
    threading.Thread(target=serve, args=(server, behaviour), daemon=True).start()
# Listens and never accepts: its queue fills up.
full = socket.create_server((address, first + 5), backlog=2)
print("listening", flush=True)
threading.Event().wait()
