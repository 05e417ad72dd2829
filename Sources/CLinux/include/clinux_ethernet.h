#pragma once
// Packet sockets (packet(7)): raw Ethernet on an interface. Included by clinux.h.

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

/// struct virtio_net_hdr.
#define CLINUX_VNET_SIZE 10
/// Frames that one call receives, and bytes of a frame that lie in its slot; the rest goes to its overflow.
#define CLINUX_BATCH_LIMIT 32
#define CLINUX_BATCH_SLOT 2048

/// One instruction of a classic BPF program (struct sock_filter).
struct clinux_bpf {
  uint16_t code;
  uint8_t jump_true;
  uint8_t jump_false;
  uint32_t operand;
};

/// What comes with a frame besides its bytes: the tag that the kernel took out of it (PACKET_AUXDATA).
struct clinux_frame {
  /// Bytes of vnet header and frame that are there.
  uint32_t count;
  uint16_t tag_type;
  uint16_t tag;
  uint8_t is_tagged;
  uint8_t is_cut;
};

struct clinux_batch;

/// A non-blocking packet socket that receives nothing before it is bound.
int clinux_ethernet_socket(void);
int clinux_ethernet_set_filter(int fd, const struct clinux_bpf *program, unsigned short count);
/// Vnet headers, tags as auxiliary data, no frames of this host's own. -1 with the option's number in `failed`.
int clinux_ethernet_prepare(int fd, int *failed);
/// Starts to receive all EtherTypes of an interface.
int clinux_ethernet_bind(int fd, int interface);
/// The interface's index, kind (ARPHRD_*) and address.
int clinux_ethernet_name(int fd, int *interface, unsigned *kind, uint8_t address[8], unsigned *address_size);
/// Joins or leaves: `kind` is PACKET_MR_*, `address` has 6 bytes.
int clinux_ethernet_membership(int fd, int interface, int join, unsigned kind, const uint8_t *address);
/// PACKET_STATISTICS: frames and dropped frames since the last call.
int clinux_ethernet_statistics(int fd, unsigned *received, unsigned *dropped);
/// One vnet header and frame.
ssize_t clinux_ethernet_receive(int fd, void *bytes, size_t count, struct clinux_frame *frame);
ssize_t clinux_ethernet_send(int fd, const struct iovec *vectors, int count);

/// Room for a batch: slots, and overflow of which no page is touched before a long frame comes. NULL without memory.
struct clinux_batch *clinux_batch_create(size_t overflow);
void clinux_batch_free(struct clinux_batch *batch);
/// Receives as many frames as there are, up to the limit; how many, or -1.
int clinux_batch_receive(int fd, struct clinux_batch *batch);
/// What is known of a received frame; copies vnet header and frame to `bytes`, which has room for `count`.
void clinux_batch_take(const struct clinux_batch *batch, int index, struct clinux_frame *frame, void *bytes,
                       size_t count);
