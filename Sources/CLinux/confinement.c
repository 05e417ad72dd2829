#define _GNU_SOURCE
#include "clinux.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/if_tun.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <linux/wireless.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

_Static_assert(sizeof(struct clinux_filter_step) == sizeof(struct sock_filter), "an instruction's size");

#define CALL(name) {#name, __NR_##name},

static const struct {
  const char *name;
  int number;
} system_calls[] = {
    // clang-format off
    CALL(read) CALL(write) CALL(readv) CALL(writev) CALL(pread64) CALL(pwrite64) CALL(preadv) CALL(pwritev)
    CALL(lseek) CALL(close) CALL(close_range) CALL(fcntl) CALL(ioctl) CALL(dup) CALL(dup3) CALL(pipe2) CALL(splice)
    CALL(tee) CALL(fsync) CALL(fdatasync) CALL(ftruncate) CALL(fallocate) CALL(flock) CALL(fadvise64) CALL(openat)
    CALL(fstat) CALL(newfstatat) CALL(statx) CALL(faccessat) CALL(faccessat2) CALL(readlinkat) CALL(listxattr)
    CALL(getxattr)
    CALL(getdents64)
    CALL(renameat) CALL(renameat2) CALL(unlinkat) CALL(mkdirat) CALL(linkat) CALL(fchmod) CALL(fchmodat)
    CALL(fchown) CALL(umask) CALL(getcwd) CALL(statfs) CALL(fstatfs) CALL(mmap) CALL(munmap) CALL(mremap)
    CALL(madvise) CALL(mprotect) CALL(brk) CALL(mlock) CALL(mlock2) CALL(munlock) CALL(membarrier) CALL(clone)
    CALL(set_robust_list) CALL(rseq) CALL(futex) CALL(sched_yield) CALL(sched_getaffinity) CALL(sched_getparam)
    CALL(sched_getscheduler) CALL(sched_get_priority_max) CALL(sched_get_priority_min)
    CALL(getpriority) CALL(setpriority)
    CALL(gettid) CALL(getpid) CALL(getppid) CALL(tgkill) CALL(exit) CALL(exit_group) CALL(rt_sigaction)
    CALL(rt_sigprocmask) CALL(rt_sigreturn) CALL(sigaltstack) CALL(restart_syscall) CALL(prctl) CALL(getrandom)
    CALL(getrusage) CALL(prlimit64) CALL(sysinfo) CALL(uname) CALL(getuid) CALL(geteuid) CALL(getgid) CALL(getegid)
    CALL(times) CALL(getcpu) CALL(clock_gettime) CALL(clock_getres) CALL(clock_nanosleep) CALL(nanosleep)
    CALL(gettimeofday) CALL(timerfd_create) CALL(timerfd_settime) CALL(timerfd_gettime) CALL(eventfd2)
    CALL(signalfd4) CALL(epoll_create1) CALL(epoll_ctl) CALL(epoll_pwait) CALL(epoll_pwait2) CALL(ppoll)
    CALL(pselect6) CALL(socket) CALL(socketpair) CALL(bind) CALL(connect) CALL(listen) CALL(accept) CALL(accept4)
    CALL(getsockname) CALL(getpeername) CALL(getsockopt) CALL(setsockopt) CALL(sendto) CALL(recvfrom) CALL(sendmsg)
    CALL(recvmsg) CALL(sendmmsg) CALL(recvmmsg) CALL(shutdown) CALL(execve) CALL(execveat) CALL(ptrace)
    CALL(process_vm_readv) CALL(process_vm_writev) CALL(process_madvise) CALL(pidfd_open) CALL(pidfd_getfd)
    CALL(kcmp) CALL(mount) CALL(umount2) CALL(pivot_root) CALL(chroot) CALL(move_mount) CALL(open_tree)
    CALL(fsopen) CALL(fsconfig) CALL(fsmount) CALL(fspick) CALL(mount_setattr) CALL(bpf) CALL(perf_event_open)
    CALL(keyctl) CALL(add_key) CALL(request_key) CALL(init_module) CALL(finit_module) CALL(delete_module)
    CALL(kexec_load) CALL(reboot) CALL(swapon) CALL(swapoff) CALL(setns) CALL(unshare) CALL(userfaultfd)
    CALL(io_uring_setup) CALL(io_uring_enter) CALL(io_uring_register) CALL(setuid) CALL(setgid) CALL(setreuid)
    CALL(setregid) CALL(setresuid) CALL(setresgid) CALL(setfsuid) CALL(setfsgid) CALL(setgroups) CALL(capset)
    CALL(personality) CALL(acct) CALL(quotactl) CALL(settimeofday) CALL(clock_settime) CALL(adjtimex)
    CALL(clock_adjtime) CALL(open_by_handle_at) CALL(syslog) CALL(sethostname) CALL(setdomainname) CALL(mknodat)
    // What newer architectures never had, since other calls do as well.
#ifdef __NR_open
    CALL(open)
#endif
#ifdef __NR_stat
    CALL(stat)
#endif
#ifdef __NR_lstat
    CALL(lstat)
#endif
#ifdef __NR_access
    CALL(access)
#endif
#ifdef __NR_readlink
    CALL(readlink)
#endif
#ifdef __NR_rename
    CALL(rename)
#endif
#ifdef __NR_unlink
    CALL(unlink)
#endif
#ifdef __NR_rmdir
    CALL(rmdir)
#endif
#ifdef __NR_mkdir
    CALL(mkdir)
#endif
#ifdef __NR_link
    CALL(link)
#endif
#ifdef __NR_chmod
    CALL(chmod)
#endif
#ifdef __NR_getrlimit
    CALL(getrlimit)
#endif
#ifdef __NR_time
    CALL(time)
#endif
#ifdef __NR_epoll_wait
    CALL(epoll_wait)
#endif
#ifdef __NR_poll
    CALL(poll)
#endif
#ifdef __NR_select
    CALL(select)
#endif
#ifdef __NR_mknod
    CALL(mknod)
#endif
#ifdef __NR_iopl
    CALL(iopl)
#endif
#ifdef __NR_ioperm
    CALL(ioperm)
#endif
#ifdef __NR_modify_ldt
    CALL(modify_ldt)
#endif
#ifdef __NR_vfork
    CALL(vfork)
#endif
#ifdef __NR_fork
    CALL(fork)
#endif
#ifdef __NR_kexec_file_load
    CALL(kexec_file_load)
#endif
    // clang-format on
};

