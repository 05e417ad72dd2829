#define _GNU_SOURCE
#include "clinux.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

int clinux_errno(void) { return errno; }

int clinux_set_nonblocking(int fd) {
  int flags = fcntl(fd, F_GETFL);
  return flags < 0 ? -1 : fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

int clinux_set_blocking(int fd) {
  int flags = fcntl(fd, F_GETFL);
  return flags < 0 ? -1 : fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
}

int clinux_duplicate(int fd) { return fcntl(fd, F_DUPFD_CLOEXEC, 0); }

int clinux_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC | O_NONBLOCK); }

int clinux_pipe_set_size(int fd, int bytes) { return fcntl(fd, F_SETPIPE_SZ, bytes); }

ssize_t clinux_splice(int from, int to, size_t count) {
  return splice(from, 0, to, 0, count, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
}

int clinux_set_option(int fd, int level, int name, int value) {
  return setsockopt(fd, level, name, &value, sizeof value);
}

int clinux_option(int fd, int level, int name, int *value) {
  socklen_t length = sizeof *value;
  return getsockopt(fd, level, name, value, &length);
}

int clinux_reset_on_close(int fd, int on) {
  struct linger linger = {.l_onoff = on, .l_linger = 0};
  return setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
}

int clinux_tcp_unanswered(int fd, unsigned *questions, unsigned *milliseconds) {
  struct tcp_info information = {0};
  socklen_t length = sizeof information;
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &information, &length) < 0) return -1;
  unsigned probes = information.tcpi_probes, retransmits = information.tcpi_retransmits;
  *questions = probes > retransmits ? probes : retransmits;
  *milliseconds = information.tcpi_last_ack_recv;
  return 0;
}

int clinux_dropped(int fd, unsigned *count) {
  // linux/sock_diag.h: SK_MEMINFO_DROPS is the last of these.
  uint32_t information[9] = {0};
  socklen_t length = sizeof information;
  if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, information, &length) < 0) return -1;
  *count = information[8];
  return 0;
}

int clinux_socket(int family, int type, int protocol) {
  return socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
}

int clinux_bind(int fd, const void *address, unsigned length) { return bind(fd, address, length); }

int clinux_connect(int fd, const void *address, unsigned length) { return connect(fd, address, length); }

int clinux_accept(int fd, void *address, unsigned *length) {
  return accept4(fd, address, length, SOCK_CLOEXEC | SOCK_NONBLOCK);
}

int clinux_local_name(int fd, void *address, unsigned *length) { return getsockname(fd, address, length); }

int clinux_peer_name(int fd, void *address, unsigned *length) { return getpeername(fd, address, length); }

ssize_t clinux_send(int fd, const struct iovec *vectors, int count) {
  struct msghdr message = {.msg_iov = (struct iovec *)vectors, .msg_iovlen = count};
  return sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

ssize_t clinux_send_datagrams(int fd, const struct iovec *vectors, int count, uint16_t segment_size) {
  union {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof segment_size)];
  } control;
  struct msghdr message = {.msg_iov = (struct iovec *)vectors, .msg_iovlen = count};
  if (segment_size > 0) {
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof control.bytes;
    control.header =
        (struct cmsghdr){.cmsg_level = SOL_UDP, .cmsg_type = UDP_SEGMENT, .cmsg_len = CMSG_LEN(sizeof segment_size)};
    memcpy(CMSG_DATA(&control.header), &segment_size, sizeof segment_size);
  }
  return sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

int clinux_join_datagrams(int fd) { return clinux_set_option(fd, SOL_UDP, UDP_GRO, 1); }

