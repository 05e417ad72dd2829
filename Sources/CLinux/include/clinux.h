#pragma once
// Macros, ioctls and variadic calls that Swift can't import, as small inline functions.
// Every function returns the call's own result; errno is the caller's to read at once.

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static inline int clinux_errno(void) { return errno; }

static inline int clinux_set_nonblocking(int fd) {
  int flags = fcntl(fd, F_GETFL);
  return flags < 0 ? -1 : fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

static inline int clinux_set_blocking(int fd) {
  int flags = fcntl(fd, F_GETFL);
  return flags < 0 ? -1 : fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
}

static inline int clinux_pipe_set_size(int fd, int bytes) { return fcntl(fd, F_SETPIPE_SZ, bytes); }
static inline int clinux_pipe_size(int fd) { return fcntl(fd, F_GETPIPE_SZ); }

static inline ssize_t clinux_splice(int from, int to, size_t count, unsigned flags) {
  return splice(from, 0, to, 0, count, flags);
}

static inline int clinux_set_option(int fd, int level, int name, int value) {
  return setsockopt(fd, level, name, &value, sizeof value);
}

static inline int clinux_option(int fd, int level, int name, int *value) {
  socklen_t length = sizeof *value;
  return getsockopt(fd, level, name, value, &length);
}

/// Resets the connection when the descriptor is closed (SO_LINGER with a time of 0).
static inline int clinux_reset_on_close(int fd) {
  struct linger linger = {.l_onoff = 1, .l_linger = 0};
  return setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
}

static inline int clinux_unsent_bytes(int fd, int *bytes) { return ioctl(fd, 0x894B /* SIOCOUTQNSD */, bytes); }
