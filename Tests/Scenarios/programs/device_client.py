#!/usr/bin/env python3
"""What an application does with an odd device; each verb says what came of it, and how long that took.

usage: device_client.py connect ADDRESS PORT SECONDS          one attempt
       device_client.py idle ADDRESS PORT SECONDS             an echo, a pause, another echo
       device_client.py hold ADDRESS PORT SECONDS             connected, with keepalive each second, and then closed
       device_client.py pour ADDRESS PORT BYTES               sends that much and demands its digest
       device_client.py run ADDRESS PORT up|down              a transfer until it ends, for whatever reason
       device_client.py fill ADDRESS PORT COUNT               connections to a device that accepts none
"""
import errno
import hashlib
import os
import socket
import sys
import time

verb, address, port, word = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
start = time.monotonic()


def done(outcome, status=0):
    print(f"{outcome} {time.monotonic() - start:.1f}", flush=True)
    sys.exit(status)


def connect(patience=30.0):
    connection = socket.create_connection((address, port), timeout=patience)
    connection.settimeout(patience)
    return connection


def echoed(connection):
    payload, answer = os.urandom(5000), b""
    connection.sendall(payload)
    while len(answer) < len(payload):
        chunk = connection.recv(1 << 16)
        if not chunk:
            return False
        answer += chunk
    return answer == payload


def run():
    if verb == "connect":
        connect(float(word)).close()
        done("CONNECTED")
    if verb == "idle":
        with connect() as connection:
            before = echoed(connection)
            time.sleep(float(word))
            done("same" if before and echoed(connection) else "different")
    if verb == "hold":
        with connect(float(word)) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT):
                connection.setsockopt(socket.IPPROTO_TCP, option, 1 if option != socket.TCP_KEEPCNT else 3)
            connection.sendall(b"anybody?")
            try:
                done("heard " + repr(connection.recv(100)), 1)
            except TimeoutError:
                done("silence")
    if verb == "pour":
        with connect() as connection:
            connection.settimeout(300)
            payload = os.urandom(int(word))
            connection.sendall(payload)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.makefile("rb").read().decode()
            expected = f"{len(payload)} {hashlib.sha256(payload).hexdigest()}\n"
            done("same" if answer == expected else f"different: {answer!r}")
    if verb == "run":
        with connect() as connection:
            connection.settimeout(None)
            block, is_first = bytes(1 << 16), True
            while word == "up" or connection.recv(1 << 18):
                if word == "up":
                    connection.send(block)
                if is_first:
                    print("running", flush=True)
                    is_first = False
            done("END")
    if verb == "fill":
        held, outcomes = [], []
        for _ in range(int(word)):
            try:
                held.append(connect(3.0))
                outcomes.append("CONNECTED")
            except TimeoutError:
                outcomes.append("ETIMEDOUT")
        done(" ".join(outcomes))


try:
    run()
except TimeoutError:
    done("ETIMEDOUT", 1)
except OSError as error:
    done(errno.errorcode.get(error.errno, str(error)), 1)