ssize_t clinux_receive_datagrams(int fd, void *bytes, size_t count, unsigned *segment_size) {
  union {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
  } control;
  struct iovec vector = {bytes, count};
  struct msghdr message = {
      .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
  ssize_t received = recvmsg(fd, &message, MSG_DONTWAIT);
  *segment_size = 0;
  if (received < 0) return received;
  for (struct cmsghdr *next = CMSG_FIRSTHDR(&message); next != NULL; next = CMSG_NXTHDR(&message, next)) {
    if (next->cmsg_level != SOL_UDP || next->cmsg_type != UDP_GRO) continue;
    int size;
    memcpy(&size, CMSG_DATA(next), sizeof size);
    if (size > 0 && size < received) *segment_size = (unsigned)size;
  }
  return received;
}

ssize_t clinux_peek(int fd, void *bytes, size_t count) { return recv(fd, bytes, count, MSG_PEEK | MSG_DONTWAIT); }

ssize_t clinux_send_to(int fd, const void *bytes, size_t count, const void *address, unsigned length) {
  return sendto(fd, bytes, count, MSG_NOSIGNAL | MSG_DONTWAIT, address, length);
}

ssize_t clinux_receive_from(int fd, void *bytes, size_t count, void *address, unsigned *length) {
  return recvfrom(fd, bytes, count, MSG_DONTWAIT | MSG_TRUNC, address, length);
}

int clinux_poll_one(int fd, short events, int timeout_milliseconds) {
  struct pollfd entry = {.fd = fd, .events = events};
  return poll(&entry, 1, timeout_milliseconds);
}

int clinux_poll_two(int first, short first_events, int second, int timeout_milliseconds, short *first_ready,
                    short *second_ready) {
  struct pollfd entries[2] = {{.fd = first, .events = first_events}, {.fd = second, .events = POLLIN}};
  int count = poll(entries, 2, timeout_milliseconds);
  *first_ready = entries[0].revents;
  *second_ready = entries[1].revents;
  return count;
}

int clinux_epoll_create(void) { return epoll_create1(EPOLL_CLOEXEC); }

int clinux_epoll_control(int epoll, int operation, int fd, uint32_t events, uint64_t token) {
  struct epoll_event event = {.events = events, .data.u64 = token};
  return epoll_ctl(epoll, operation, fd, &event);
}

int clinux_epoll_wait(int epoll, struct clinux_event *events, int capacity, int64_t timeout_nanoseconds) {
  struct epoll_event ready[CLINUX_EVENT_LIMIT];
  if (capacity > CLINUX_EVENT_LIMIT) capacity = CLINUX_EVENT_LIMIT;
  struct timespec time = {timeout_nanoseconds / 1000000000, timeout_nanoseconds % 1000000000};
  int count = epoll_pwait2(epoll, ready, capacity, timeout_nanoseconds < 0 ? 0 : &time, 0);
  if (count < 0 && errno == ENOSYS) {
    // Kernels before 5.11, and tools that don't know the call: milliseconds have to do, rounded up.
    int64_t milliseconds = timeout_nanoseconds < 0 ? -1 : (timeout_nanoseconds + 999999) / 1000000;
    count = epoll_wait(epoll, ready, capacity, milliseconds > INT_MAX ? INT_MAX : (int)milliseconds);
  }
  for (int i = 0; i < count; i++) {
    events[i].token = ready[i].data.u64;
    events[i].readiness = ready[i].events;
  }
  return count;
}

int clinux_signal_descriptor(const int *signals, int count) {
  sigset_t set;
  sigemptyset(&set);
  for (int i = 0; i < count; i++) sigaddset(&set, signals[i]);
  int code = pthread_sigmask(SIG_BLOCK, &set, 0);
  if (code != 0) {
    errno = code;
    return -1;
  }
  return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int clinux_signal_read(int fd) {
  struct signalfd_siginfo information;
  ssize_t count = read(fd, &information, sizeof information);
  return count == sizeof information ? (int)information.ssi_signo : -1;
}

void clinux_ignore_broken_pipes(void) { signal(SIGPIPE, SIG_IGN); }

int clinux_thread_name(const char *name) { return pthread_setname_np(pthread_self(), name); }

int clinux_event_descriptor(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

void clinux_event_signal(int fd) { eventfd_write(fd, 1); }

void clinux_event_clear(int fd) {
  eventfd_t value;
  eventfd_read(fd, &value);
}

void clinux_trim_heap(void) { malloc_trim(0); }
