#!/usr/bin/env python3
"""Opens a connection, says nothing for a while, and then asks: says waiting, and in the end answered or the error's name.

usage: idle.py ADDRESS PORT SECONDS
"""
import errno
import socket
import sys
import time

address, port, rest = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
with socket.create_connection((address, port), timeout=60) as connection:
    print("waiting", flush=True)
    time.sleep(rest)
    try:
        connection.sendall(b"GET /index.html HTTP/1.0\r\n\r\n")
        print("answered" if connection.recv(4096).startswith(b"HTTP/") else "END")
    except OSError as error:
        print(errno.errorcode.get(error.errno, error))
