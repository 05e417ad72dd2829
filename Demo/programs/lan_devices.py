#!/usr/bin/python3
"""Devices of a plant's network as they answer who looks for them: PROFINET, EtherNet/IP, mDNS, SSDP, ARP and LLDP.

    lan_devices.py INTERFACE

Frames are made and read by scapy, so that they are another implementation's. What a device was given by DCP it has
from then on. Needs Debian's python3-scapy.
"""
import struct
import sys
import threading
import time

from scapy.config import conf
from scapy.contrib.lldp import (
    LLDPDUChassisID, LLDPDUEndOfLLDPDU, LLDPDUPortID, LLDPDUSystemName, LLDPDUTimeToLive)
from scapy.contrib.pnio import ProfinetIO
from scapy.contrib.pnio_dcp import (
    DCPControlBlock, DCPDeviceRoleBlock, DCPIPBlock, DCPManufacturerSpecificBlock, DCPNameOfStationBlock, ProfinetDCP)
from scapy.layers.dns import DNS, DNSRR, DNSRRSRV
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

IDENTIFY_REQUEST, IDENTIFY_RESPONSE, GET_SET = 0xFEFE, 0xFEFF, 0xFEFD
IN_OPERATION = 6

PROFINET = {
    "00:0e:8c:00:00:01": {"name": "plc-1", "type": "S7-1200", "ip": "192.168.10.51", "locked": True},
    # Has lost its address and never had a name.
    "00:a0:45:00:00:02": {"name": "", "type": "AXL F BK PN", "ip": "0.0.0.0", "locked": False},
    # Comes from another plant.
    "00:01:05:00:00:03": {"name": "ek9300", "type": "EK9300", "ip": "10.20.30.40", "locked": False},
}
ETHERNET_IP = ("00:00:bc:00:00:04", "192.168.10.52")
PRINTER = ("02:00:00:00:00:05", "192.168.10.53")
PANEL = ("02:00:00:00:00:06", "192.168.10.54")
QUIET = {"02:00:00:00:00:07": "192.168.10.55", "02:00:00:00:00:08": "10.20.30.99"}
SWITCH = "00:80:63:00:00:09"


def block(made):
    """A block as long as it says, and even: scapy adds a byte whether one is needed or not."""
    size = 4 + made.dcp_block_length
    return bytes(made)[:size + size % 2]


def dcp_answer(mac, device, request, to):
    """The device's account of itself, with block information before each value."""
    address, kind, name = device["ip"], device["type"], device["name"]
    has_address = address != "0.0.0.0"
    blocks = b"".join(map(block, (
        DCPManufacturerSpecificBlock(dcp_block_length=2 + len(kind), device_vendor_value=kind),
        DCPNameOfStationBlock(dcp_block_length=2 + len(name), name_of_station=name),
        DCPDeviceRoleBlock(dcp_block_length=4, device_role_details=1),
        DCPIPBlock(
            dcp_block_length=14, block_info=1 if has_address else 0, ip=address,
            netmask="255.255.255.0" if has_address else "0.0.0.0", gateway=address))))
    header = struct.pack(">BBIHH", 5, 1, request.xid, 0, len(blocks))
    return Ether(src=mac, dst=to, type=0x8892) / ProfinetIO(frameID=IDENTIFY_RESPONSE) / Raw(header + blocks)


def dcp_set(mac, device, request, to):
    error = 0
    if (request.option, request.sub_option) == (2, 2):
        name = request.name_of_station
        device["name"] = name.decode() if isinstance(name, bytes) else name
    elif (request.option, request.sub_option) == (1, 2):
        if device["locked"]:
            error = IN_OPERATION
        else:
            device["ip"] = request.ip
    else:
        error = 1
    result = bytes(DCPControlBlock(response=request.option, response_sub_option=request.sub_option, block_error=error))
    header = struct.pack(">BBIHH", 4, 1, request.xid, 0, len(result))
    return Ether(src=mac, dst=to, type=0x8892) / ProfinetIO(frameID=GET_SET) / Raw(header + result)


def list_identity(request):
    name = b"1756-EN2T/A"
    socket_address = struct.pack(">HH4s8x", 2, 44818, bytes(map(int, ETHERNET_IP[1].split("."))))
    item = struct.pack("<H", 1) + socket_address + struct.pack("<HHHBBHIB", 1, 12, 166, 10, 2, 0x60, 0x12345678, len(name))
    item += name + b"\3"
    data = struct.pack("<HHH", 1, 0x0C, len(item)) + item
    return struct.pack("<HHII8sI", 0x63, len(data), 0, 0, request[12:20], 0) + data


