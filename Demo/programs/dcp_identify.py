#!/usr/bin/python3
"""Asks all PROFINET devices on an interface who they are (DCP Identify), and prints name and address of each.

    dcp_identify.py INTERFACE

By scapy, of Debian's python3-scapy. Exit status 0 if any answered.
"""
import sys
import time

from scapy.arch import get_if_hwaddr
from scapy.config import conf
from scapy.contrib.pnio import ProfinetIO
from scapy.contrib.pnio_dcp import ProfinetDCP
from scapy.layers.l2 import Ether

MULTICAST = "01:0e:cf:00:00:00"
XID = 0x52564D4F


def main():
    interface = sys.argv[1]
    conf.verb = 0
    socket = conf.L2socket(iface=interface)
    question = Ether(src=get_if_hwaddr(interface), dst=MULTICAST, type=0x8892) / ProfinetIO(frameID=0xFEFE) / ProfinetDCP(
        service_id=5, service_type=0, xid=XID, reserved=1, option=255, sub_option=255, dcp_data_length=4,
        dcp_block_length=0)
    found = {}
    deadline = time.monotonic() + 3
    socket.send(question)
    while time.monotonic() < deadline and len(found) < 3:
        if not socket.select([socket], deadline - time.monotonic()):
            break
        frame = socket.recv()
        if frame is None or ProfinetDCP not in frame or frame[ProfinetIO].frameID != 0xFEFF:
            continue
        if frame[ProfinetDCP].xid == XID:
            found[frame.src] = name_of_station(bytes(frame[ProfinetDCP]))
    for address, name in sorted(found.items()):
        print(name or "(no name)", address)
    return 0 if found else 1


def name_of_station(answer):
    """Block 2.2 of an answer: blocks are option, suboption, length, block information, value, and even."""
    place = 10
    while place + 6 <= len(answer):
        size = int.from_bytes(answer[place + 2:place + 4], "big")
        if answer[place:place + 2] == b"\2\2":
            return answer[place + 6:place + 4 + size].decode("ascii", "replace")
        place += 4 + size + size % 2
    return ""


sys.exit(main())
