// A time of day of a process's own, for LD_PRELOAD: as many seconds off as the file says that SCENARIO_CLOCK names,
// which is read each time, and opened once: a confined host can't open it. All other clocks are the machine's, as they
// are when somebody sets the time.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int file = -1;

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("SCENARIO_CLOCK");
  if (path) file = open(path, O_RDONLY | O_CLOEXEC);
}

static long offset(void) {
  char text[32] = {0};
  ssize_t count = pread(file, text, sizeof text - 1, 0);
  return count > 0 ? atol(text) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
  int result = (int)syscall(SYS_clock_gettime, clock, time);
  if (result == 0 && clock == CLOCK_REALTIME) time->tv_sec += offset();
  return result;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
  struct timespec now;
  (void)zone;
  if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
  time->tv_sec = now.tv_sec;
  time->tv_usec = now.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *result) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (result) *result = now.tv_sec;
  return now.tv_sec;
}
