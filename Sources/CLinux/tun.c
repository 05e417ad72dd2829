#define _GNU_SOURCE
#include "clinux.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

_Static_assert(CLINUX_INTERFACE_NAME_SIZE == IFNAMSIZ, "interface name size");

int clinux_open_device(const char *path) { return open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK); }

int clinux_tun_attach(int fd, unsigned short flags, char name[CLINUX_INTERFACE_NAME_SIZE]) {
  struct ifreq request;
  memset(&request, 0, sizeof request);
  memcpy(request.ifr_name, name, IFNAMSIZ - 1);
  request.ifr_flags = (short)flags;
  int result = ioctl(fd, TUNSETIFF, &request);
  if (result == 0) memcpy(name, request.ifr_name, IFNAMSIZ);
  return result;
}

int clinux_tun_query(int fd, unsigned short *flags, char name[CLINUX_INTERFACE_NAME_SIZE]) {
  struct ifreq request;
  memset(&request, 0, sizeof request);
  int result = ioctl(fd, TUNGETIFF, &request);
  if (result == 0) {
    memcpy(name, request.ifr_name, IFNAMSIZ);
    name[IFNAMSIZ - 1] = 0;
    *flags = (unsigned short)request.ifr_flags;
  }
  return result;
}

int clinux_tun_set_offload(int fd, unsigned offload) { return ioctl(fd, TUNSETOFFLOAD, (unsigned long)offload); }

int clinux_tun_set_header_size(int fd, int bytes) { return ioctl(fd, TUNSETVNETHDRSZ, &bytes); }

int clinux_tun_header_size(int fd, int *bytes) { return ioctl(fd, TUNGETVNETHDRSZ, bytes); }

int clinux_interface_index(const char *name) {
  unsigned index = if_nametoindex(name);
  return index == 0 ? -1 : (int)index;
}

int clinux_unshare_network(void) { return unshare(CLONE_NEWNET); }

int clinux_route_listener(unsigned groups) {
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
  if (fd < 0) return -1;
  struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = groups};
  if (bind(fd, (struct sockaddr *)&address, sizeof address) == 0) return fd;
  int code = errno;
  close(fd);
  errno = code;
  return -1;
}

ssize_t clinux_route_receive(int fd, void *bytes, size_t count) {
  for (;;) {
    struct sockaddr_nl address;
    socklen_t length = sizeof address;
    ssize_t received = recvfrom(fd, bytes, count, MSG_DONTWAIT, (struct sockaddr *)&address, &length);
    if (received < 0 && errno == EINTR) continue;
    if (received < 0 || address.nl_pid == 0) return received;
  }
}

int clinux_tun_set_carrier(int fd, int on) { return ioctl(fd, TUNSETCARRIER, &on); }
