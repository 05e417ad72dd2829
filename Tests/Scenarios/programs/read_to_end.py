#!/usr/bin/env python3
"""Asks for a page and reads slowly to the end of the connection; says how that came: END or the error's name.

usage: read_to_end.py ADDRESS PORT PATH BYTES-A-SECOND
"""
import errno
import socket
import sys
import time

address, port, path, rate = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
with socket.create_connection((address, port), timeout=30) as connection:
    connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
    size = max(1, rate // 100)
    is_first = True
    try:
        while connection.recv(size):
            if is_first:
                print("reading", flush=True)
                is_first = False
            time.sleep(0.01)
        print("END")
    except OSError as error:
        print(errno.errorcode.get(error.errno, error))