def dns_answer(query):
    name = query.qd.qname.decode().rstrip(".")
    if name == "_services._dns-sd._udp.local":
        records = DNSRR(rrname=name, type="PTR", ttl=10, rdata="_ipp._tcp.local")
    elif name == "_ipp._tcp.local":
        records = DNSRR(rrname=name, type="PTR", ttl=10, rdata="Label printer._ipp._tcp.local")
    elif name == "Label printer._ipp._tcp.local":
        records = DNSRRSRV(rrname=name, ttl=10, port=631, target="label-printer.local") / DNSRR(
            rrname="label-printer.local", type="A", ttl=10, rdata=PRINTER[1])
    else:
        return None
    return bytes(DNS(id=query.id, qr=1, aa=1, rd=0, qd=query.qd, an=records))


def datagram(to, source, sport, payload):
    mac, address = source
    return Ether(src=mac, dst=to.src) / IP(src=address, dst=to[IP].src) / UDP(sport=sport, dport=to[UDP].sport) / Raw(payload)


def answers(frame):
    if frame.type == 0x8892 and ProfinetDCP in frame:
        request = frame[ProfinetDCP]
        if frame[ProfinetIO].frameID == IDENTIFY_REQUEST:
            for mac, device in PROFINET.items():
                yield dcp_answer(mac, device, request, frame.src)
        elif request.service_id == 4 and request.service_type == 0 and frame.dst in PROFINET:
            yield dcp_set(frame.dst, PROFINET[frame.dst], request, frame.src)
    elif ARP in frame and frame[ARP].op == 1:
        owners = dict(QUIET) | dict([ETHERNET_IP, PRINTER, PANEL])
        owners |= {mac: device["ip"] for mac, device in PROFINET.items()}
        for mac, address in owners.items():
            if address == frame[ARP].pdst:
                yield Ether(src=mac, dst=frame.src) / ARP(
                    op=2, hwsrc=mac, psrc=address, hwdst=frame[ARP].hwsrc, pdst=frame[ARP].psrc)
    elif UDP in frame and frame[UDP].dport == 44818:
        yield datagram(frame, ETHERNET_IP, 44818, list_identity(bytes(frame[UDP].payload)))
    elif UDP in frame and frame[UDP].dport == 5353:
        payload = dns_answer(DNS(bytes(frame[UDP].payload)))
        if payload:
            yield datagram(frame, PRINTER, 5353, payload)
    elif UDP in frame and frame[UDP].dport == 1900 and bytes(frame[UDP].payload).startswith(b"M-SEARCH"):
        yield datagram(
            frame, PANEL, 49152,
            b"HTTP/1.1 200 OK\r\nST: upnp:rootdevice\r\nSERVER: Linux/5 UPnP/1.0 Panel/2\r\n"
            b"LOCATION: http://192.168.10.54:80/description.xml\r\nUSN: uuid:1\r\n\r\n")


def announce(interface):
    socket = conf.L2socket(iface=interface)
    frame = Ether(src=SWITCH, dst="01:80:c2:00:00:0e") / LLDPDUChassisID(subtype=4, id=SWITCH) / LLDPDUPortID(
        subtype=7, id=b"port-001") / LLDPDUTimeToLive(ttl=20) / LLDPDUSystemName(
            system_name=b"cell-switch") / LLDPDUEndOfLLDPDU()
    while True:
        socket.send(frame)
        time.sleep(0.5)


def main():
    interface = sys.argv[1]
    conf.verb = 0
    socket = conf.L2socket(iface=interface, promisc=True)
    threading.Thread(target=announce, args=(interface,), daemon=True).start()
    print("listening", flush=True)
    ours = set(PROFINET) | set(QUIET) | {ETHERNET_IP[0], PRINTER[0], PANEL[0], SWITCH}
    while True:
        frame = socket.recv()
        if frame is None or Ether not in frame or frame.src in ours:
            continue
        try:
            for answer in answers(frame):
                socket.send(answer)
        except Exception as error:  # a frame that scapy can't read ends no device
            print(f"{type(error).__name__}: {error}", flush=True)


main()
