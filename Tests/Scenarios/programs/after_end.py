#!/usr/bin/env python3
"""A server that answers only once its client has ended its direction, and a client that demands just that.

usage: after_end.py serve ADDRESS PORT
       after_end.py ask ADDRESS PORT BYTES       exit status 0: the whole answer came, and ended in order
"""
import hashlib
import os
import socket
import sys


def receive_all(connection):
    digest, count = hashlib.sha256(), 0
    while chunk := connection.recv(1 << 18):
        digest.update(chunk)
        count += len(chunk)
    return count, digest.hexdigest()


address, port = sys.argv[2], int(sys.argv[3])
if sys.argv[1] == "serve":
    with socket.create_server((address, port)) as server:
        while True:
            connection, _ = server.accept()
            with connection:
                count, digest = receive_all(connection)
                # As many bytes again: this direction works on after the other one has ended.
                connection.sendall(f"{count} {digest}\n".encode() + bytes(count))
else:
    payload = os.urandom(int(sys.argv[4]))
    with socket.create_connection((address, port), timeout=30) as connection:
        connection.sendall(payload)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := connection.recv(1 << 18):
            answer += chunk
    line, _, rest = answer.partition(b"\n")
    expected = f"{len(payload)} {hashlib.sha256(payload).hexdigest()}"
    same = line.decode() == expected and len(rest) == len(payload)
    print(("same" if same else "different"), line.decode(), len(rest))
    sys.exit(not same)