int clinux_system_call(const char *name) {
  for (size_t index = 0; index < sizeof system_calls / sizeof *system_calls; index++)
    if (strcmp(system_calls[index].name, name) == 0) return system_calls[index].number;
  return -1;
}

#define CONTROL(name) {#name, (uint32_t)name},

static const struct {
  const char *name;
  uint32_t number;
} controls[] = {
    // clang-format off
    CONTROL(TCGETS) CONTROL(TIOCGWINSZ) CONTROL(FIONREAD) CONTROL(TIOCOUTQ) CONTROL(FIONBIO) CONTROL(SIOCGIFINDEX)
    CONTROL(SIOCGIFNAME) CONTROL(SIOCGIFFLAGS) CONTROL(SIOCGIFADDR) CONTROL(SIOCGIFMTU) CONTROL(SIOCGIFHWADDR)
    CONTROL(SIOCETHTOOL) CONTROL(SIOCGIWNAME) CONTROL(SIOCGSTAMP) CONTROL(TUNSETIFF) CONTROL(TUNGETIFF)
    CONTROL(TUNSETOFFLOAD) CONTROL(TUNSETVNETHDRSZ) CONTROL(TUNGETVNETHDRSZ) CONTROL(TUNSETCARRIER)
    CONTROL(TUNGETFEATURES)
    // clang-format on
};

uint32_t clinux_ioctl_number(const char *name) {
  for (size_t index = 0; index < sizeof controls / sizeof *controls; index++)
    if (strcmp(controls[index].name, name) == 0) return controls[index].number;
  return 0;
}

