#define _GNU_SOURCE
#include "trespass.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int trespass_fork(void) { return fork(); }

static int outcome(long result) { return result >= 0 ? 0 : errno; }

static int internet(int connecting, const char *port) {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0) return errno;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int result = connecting ? connect(fd, (struct sockaddr *)&address, sizeof address)
                          : bind(fd, (struct sockaddr *)&address, sizeof address);
  int code = outcome(result);
  close(fd);
  return code;
}

static void *nothing(void *argument) { return argument; }

// As libdispatch does it, by the thread's own number and not below its process.
static void *look_at_oneself(void *argument) {
  char path[32];
  snprintf(path, sizeof path, "/proc/%ld/stat", syscall(SYS_gettid));
  *(int *)argument = outcome(open(path, O_RDONLY | O_CLOEXEC));
  return NULL;
}

int trespass_attempt(const char *name, const char *argument) {
#define IS(text) (strcmp(name, text) == 0)
  if (IS("read")) return outcome(open(argument, O_RDONLY | O_CLOEXEC));
  if (IS("write")) return outcome(open(argument, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  if (IS("remove")) return outcome(unlink(argument));
  if (IS("device node")) return outcome(mknod(argument, S_IFCHR | 0600, 0x0103));
  if (IS("symbolic link")) return outcome(symlink("/etc/passwd", argument));
  if (IS("execute")) {
    char *arguments[] = {"true", NULL};
    execv("/bin/true", arguments);
    return errno;
  }
  if (IS("process")) return outcome(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
  if (IS("newer process")) return outcome(syscall(SYS_clone3, NULL, 0));
  if (IS("thread")) {
    pthread_t thread;
    int code = pthread_create(&thread, NULL, nothing, NULL);
    return code ? code : pthread_join(thread, NULL);
  }
  if (IS("state of a thread")) {
    pthread_t thread;
    int code = -1;
    if (pthread_create(&thread, NULL, look_at_oneself, &code) != 0) return EAGAIN;
    pthread_join(thread, NULL);
    return code;
  }
  if (IS("trace")) return outcome(ptrace(PTRACE_ATTACH, atoi(argument), 0, 0));
  if (IS("other memory")) return outcome(syscall(SYS_process_vm_readv, atoi(argument), NULL, 0, NULL, 0, 0));
  if (IS("signal")) return outcome(kill(atoi(argument), 0));
  if (IS("thread signal")) return outcome(syscall(SYS_tgkill, atoi(argument), atoi(argument), 0));
  if (IS("mount")) return outcome(mount("none", "/tmp", "tmpfs", 0, NULL));
  if (IS("namespace")) return outcome(unshare(CLONE_NEWNET));
  if (IS("bpf")) return outcome(syscall(SYS_bpf, 0, NULL, 0));
  if (IS("keyring")) return outcome(syscall(SYS_keyctl, 0, -3, 0));
  if (IS("ring")) return outcome(syscall(SYS_io_uring_setup, 1, NULL));
  if (IS("module")) return outcome(syscall(SYS_finit_module, -1, "", 0));
  if (IS("other user")) return outcome(setuid(65534));
  if (IS("root directory")) return outcome(chroot("/"));
  if (IS("clock")) return outcome(syscall(SYS_clock_settime, 0, NULL));
  if (IS("socket")) return outcome(socket(atoi(argument), SOCK_RAW, 0));
  if (IS("stream socket")) return outcome(socket(atoi(argument), SOCK_STREAM, 0));
  if (IS("netlink")) return outcome(socket(AF_NETLINK, SOCK_RAW, atoi(argument)));
  if (IS("listen")) return internet(0, argument);
  if (IS("connect")) return internet(1, argument);
  if (IS("written code")) {
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return outcome(mprotect(page, 4096, PROT_READ | PROT_EXEC));
  }
  if (IS("anonymous code")) {
    void *page = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return page == MAP_FAILED ? errno : 0;
  }
  if (IS("terminal")) return outcome(ioctl(0, TIOCSTI, "x"));
#ifdef __x86_64__
  if (IS("old calls")) {
    // getpid(2) of 32 bits.
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(20) : "memory");
    return result > 0 ? 0 : (int)-result;
  }
#endif
  return -1;
}
