// Frames by number, and whether they come in order and without loss.
//
//   frames send INTERFACE DESTINATION ETHERTYPE COUNT SIZE RATE   RATE a second, evenly; 0 as fast as they go
//   frames receive INTERFACE ETHERTYPE COUNT SECONDS              prints received, lost and reordered
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec + time.tv_nsec / 1e9;
}

static int open_socket(const char *interface, int type, uint8_t address[6]) {
  int fd = socket(AF_PACKET, SOCK_RAW, htons(type));
  struct ifreq request = {0};
  strncpy(request.ifr_name, interface, IFNAMSIZ - 1);
  if (fd < 0 || ioctl(fd, SIOCGIFHWADDR, &request) < 0) {
    perror(interface);
    exit(1);
  }
  memcpy(address, request.ifr_hwaddr.sa_data, 6);
  struct sockaddr_ll name = {
      .sll_family = AF_PACKET, .sll_protocol = htons(type), .sll_ifindex = (int)if_nametoindex(interface)};
  if (bind(fd, (struct sockaddr *)&name, sizeof name) < 0) {
    perror("bind");
    exit(1);
  }
  return fd;
}

static int send_frames(char **arguments) {
  uint8_t frame[9014] = {0};
  int type = (int)strtol(arguments[2], NULL, 16);
  uint32_t count = (uint32_t)atol(arguments[3]);
  size_t size = (size_t)atol(arguments[4]);
  double rate = atof(arguments[5]);
  int fd = open_socket(arguments[0], type, frame + 6);
  if (sscanf(arguments[1], "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", frame, frame + 1, frame + 2, frame + 3, frame + 4,
             frame + 5) != 6)
    return 64;
  frame[12] = (uint8_t)(type >> 8);
  frame[13] = (uint8_t)type;
  double start = now();
  for (uint32_t number = 0; number < count; number++) {
    uint32_t wire = htonl(number);
    memcpy(frame + 14, &wire, sizeof wire);
    // In small bursts: a sleep for each would take longer than the time between two.
    while (rate > 0 && number % 16 == 0 && now() - start < number / rate) usleep(50);
    while (send(fd, frame, size, 0) < 0) usleep(100);
  }
  printf("sent %u in %.3f s\n", count, now() - start);
  return 0;
}

static int receive_frames(char **arguments) {
  uint8_t frame[9014], address[6];
  uint32_t count = (uint32_t)atol(arguments[2]), received = 0, reordered = 0, next = 0;
  int fd = open_socket(arguments[0], (int)strtol(arguments[1], NULL, 16), address);
  int room = 64 << 20;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
  struct timeval limit = {.tv_sec = atoi(arguments[3])};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  puts("ready");
  fflush(stdout);
  double start = 0;
  while (received < count) {
    ssize_t size = recv(fd, frame, sizeof frame, 0);
    if (size < 18) break;
    uint32_t wire;
    memcpy(&wire, frame + 14, sizeof wire);
    if (!received++) start = now();
    if (ntohl(wire) < next) reordered++;
    next = ntohl(wire) + 1;
  }
  struct tpacket_stats statistics = {0};
  socklen_t length = sizeof statistics;
  getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &statistics, &length);
  printf("received %u lost %u reordered %u seconds %.3f kernel %u\n", received, count - received, reordered,
         now() - start, statistics.tp_drops);
  return 0;
}

int main(int count, char **arguments) {
  if (count == 8 && !strcmp(arguments[1], "send")) return send_frames(arguments + 2);
  if (count == 6 && !strcmp(arguments[1], "receive")) return receive_frames(arguments + 2);
  fputs("usage: frames send|receive ...\n", stderr);
  return 64;
}
