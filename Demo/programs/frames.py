"""Single frames on an interface, by packet sockets.

  frames.py answer IF ETHERTYPE                 sends each frame of the type back to its sender, tags and all
  frames.py ask IF ETHERTYPE [--size N] [--vlan ID] [--to MAC] [--source MAC] [--seconds S]
                                                  sends one frame, and prints who answers with the same payload
  frames.py arping IF OWN-IP TARGET-IP          asks who has an address, and prints who says so
  frames.py hear IF ETHERTYPE SECONDS           counts frames of the type
"""

import argparse
import select
import socket
import struct
import sys
import time

EVERYTHING = 3  # ETH_P_ALL


def opened(interface, kind=EVERYTHING):
    port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(kind))
    # PACKET_AUXDATA: the kernel takes tags out of frames.
    port.setsockopt(263, 8, 1)
    port.bind((interface, kind))
    return port


def received(port, seconds):
    """The next frame with its tag, and whether it is one of this host's own; None when time is up."""
    if not select.select([port], [], [], max(0, seconds))[0]:
        return None
    frame, extra, _, (_, _, kind, _, _) = port.recvmsg(70000, 256)
    for level, name, data in extra:
        if (level, name) == (263, 8):
            status, _, _, _, _, tag, tag_type = struct.unpack("IIIHHHH", data[:20])
            if status & 0x10:
                frame = frame[:12] + struct.pack("!HH", tag_type if status & 0x40 else 0x8100, tag) + frame[12:]
    return frame, kind == socket.PACKET_OUTGOING


def own_address(port):
    return port.getsockname()[4]


def ethertype(frame):
    place = 12
    while frame[place : place + 2] in (b"\x81\x00", b"\x88\xa8"):
        place += 4
    return place, int.from_bytes(frame[place : place + 2], "big")


def mac(text):
    return bytes(int(part, 16) for part in text.split(":"))


def answer(arguments):
    port = opened(arguments.interface)
    print("ready", flush=True)
    while True:
        frame, is_own = received(port, 3600)
        if not is_own and ethertype(frame)[1] == arguments.type:
            port.send(frame[6:12] + own_address(port) + frame[12:])


def ask(arguments):
    port = opened(arguments.interface)
    payload = bytes(i % 251 for i in range(arguments.size))
    tag = b"" if arguments.vlan is None else struct.pack("!HH", 0x8100, arguments.vlan)
    source = mac(arguments.source) if arguments.source else own_address(port)
    rest = tag + struct.pack("!H", arguments.type) + payload
    port.send(mac(arguments.to) + source + rest)
    deadline = time.monotonic() + arguments.seconds
    answers = []
    while time.monotonic() < deadline:
        one = received(port, deadline - time.monotonic())
        if one and not one[1] and one[0][12:] == rest:
            answers.append(one[0][6:12].hex(":"))
            if arguments.first:
                break
    print("answers", len(answers), *answers)
    return 0 if answers else 1


def arping(arguments):
    port = opened(arguments.interface, 0x0806)
    own, target = socket.inet_aton(arguments.own), socket.inet_aton(arguments.target)
    address = own_address(port)
    question = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + address + own + bytes(6) + target
    for _ in range(5):
        port.send(b"\xff" * 6 + address + b"\x08\x06" + question)
        one = received(port, 2)
        while one:
            frame, is_own = one
            if not is_own and frame[20:22] == b"\x00\x02" and frame[28:32] == target:
                print(arguments.target, "is at", frame[22:28].hex(":"))
                return 0
            one = received(port, 0.5)
    return 1


def hear(arguments):
    port = opened(arguments.interface)
    deadline = time.monotonic() + arguments.seconds
    count = 0
    while time.monotonic() < deadline:
        one = received(port, deadline - time.monotonic())
        if one and not one[1] and ethertype(one[0])[1] == arguments.type:
            count += 1
    print("heard", count)
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    verbs = parser.add_subparsers(required=True)
    number = lambda text: int(text, 0)
    for name, function in ("answer", answer), ("ask", ask), ("arping", arping), ("hear", hear):
        verb = verbs.add_parser(name)
        verb.set_defaults(function=function)
        verb.add_argument("interface")
        if name == "arping":
            verb.add_argument("own")
            verb.add_argument("target")
            continue
        verb.add_argument("type", type=number)
        if name == "hear":
            verb.add_argument("seconds", type=float)
        if name == "ask":
            verb.add_argument("--size", type=int, default=46)
            verb.add_argument("--vlan", type=int)
            verb.add_argument("--to", default="ff:ff:ff:ff:ff:ff")
            verb.add_argument("--source")
            verb.add_argument("--seconds", type=float, default=5)
            verb.add_argument("--first", action="store_true")
    arguments = parser.parse_args()
    return arguments.function(arguments)


if __name__ == "__main__":
    sys.exit(main())
