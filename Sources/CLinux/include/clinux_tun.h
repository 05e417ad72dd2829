#pragma once
// Universal TUN/TAP (linux/if_tun.h) and network namespaces. Included by clinux.h.

#define CLINUX_INTERFACE_NAME_SIZE 16

enum {
  CLINUX_TUN_KIND_TUN = 0x0001,
  CLINUX_TUN_KIND_TAP = 0x0002,
  CLINUX_TUN_MULTI_QUEUE = 0x0100,
  CLINUX_TUN_NO_PACKET_INFORMATION = 0x1000,
  CLINUX_TUN_VNET_HEADER = 0x4000,
};

enum {
  CLINUX_TUN_OFFLOAD_CHECKSUM = 0x01,
  CLINUX_TUN_OFFLOAD_TSO4 = 0x02,
  CLINUX_TUN_OFFLOAD_TSO6 = 0x04,
  CLINUX_TUN_OFFLOAD_TSO_ECN = 0x08,
  CLINUX_TUN_OFFLOAD_USO4 = 0x20,
  CLINUX_TUN_OFFLOAD_USO6 = 0x40,
};

/// Opens a character device for reading and writing: non-blocking and closed on exec.
int clinux_open_device(const char *path);
/// TUNSETIFF. `name` holds the wanted name or pattern and receives the one that was given.
int clinux_tun_attach(int fd, unsigned short flags, char name[CLINUX_INTERFACE_NAME_SIZE]);
/// TUNGETIFF.
int clinux_tun_query(int fd, unsigned short *flags, char name[CLINUX_INTERFACE_NAME_SIZE]);
/// TUNSETOFFLOAD.
int clinux_tun_set_offload(int fd, unsigned offload);
/// TUNSETVNETHDRSZ.
int clinux_tun_set_header_size(int fd, int bytes);
/// TUNGETVNETHDRSZ.
int clinux_tun_header_size(int fd, int *bytes);
/// TUNSETCARRIER: whether something seems to be plugged in (Linux 5.0).
int clinux_tun_set_carrier(int fd, int on);
/// The index of an interface in this thread's network namespace, or -1.
int clinux_interface_index(const char *name);
/// Moves the calling thread to a new network namespace.
int clinux_unshare_network(void);
/// A non-blocking rtnetlink socket that hears the multicast groups of the mask (RTMGRP_*).
int clinux_route_listener(unsigned groups);
/// One datagram from the kernel; what others sent is skipped.
ssize_t clinux_route_receive(int fd, void *bytes, size_t count);
