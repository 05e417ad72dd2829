#!/usr/bin/env python3
"""A device's web server: GET sends files of a directory, PUT answers with what arrived (bytes and SHA-256).

usage: web_server.py ADDRESS PORT DIRECTORY
"""
import hashlib
import http.server
import socket
import sys


class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_PUT(self):
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        remaining = int(self.headers["Content-Length"])
        digest, received = hashlib.sha256(), 0
        while received < remaining:
            chunk = self.rfile.read(min(1 << 20, remaining - received))
            if not chunk:
                break
            digest.update(chunk)
            received += len(chunk)
        answer = f"{received} {digest.hexdigest()}\n".encode()
        self.send_response(200 if received == remaining else 400)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def handle_expect_100(self):
        return True  # answered in do_PUT, once

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET

    def server_bind(self):
        # The library's own version asks a resolver for the name of the address, and there is none here.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = self.server_address[:2]


address, port, directory = sys.argv[1:]
with Server((address, int(port)), lambda *a: Handler(*a, directory=directory)) as server:
    server.serve_forever()
