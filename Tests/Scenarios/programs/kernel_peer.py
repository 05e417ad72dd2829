#!/usr/bin/env python3
"""One end of a TCP connection that the kernel makes: what Tests/StackPeer is for the stack, with the same JSON.

usage: kernel_peer.py listen|connect source|sink|exchange ADDRESS PORT BYTES SEED

A source sends, a sink takes in until the end, an exchange does both at once and ends its direction first.
"""
import hashlib
import json
import random
import socket
import sys
import threading
import time

role, task, address, port, count, seed = sys.argv[1:]
payload = b"" if task == "sink" else random.Random(int(seed)).randbytes(int(count))
received = []
family = socket.AF_INET6 if ":" in address else socket.AF_INET

if role == "listen":
    with socket.create_server((address, int(port)), family=family) as server:
        server.settimeout(60)
        connection, _ = server.accept()
else:
    connection = socket.create_connection((address, int(port)), timeout=60)
start = time.monotonic()
# An end that dies must not leave the other one here for ever.
connection.settimeout(60)


def send():
    connection.sendall(payload)
    connection.shutdown(socket.SHUT_WR)


outcome = "closed"
sender = threading.Thread(target=send)
try:
    if task == "sink":
        while chunk := connection.recv(1 << 18):
            received.append(chunk)
        seconds = time.monotonic() - start
        connection.shutdown(socket.SHUT_WR)
    else:
        sender.start()
        while chunk := connection.recv(1 << 18):
            received.append(chunk)
        seconds = time.monotonic() - start
        sender.join()
except OSError as error:
    outcome, seconds = f"{error}", 0
connection.close()
taken = b"".join(received)
print(
    json.dumps(
        {
            "outcome": outcome,
            "bytes": max(len(payload), len(taken)),
            "seconds": seconds,
            "sentSHA256": hashlib.sha256(payload).hexdigest(),
            "receivedSHA256": hashlib.sha256(taken).hexdigest(),
        }
    )
)
sys.exit(outcome != "closed")
