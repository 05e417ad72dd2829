// Request and response: 64 bytes there and back over one connection, the next request when the answer is in.
// Prints JSON: how many, and the median, the 99th percentile and the longest in microseconds.
//
// usage: round_trip ADDRESS PORT SECONDS
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { size = 64, capacity = 4 << 20 };

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1e6 + time.tv_nsec / 1e3;
}

static int smaller(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

static void fail(const char *what) {
  perror(what);
  exit(1);
}

int main(int argc, char **argv) {
  if (argc != 4) return 64;
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
  struct timeval patience = {.tv_sec = 5};
  int handle = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  inet_pton(AF_INET, argv[1], &to.sin_addr);
  setsockopt(handle, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(handle, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  setsockopt(handle, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  if (connect(handle, (struct sockaddr *)&to, sizeof to)) fail("connect");

  char data[size] = {0};
  float *times = malloc(capacity * sizeof *times);
  int count = -20;  // the first few are for warming up
  for (double end = now() + atof(argv[3]) * 1e6, start; (start = now()) < end && count < capacity; count++) {
    if (send(handle, data, size, MSG_NOSIGNAL) != size) fail("send");
    if (recv(handle, data, size, MSG_WAITALL) != size) fail("recv");
    if (count >= 0) times[count] = now() - start;
  }
  if (count < 1) {
    fputs("no round trip was finished\n", stderr);
    return 1;
  }
  qsort(times, count, sizeof *times, smaller);
  printf("{\"count\": %d, \"p50\": %.1f, \"p99\": %.1f, \"max\": %.1f}\n", count, times[count / 2],
         times[(int64_t)count * 99 / 100], times[count - 1]);
}
