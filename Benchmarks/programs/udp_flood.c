// Datagrams at a steady rate, and what of them arrived: each carries the run's number and its own, in host order. The
// number 2^32-1 asks for the count, which device.c answers with in the third word.
// Prints JSON: how many were sent, how many arrived, and in how many seconds they were sent.
//
// usage: udp_flood ADDRESS PORT SECONDS BYTES PACKETS-A-SECOND
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { batch = 32, largest = 1400, attempts = 20 };

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec + time.tv_nsec / 1e9;
}

static void fail(const char *what) {
  perror(what);
  exit(1);
}

int main(int argc, char **argv) {
  if (argc != 6) return 64;
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
  int size = atoi(argv[4]), handle = socket(AF_INET, SOCK_DGRAM, 0);
  double rate = atof(argv[5]), seconds = atof(argv[3]);
  if (size < 12 || size > largest) return 64;
  inet_pton(AF_INET, argv[1], &to.sin_addr);
  if (connect(handle, (struct sockaddr *)&to, sizeof to)) fail("connect");

  static char data[batch][largest];
  static struct iovec parts[batch];
  static struct mmsghdr messages[batch];
  uint32_t run = (uint32_t)getpid() ^ (uint32_t)time(NULL) << 12, sent = 0;
  for (int i = 0; i < batch; i++) {
    memcpy(data[i], &run, sizeof run);
    parts[i] = (struct iovec){data[i], size};
    messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
  }
  double start = now(), passed;
  while ((passed = now() - start) < seconds) {
    int64_t due = (int64_t)(passed * rate) - sent;
    if (due < 1) {
      struct timespec pause = {.tv_nsec = 20000};
      nanosleep(&pause, NULL);
      continue;
    }
    int count = due < batch ? due : batch;
    for (int i = 0; i < count; i++) {
      uint32_t number = sent + i;
      memcpy(data[i] + 4, &number, sizeof number);
    }
    // A full queue of the device on the way is loss as well: what sendmmsg doesn't take counts as sent.
    sendmmsg(handle, messages, count, 0);
    sent += count;
  }
  double took = now() - start;

  struct timeval patience = {.tv_usec = 200000};
  setsockopt(handle, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  usleep(300000);  // what is still in queues may arrive
  uint32_t question[3] = {run, UINT32_MAX, 0}, answer[3];
  for (int i = 0; i < attempts; i++) {
    send(handle, question, sizeof question, 0);
    if (recv(handle, answer, sizeof answer, 0) == sizeof answer && answer[0] == run) {
      printf("{\"sent\": %u, \"received\": %u, \"seconds\": %.3f}\n", sent, answer[2], took);
      return 0;
    }
  }
  fputs("the device did not tell what it received\n", stderr);
  return 1;
}
