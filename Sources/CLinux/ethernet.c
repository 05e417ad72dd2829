#define _GNU_SOURCE
#include "clinux.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

_Static_assert(sizeof(struct clinux_bpf) == sizeof(struct sock_filter), "struct sock_filter");

struct clinux_batch {
  struct mmsghdr messages[CLINUX_BATCH_LIMIT];
  struct iovec vectors[CLINUX_BATCH_LIMIT][2];
  char control[CLINUX_BATCH_LIMIT][CMSG_SPACE(sizeof(struct tpacket_auxdata))] __attribute__((aligned(8)));
  size_t overflow_size;
  uint8_t *overflow;
  uint8_t slots[CLINUX_BATCH_LIMIT][CLINUX_BATCH_SLOT];
};

int clinux_ethernet_socket(void) { return socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0); }

int clinux_ethernet_set_filter(int fd, const struct clinux_bpf *program, unsigned short count) {
  struct sock_fprog filter = {.len = count, .filter = (struct sock_filter *)program};
  return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter);
}

int clinux_ethernet_prepare(int fd, int *failed) {
  static const int options[] = {PACKET_VNET_HDR, PACKET_AUXDATA, PACKET_IGNORE_OUTGOING};
  int on = 1;
  for (size_t index = 0; index < sizeof options / sizeof *options; index++) {
    *failed = options[index];
    if (setsockopt(fd, SOL_PACKET, options[index], &on, sizeof on) < 0) return -1;
  }
  return 0;
}

int clinux_ethernet_bind(int fd, int interface) {
  struct sockaddr_ll name = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = interface};
  return bind(fd, (struct sockaddr *)&name, sizeof name);
}

int clinux_ethernet_name(int fd, int *interface, unsigned *kind, uint8_t address[8], unsigned *address_size) {
  struct sockaddr_ll name = {0};
  socklen_t size = sizeof name;
  if (getsockname(fd, (struct sockaddr *)&name, &size) < 0) return -1;
  *interface = name.sll_ifindex;
  *kind = name.sll_hatype;
  *address_size = name.sll_halen;
  memcpy(address, name.sll_addr, 8);
  return 0;
}

int clinux_ethernet_membership(int fd, int interface, int join, unsigned kind, const uint8_t *address) {
  struct packet_mreq request = {.mr_ifindex = interface, .mr_type = (unsigned short)kind, .mr_alen = ETH_ALEN};
  memcpy(request.mr_address, address, ETH_ALEN);
  return setsockopt(fd, SOL_PACKET, join ? PACKET_ADD_MEMBERSHIP : PACKET_DROP_MEMBERSHIP, &request, sizeof request);
}

int clinux_ethernet_statistics(int fd, unsigned *received, unsigned *dropped) {
  struct tpacket_stats statistics = {0};
  socklen_t size = sizeof statistics;
  if (getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &statistics, &size) < 0) return -1;
  *received = statistics.tp_packets;
  *dropped = statistics.tp_drops;
  return 0;
}

static void describe(const struct msghdr *message, size_t count, struct clinux_frame *frame) {
  *frame = (struct clinux_frame){.count = (uint32_t)count, .is_cut = (message->msg_flags & MSG_TRUNC) != 0};
  for (struct cmsghdr *entry = CMSG_FIRSTHDR(message); entry; entry = CMSG_NXTHDR((struct msghdr *)message, entry)) {
    if (entry->cmsg_level != SOL_PACKET || entry->cmsg_type != PACKET_AUXDATA) continue;
    struct tpacket_auxdata data;
    if (entry->cmsg_len < CMSG_LEN(sizeof data)) continue;
    memcpy(&data, CMSG_DATA(entry), sizeof data);
    if (!(data.tp_status & TP_STATUS_VLAN_VALID)) continue;
    frame->is_tagged = 1;
    frame->tag = data.tp_vlan_tci;
    frame->tag_type = data.tp_status & TP_STATUS_VLAN_TPID_VALID ? data.tp_vlan_tpid : ETH_P_8021Q;
  }
}

ssize_t clinux_ethernet_receive(int fd, void *bytes, size_t count, struct clinux_frame *frame) {
  char control[CMSG_SPACE(sizeof(struct tpacket_auxdata))] __attribute__((aligned(8)));
  struct iovec vector = {.iov_base = bytes, .iov_len = count};
  struct msghdr message = {
      .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  ssize_t received = recvmsg(fd, &message, 0);
  if (received >= 0) describe(&message, (size_t)received, frame);
  return received;
}

ssize_t clinux_ethernet_send(int fd, const struct iovec *vectors, int count) {
  struct msghdr message = {.msg_iov = (struct iovec *)vectors, .msg_iovlen = (size_t)count};
  return sendmsg(fd, &message, MSG_NOSIGNAL);
}

struct clinux_batch *clinux_batch_create(size_t overflow) {
  struct clinux_batch *batch = calloc(1, sizeof *batch);
  if (!batch) return NULL;
  batch->overflow_size = overflow;
  batch->overflow = mmap(NULL, overflow * CLINUX_BATCH_LIMIT, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (batch->overflow == MAP_FAILED) {
    free(batch);
    return NULL;
  }
  for (int index = 0; index < CLINUX_BATCH_LIMIT; index++) {
    batch->vectors[index][0] = (struct iovec){batch->slots[index], CLINUX_BATCH_SLOT};
    batch->vectors[index][1] = (struct iovec){batch->overflow + (size_t)index * overflow, overflow};
  }
  return batch;
}

void clinux_batch_free(struct clinux_batch *batch) {
  munmap(batch->overflow, batch->overflow_size * CLINUX_BATCH_LIMIT);
  free(batch);
}

int clinux_batch_receive(int fd, struct clinux_batch *batch) {
  for (int index = 0; index < CLINUX_BATCH_LIMIT; index++) {
    batch->messages[index].msg_hdr = (struct msghdr){.msg_iov = batch->vectors[index],
                                                     .msg_iovlen = 2,
                                                     .msg_control = batch->control[index],
                                                     .msg_controllen = sizeof batch->control[index]};
  }
  return recvmmsg(fd, batch->messages, CLINUX_BATCH_LIMIT, 0, NULL);
}

void clinux_batch_take(const struct clinux_batch *batch, int index, struct clinux_frame *frame, void *bytes,
                       size_t count) {
  size_t size = batch->messages[index].msg_len;
  describe(&batch->messages[index].msg_hdr, size, frame);
  if (size > count) {
    frame->is_cut = 1;
    size = count;
  }
  size_t first = size < CLINUX_BATCH_SLOT ? size : CLINUX_BATCH_SLOT;
  memcpy(bytes, batch->slots[index], first);
  if (size > first) memcpy((uint8_t *)bytes + first, batch->vectors[index][1].iov_base, size - first);
}