uint32_t clinux_audit_architecture(void) {
#if defined(__x86_64__)
  return AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
  return AUDIT_ARCH_AARCH64;
#else
#error "which architecture is this to seccomp(2)?"
#endif
}

int clinux_filter_install(const struct clinux_filter_step *steps, unsigned short count) {
  struct sock_fprog program = {.len = count, .filter = (struct sock_filter *)steps};
  // Without SPEC_ALLOW, kernels before 5.16 switch a speculation off that everything else on the machine may use, at
  // a tenth of the throughput: it protects from code that was let in on purpose, such as scripts of a browser.
  return (int)syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER,
                      SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_SPEC_ALLOW, &program);
}

int clinux_capabilities(uint64_t *effective, uint64_t *permitted, uint64_t *inheritable) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct data[2];
  if (syscall(__NR_capget, &header, data) < 0) return -1;
  *effective = data[0].effective | (uint64_t)data[1].effective << 32;
  *permitted = data[0].permitted | (uint64_t)data[1].permitted << 32;
  *inheritable = data[0].inheritable | (uint64_t)data[1].inheritable << 32;
  return 0;
}

int clinux_set_capabilities(uint64_t set) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct data[2] = {
      {.effective = (uint32_t)set, .permitted = (uint32_t)set},
      {.effective = (uint32_t)(set >> 32), .permitted = (uint32_t)(set >> 32)},
  };
  return (int)syscall(__NR_capset, &header, data);
}

int clinux_clear_ambient(void) { return prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); }

int clinux_is_bounding(int capability) { return prctl(PR_CAPBSET_READ, capability, 0, 0, 0); }

int clinux_drop_bounding(int capability) { return prctl(PR_CAPBSET_DROP, capability, 0, 0, 0); }

int clinux_no_new_privileges(void) { return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); }

int clinux_no_dump(void) {
  struct rlimit none = {0, 0};
  if (setrlimit(RLIMIT_CORE, &none) < 0) return -1;
  return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

// Numbers of Linux 5.13, for headers that are older: they are the same on all architectures.
enum { LANDLOCK_CREATE = 444, LANDLOCK_ADD = 445, LANDLOCK_RESTRICT = 446 };
enum { LANDLOCK_VERSION = 1, LANDLOCK_PATH = 1, LANDLOCK_PORT = 2 };

int clinux_landlock_version(void) { return (int)syscall(LANDLOCK_CREATE, NULL, 0, LANDLOCK_VERSION); }

int clinux_landlock_ruleset(uint64_t files, uint64_t network, uint64_t scopes) {
  // An older kernel takes a longer structure whose end is zero.
  struct {
    uint64_t files, network, scopes;
  } handled = {files, network, scopes};
  return (int)syscall(LANDLOCK_CREATE, &handled, sizeof handled, 0);
}

int clinux_landlock_allow(int ruleset, int parent, uint64_t rights) {
  struct {
    uint64_t rights;
    int32_t parent;
  } __attribute__((packed)) rule = {rights, parent};
  return (int)syscall(LANDLOCK_ADD, ruleset, LANDLOCK_PATH, &rule, 0);
}

int clinux_landlock_allow_port(int ruleset, uint64_t port, uint64_t rights) {
  struct {
    uint64_t rights;
    uint64_t port;
  } rule = {rights, port};
  return (int)syscall(LANDLOCK_ADD, ruleset, LANDLOCK_PORT, &rule, 0);
}

int clinux_landlock_restrict(int ruleset) { return (int)syscall(LANDLOCK_RESTRICT, ruleset, 0); }

int clinux_open_name(const char *path) { return open(path, O_PATH | O_CLOEXEC); }

int clinux_is_directory(int fd) {
  struct stat information;
  return fstat(fd, &information) == 0 && S_ISDIR(information.st_mode);
}

int clinux_is_procfs(int fd) {
  struct statfs information;
  return fstatfs(fd, &information) == 0 && information.f_type == 0x9fa0;
}
