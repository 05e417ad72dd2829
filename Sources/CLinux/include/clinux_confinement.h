#pragma once
// What a process gives up for good: capabilities, system calls, files. Included by clinux.h.

/// One instruction of classic BPF, laid out as the kernel's `struct sock_filter`.
struct clinux_filter_step {
  uint16_t code;
  uint8_t if_true;
  uint8_t if_false;
  uint32_t value;
};

enum {
  CLINUX_LANDLOCK_EXECUTE = 1 << 0,
  CLINUX_LANDLOCK_WRITE_FILE = 1 << 1,
  CLINUX_LANDLOCK_READ_FILE = 1 << 2,
  CLINUX_LANDLOCK_READ_DIR = 1 << 3,
  CLINUX_LANDLOCK_REMOVE_DIR = 1 << 4,
  CLINUX_LANDLOCK_REMOVE_FILE = 1 << 5,
  CLINUX_LANDLOCK_MAKE_CHAR = 1 << 6,
  CLINUX_LANDLOCK_MAKE_DIR = 1 << 7,
  CLINUX_LANDLOCK_MAKE_REG = 1 << 8,
  CLINUX_LANDLOCK_MAKE_SOCK = 1 << 9,
  CLINUX_LANDLOCK_MAKE_FIFO = 1 << 10,
  CLINUX_LANDLOCK_MAKE_BLOCK = 1 << 11,
  CLINUX_LANDLOCK_MAKE_SYM = 1 << 12,
  CLINUX_LANDLOCK_REFER = 1 << 13,
  CLINUX_LANDLOCK_TRUNCATE = 1 << 14,
  CLINUX_LANDLOCK_IOCTL_DEV = 1 << 15,
  CLINUX_LANDLOCK_BIND_TCP = 1 << 0,
  CLINUX_LANDLOCK_CONNECT_TCP = 1 << 1,
  CLINUX_LANDLOCK_SCOPE_ABSTRACT_UNIX = 1 << 0,
  CLINUX_LANDLOCK_SCOPE_SIGNAL = 1 << 1,
};

/// The number of a system call or of an ioctl; -1 or 0 where this architecture has none of that name.
int clinux_system_call(const char *name);
uint32_t clinux_ioctl_number(const char *name);
/// AUDIT_ARCH_… of this program.
uint32_t clinux_audit_architecture(void);
/// seccomp(2) with SECCOMP_FILTER_FLAG_TSYNC; a number above 0 is a thread that couldn't be brought along.
int clinux_filter_install(const struct clinux_filter_step *steps, unsigned short count);

/// Sets of the calling thread, a bit for each capability.
int clinux_capabilities(uint64_t *effective, uint64_t *permitted, uint64_t *inheritable);
/// Makes the set effective and permitted, and nothing inheritable.
int clinux_set_capabilities(uint64_t set);
int clinux_clear_ambient(void);
/// 1 if the capability is in the bounding set, 0 if not, -1 if there is none of that number.
int clinux_is_bounding(int capability);
int clinux_drop_bounding(int capability);

int clinux_no_new_privileges(void);
/// No core dump, no ptrace by others of the same user, /proc/PID for root alone.
int clinux_no_dump(void);

/// 0 or above: the version; -1 with ENOSYS or EOPNOTSUPP where there is no Landlock.
int clinux_landlock_version(void);
int clinux_landlock_ruleset(uint64_t files, uint64_t network, uint64_t scopes);
int clinux_landlock_allow(int ruleset, int parent, uint64_t rights);
int clinux_landlock_allow_port(int ruleset, uint64_t port, uint64_t rights);
int clinux_landlock_restrict(int ruleset);
/// A descriptor that only names a file (O_PATH).
int clinux_open_name(const char *path);
int clinux_is_directory(int fd);
int clinux_is_procfs(int fd);
