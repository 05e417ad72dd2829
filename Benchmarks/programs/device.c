// What stands on the device and answers the load: TCP in one thread with epoll, UDP in another, so that it costs little
// beside what is measured.
//   TCP 7001  echo: what comes is sent back, as long as the connection lasts
//   TCP 7002  one answer: the first bytes are sent back and the connection is closed, from this side, so that the
//             client's port is free again at once
//   UDP 7003  counts datagrams by run, and tells the count when it is asked (udp_flood.c has the format)
//
// usage: device ADDRESS
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
  echo_port = 7001,
  answer_port = 7002,
  count_port = 7003,
  batch = 64,
  largest = 2048,
  descriptors = 65536,
  pause_microseconds = 500
};

static char once[descriptors];  // whether the connection gets one answer only
static char buffer[1 << 16];

static void fail(const char *what) {
  perror(what);
  exit(1);
}

// TCP sockets don't block, as epoll says when there is something; the UDP socket's thread has nothing else to do.
static int listener(int type, const char *address, int port) {
  int handle = socket(AF_INET, type | (type == SOCK_STREAM ? SOCK_NONBLOCK : 0), 0), on = 1;
  struct sockaddr_in local = {.sin_family = AF_INET, .sin_port = htons(port)};
  if (handle < 0 || inet_pton(AF_INET, address, &local.sin_addr) != 1) fail(address);
  setsockopt(handle, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(handle, (struct sockaddr *)&local, sizeof local)) fail("bind");
  if (type == SOCK_STREAM && listen(handle, 4096)) fail("listen");
  if (type == SOCK_DGRAM) {
    // Large, so that what is lost was lost on the way and not here.
    int size = 16 << 20;
    setsockopt(handle, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
  }
  return handle;
}

static void watch(int epoll, int handle) {
  struct epoll_event event = {.events = EPOLLIN, .data.fd = handle};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, handle, &event)) fail("epoll_ctl");
}

static void take(int epoll, int from, char answers_once) {
  int handle, on = 1;
  while ((handle = accept4(from, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
    if (handle >= descriptors) {
      close(handle);
      continue;
    }
    setsockopt(handle, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    once[handle] = answers_once;
    watch(epoll, handle);
  }
}

// Requests are small, so that an answer always fits the socket's buffer: what doesn't is a client's mistake.
static void answer(int handle) {
  ssize_t size = recv(handle, buffer, sizeof buffer, 0);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (size <= 0 || send(handle, buffer, size, MSG_NOSIGNAL) != size || once[handle]) close(handle);
}

// A batch of datagrams, and a pause if it wasn't full: to be woken for each one costs more than the datagram itself, and
// in a machine with few CPUs it would be taken from the sender and the system that is measured.
static void count(int handle) {
  static struct mmsghdr messages[batch];
  static struct iovec parts[batch];
  static struct sockaddr_in sources[batch];
  static char data[batch][largest];
  static uint32_t run, counted;
  for (int i = 0; i < batch; i++) {
    parts[i] = (struct iovec){data[i], largest};
    messages[i].msg_hdr = (struct msghdr){
        .msg_name = &sources[i], .msg_namelen = sizeof sources[i], .msg_iov = &parts[i], .msg_iovlen = 1};
  }
  int received = recvmmsg(handle, messages, batch, MSG_WAITFORONE, NULL);
  for (int i = 0; i < received; i++) {
    uint32_t words[3];
    if (messages[i].msg_len < sizeof words) continue;
    memcpy(words, data[i], sizeof words);
    if (words[0] != run) {
      run = words[0];
      counted = 0;
    }
    if (words[1] != UINT32_MAX) {
      counted++;
      continue;
    }
    words[2] = counted;
    sendto(handle, words, sizeof words, 0, (struct sockaddr *)&sources[i], sizeof sources[i]);
  }
  if (received < batch) usleep(pause_microseconds);
}

static void *count_all(void *handle) {
  for (;;) count(*(int *)handle);
  return NULL;
}

int main(int argc, char **argv) {
  if (argc != 2) return 64;
  signal(SIGPIPE, SIG_IGN);
  int epoll = epoll_create1(0);
  int echo = listener(SOCK_STREAM, argv[1], echo_port), single = listener(SOCK_STREAM, argv[1], answer_port);
  int datagrams = listener(SOCK_DGRAM, argv[1], count_port);
  watch(epoll, echo);
  watch(epoll, single);
  pthread_t counter;
  if (pthread_create(&counter, NULL, count_all, &datagrams)) fail("pthread_create");
  for (;;) {
    struct epoll_event events[batch];
    int ready = epoll_wait(epoll, events, batch, -1);
    for (int i = 0; i < ready; i++) {
      int handle = events[i].data.fd;
      if (handle == echo) take(epoll, echo, 0);
      else if (handle == single) take(epoll, single, 1);
      else answer(handle);
    }
  }
}
