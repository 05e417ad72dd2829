#!/usr/bin/env python3
"""A PLC: a Modbus/TCP server (pymodbus) whose holding registers 0-7 spell a 16-byte text; 100-199 can be written.

usage: modbus_device.py ADDRESS PORT TEXT
"""
import struct
import sys

from pymodbus.server import StartTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

address, port, text = sys.argv[1], int(sys.argv[2]), sys.argv[3].encode().ljust(16)[:16]
registers = [
    SimData(0, values=list(struct.unpack(">8H", text)), datatype=DataType.REGISTERS),
    SimData(100, count=100, values=0, datatype=DataType.REGISTERS),
]
StartTcpServer(SimDevice(1, registers), address=(address, port))
