// One TCP connection in one direction, as fast as it goes; the first half second isn't counted. Prints JSON: bytes and
// seconds. `serve` is the other end: what comes to one port is dropped, from the other comes as much as is taken.
//
// usage: bulk ADDRESS PORT up|down SECONDS
//        bulk serve SINK-PORT SOURCE-PORT
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { piece = 256 << 10 };

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec + time.tv_nsec / 1e9;
}

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static ssize_t move_piece(int handle, int sends, char *bytes) {
  return sends ? send(handle, bytes, piece, MSG_NOSIGNAL) : recv(handle, bytes, piece, 0);
}

struct work {
  int handle, sends;
};

static void *serve_one(void *argument) {
  struct work work = *(struct work *)argument;
  char *bytes = calloc(1, piece);
  free(argument);
  while (bytes && move_piece(work.handle, work.sends, bytes) > 0) continue;
  close(work.handle);
  free(bytes);
  return NULL;
}

static void *serve(void *argument) {
  struct work service = *(struct work *)argument;
  for (;;) {
    int handle = accept(service.handle, NULL, NULL);
    if (handle < 0) fail("accept");
    struct work *work = malloc(sizeof *work);
    pthread_t thread;
    if (!work) fail("malloc");
    *work = (struct work){handle, service.sends};
    if (pthread_create(&thread, NULL, serve_one, work)) fail("pthread_create");
    pthread_detach(thread);
  }
  return NULL;
}

static int listen_at(int port) {
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
  int handle = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  setsockopt(handle, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(handle, (struct sockaddr *)&at, sizeof at) || listen(handle, 16)) fail("listen");
  return handle;
}

int main(int argc, char **argv) {
  if (argc == 4 && !strcmp(argv[1], "serve")) {
    static struct work services[2];
    pthread_t thread;
    services[0] = (struct work){listen_at(atoi(argv[2])), 0};
    services[1] = (struct work){listen_at(atoi(argv[3])), 1};
    if (pthread_create(&thread, NULL, serve, &services[0])) fail("pthread_create");
    serve(&services[1]);
  }
  if (argc != 5) return 64;
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
  struct timeval patience = {.tv_sec = 5};
  int handle = socket(AF_INET, SOCK_STREAM, 0), sends = !strcmp(argv[3], "up");
  char *bytes = calloc(1, piece);
  inet_pton(AF_INET, argv[1], &to.sin_addr);
  setsockopt(handle, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  setsockopt(handle, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  if (!bytes || connect(handle, (struct sockaddr *)&to, sizeof to)) fail("connect");

  double begin = now() + 0.5, end = begin + atof(argv[4]), time, first = 0;
  uint64_t count = 0;
  while ((time = now()) < end) {
    ssize_t moved = move_piece(handle, sends, bytes);
    if (moved <= 0) fail(sends ? "send" : "recv");
    if (time < begin) continue;
    if (first == 0) first = time;
    count += moved;
  }
  printf("{\"bytes\": %llu, \"seconds\": %.6f}\n", (unsigned long long)count, now() - first);
  return 0;
}
