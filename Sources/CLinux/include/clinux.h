#pragma once
// Macros, ioctls and calls that Swift can't import, or imports only with GNU extensions, as small functions.
// Every function returns the call's own result; errno is the caller's to read at once.

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#define CLINUX_EVENT_LIMIT 256

struct clinux_event {
  uint64_t token;
  uint32_t readiness;
};

int clinux_errno(void);
int clinux_set_nonblocking(int fd);
int clinux_set_blocking(int fd);
int clinux_duplicate(int fd);
int clinux_pipe(int ends[2]);
int clinux_pipe_set_size(int fd, int bytes);
ssize_t clinux_splice(int from, int to, size_t count);
int clinux_set_option(int fd, int level, int name, int value);
int clinux_option(int fd, int level, int name, int *value);
/// Resets the connection when the descriptor is closed (SO_LINGER with a time of 0), by whomever; 0 undoes it.
int clinux_reset_on_close(int fd, int on);
/// TCP_INFO: questions to the peer that are without an answer (retransmissions or window probes, whichever are more), and
/// milliseconds since its last acknowledgement.
int clinux_tcp_unanswered(int fd, unsigned *questions, unsigned *milliseconds);
/// SO_MEMINFO: datagrams that arrived and found no room, since the socket was made.
int clinux_dropped(int fd, unsigned *count);
/// Non-blocking and closed on exec.
int clinux_socket(int family, int type, int protocol);
int clinux_bind(int fd, const void *address, unsigned length);
int clinux_connect(int fd, const void *address, unsigned length);
int clinux_accept(int fd, void *address, unsigned *length);
int clinux_local_name(int fd, void *address, unsigned *length);
int clinux_peer_name(int fd, void *address, unsigned *length);
ssize_t clinux_send(int fd, const struct iovec *vectors, int count);
/// Sends all of the vectors from a connected UDP socket; with a segment size as datagrams of so many bytes each, the last
/// of which may have fewer (UDP_SEGMENT).
ssize_t clinux_send_datagrams(int fd, const struct iovec *vectors, int count, uint16_t segment_size);
/// Lets a UDP socket hand over several datagrams of one size at once (UDP_GRO).
int clinux_join_datagrams(int fd);
/// One datagram, or several joined ones; then `segment_size` is theirs, all but the last one's. 0 for a single one.
ssize_t clinux_receive_datagrams(int fd, void *bytes, size_t count, unsigned *segment_size);
/// Copies waiting bytes without taking them from the socket.
ssize_t clinux_peek(int fd, void *bytes, size_t count);
ssize_t clinux_send_to(int fd, const void *bytes, size_t count, const void *address, unsigned length);
ssize_t clinux_receive_from(int fd, void *bytes, size_t count, void *address, unsigned *length);
int clinux_poll_one(int fd, short events, int timeout_milliseconds);
int clinux_poll_two(int first, short first_events, int second, int timeout_milliseconds, short *first_ready,
                    short *second_ready);
int clinux_epoll_create(void);
int clinux_epoll_control(int epoll, int operation, int fd, uint32_t events, uint64_t token);
/// A negative timeout waits for ever.
int clinux_epoll_wait(int epoll, struct clinux_event *events, int capacity, int64_t timeout_nanoseconds);
/// Blocks the signals in the calling thread and returns a descriptor that reports them.
int clinux_signal_descriptor(const int *signals, int count);
/// The next signal's number, or -1.
int clinux_signal_read(int fd);
void clinux_ignore_broken_pipes(void);
int clinux_event_descriptor(void);
void clinux_event_signal(int fd);
void clinux_event_clear(int fd);
int clinux_thread_name(const char *name);
/// Gives free pages of the heap back to the system.
void clinux_trim_heap(void);
#include "clinux_tun.h"
#include "clinux_ethernet.h"
#include "clinux_confinement.h"
