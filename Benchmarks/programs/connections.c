// New connections a second: each thread connects, sends 64 bytes, waits for the answer and the device's FIN, closes,
// and starts again. What counts is the answer, as a forwarder on this PC accepts before the device is asked.
// Prints JSON: how many were finished, how many failed, in how many seconds.
//
// usage: connections ADDRESS PORT SECONDS THREADS
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { size = 64, most_threads = 64 };

static struct sockaddr_in to = {.sin_family = AF_INET};
static double end;

struct worker {
  pthread_t thread;
  long finished, failed;
};

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec + time.tv_nsec / 1e9;
}

static int once(void) {
  char data[size] = {0};
  struct timeval patience = {.tv_sec = 3};
  int handle = socket(AF_INET, SOCK_STREAM, 0), on = 1, good;
  setsockopt(handle, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(handle, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  setsockopt(handle, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  good = connect(handle, (struct sockaddr *)&to, sizeof to) == 0 && send(handle, data, size, MSG_NOSIGNAL) == size &&
         recv(handle, data, size, MSG_WAITALL) == size && recv(handle, data, size, 0) == 0;
  close(handle);
  return good;
}

static void *work(void *argument) {
  struct worker *worker = argument;
  while (now() < end) {
    if (once()) worker->finished++;
    else worker->failed++;
  }
  return NULL;
}

int main(int argc, char **argv) {
  if (argc != 5) return 64;
  static struct worker workers[most_threads];
  int threads = atoi(argv[4]);
  if (threads < 1 || threads > most_threads) return 64;
  to.sin_port = htons(atoi(argv[2]));
  inet_pton(AF_INET, argv[1], &to.sin_addr);
  double start = now();
  end = start + atof(argv[3]);
  long finished = 0, failed = 0;
  for (int i = 0; i < threads; i++) pthread_create(&workers[i].thread, NULL, work, &workers[i]);
  for (int i = 0; i < threads; i++) {
    pthread_join(workers[i].thread, NULL);
    finished += workers[i].finished;
    failed += workers[i].failed;
  }
  printf("{\"finished\": %ld, \"failed\": %ld, \"seconds\": %.3f}\n", finished, failed, now() - start);
}
