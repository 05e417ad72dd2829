internal import Glibc
public import Kernel

/// A family of sockets that a host opens, and within it what protocols.
public enum SocketFamily: Sendable {
  /// TCP, UDP and, with CAP_NET_RAW, ICMP.
  case internet
  /// Of the management socket, and of name services.
  case unix
  /// Interfaces, addresses and routes.
  case routes
  /// Connections of the host's own programs, to end those that have lost their address.
  case diagnosis
  /// Frames on an interface.
  case packets

  var tests: [[SystemCallFilter.Argument]] {
    switch self {
    case .internet: [[.family(AF_INET)], [.family(AF_INET6)]]
    case .unix: [[.family(AF_UNIX)]]
    case .routes: [[.family(AF_NETLINK), .init(2, equals: 0)]]
    case .diagnosis: [[.family(AF_NETLINK), .init(2, equals: 4)]]
    case .packets: [[.family(AF_PACKET)]]
    }
  }
}

extension SystemCallFilter.Argument {
  fileprivate static func family(_ family: Int32) -> Self { Self(0, equals: UInt32(family)) }
}

extension SystemCallFilter {
  /// What every host needs, and no more than a host like `families` and `controls` say.
  ///
  /// - Parameter splices: whether bytes are moved between sockets by the kernel.
  public static func service(
    families: [SocketFamily], controls: [DeviceControl], splices: Bool = false
  ) -> SystemCallFilter {
    var rules = always.map { Rule($0) }
    if splices { rules += [.splice, .tee, .pipe2].map { Rule($0) } }
    rules += [
      Rule(.socket, families.flatMap(\.tests)),
      Rule(.socketpair, [[.family(AF_UNIX)]]),
      Rule(.ioctl, (commonControls + controls).map { [Argument(1, equals: $0.number)] }),
      // Threads, and no processes.
      Rule(.clone, [[Argument(0, mask: cloneThread, equals: cloneThread)]]),
      // No code that was written by this process: what can be executed comes from a file, and isn't changed.
      Rule(
        .mmap,
        [
          [Argument(2, mask: executable, equals: 0)],
          [Argument(2, mask: writable, equals: 0), Argument(3, mask: anonymous, equals: 0)],
        ]),
      Rule(.mprotect, [[Argument(2, mask: executable, equals: 0)]]),
      Rule(.prctl, processControls.map { [Argument(0, equals: $0)] }),
      // Of one thread, as queues of Swift's pool have their priorities (PRIO_PROCESS).
      Rule(.setpriority, [[Argument(0, equals: 0)]]),
      // Itself alone: 0 for prlimit(2), and abort(3) by tgkill(2).
      Rule(.prlimit, [[Argument(0, equals: 0)], [Argument(0, equals: UInt32(getpid()))]]),
      Rule(.tgkill, [[Argument(0, equals: UInt32(getpid()))]]),
    ]
    return SystemCallFilter(rules, fatal: fatal)
  }

  private static let cloneThread: UInt32 = 0x10000
  private static let writable = UInt32(PROT_WRITE)
  private static let executable = UInt32(PROT_EXEC)
  private static let anonymous = UInt32(MAP_ANONYMOUS)
  /// PR_SET_NAME, PR_GET_NAME, PR_SET_VMA, PR_CAPBSET_READ, PR_GET_DUMPABLE.
  private static let processControls: [UInt32] = [15, 16, 0x5356_4d41, 23, 3]

  private static let commonControls: [DeviceControl] = [
    .terminalAttributes, .terminalSize, .bytesToRead, .bytesToSend, .nonblocking, .interfaceIndex,
    .interfaceName,
  ]

  /// Whatever the arguments are: Landlock judges names, and capabilities what may be done to sockets.
  private static let always: [SystemCall] = [
    // The way of a byte.
    .read, .write, .readv, .writev, .sendmsg, .recvmsg, .sendto, .recvfrom, .sendmmsg, .recvmmsg, .epollWait,
    .epollPwait, .epollPwait2, .epollCtl, .futex,
    // Descriptors.
    .pread, .pwrite, .preadv, .pwritev, .lseek, .close, .closeRange, .fcntl, .dup, .dup3, .fsync, .fdatasync,
    .ftruncate, .fallocate, .flock, .fadvise, .eventfd2, .signalfd4, .epollCreate1, .timerfdCreate, .timerfdSettime,
    .timerfdGettime, .poll, .ppoll, .select, .pselect6,
    // Names.
    .open, .openat, .stat, .lstat, .fstat, .fstatat, .statx, .access, .faccessat, .faccessat2, .readlink,
    .readlinkat, .listxattr, .getxattr, .getdents, .rename, .renameat, .renameat2, .unlink, .unlinkat, .rmdir, .mkdir,
    .mkdirat, .link,
    .linkat, .chmod, .fchmod, .fchmodat, .fchown, .umask, .getcwd, .statfs, .fstatfs,
    // Memory.
    .munmap, .mremap, .madvise, .brk, .mlock, .mlock2, .munlock, .membarrier,
    // Threads, signals, the process itself.
    .setRobustList, .rseq, .schedYield, .schedGetaffinity, .schedGetparam, .schedGetscheduler, .schedGetPriorityMax,
    .schedGetPriorityMin, .getpriority, .gettid, .getpid, .getppid, .exit, .exitGroup, .rtSigaction, .rtSigprocmask,
    .rtSigreturn, .sigaltstack, .restartSyscall, .getrandom, .getrusage, .getrlimit, .sysinfo, .uname, .getuid,
    .geteuid, .getgid, .getegid, .times, .getcpu,
    // Time.
    .clockGettime, .clockGetres, .clockNanosleep, .nanosleep, .gettimeofday, .time,
    // Sockets.
    .bind, .connect, .listen, .accept, .accept4, .getsockname, .getpeername, .getsockopt, .setsockopt, .shutdown,
  ]

  /// Other programs and processes, namespaces, mounts, the kernel, the clock, and who one is.
  private static let fatal: Set<SystemCall> = [
    .execve, .execveat, .fork, .vfork, .ptrace, .processVmReadv, .processVmWritev, .processMadvise, .pidfdOpen,
    .pidfdGetfd, .kcmp, .mount, .umount, .pivotRoot, .chroot, .moveMount, .openTree, .fsopen, .fsconfig, .fsmount,
    .fspick, .mountSetattr, .bpf, .perfEventOpen, .keyctl, .addKey, .requestKey, .initModule, .finitModule,
    .deleteModule, .kexecLoad, .kexecFileLoad, .reboot, .swapon, .swapoff, .setns, .unshare, .userfaultfd,
    .ioUringSetup, .ioUringEnter, .ioUringRegister, .setuid, .setgid, .setreuid, .setregid, .setresuid, .setresgid,
    .setfsuid, .setfsgid, .setgroups, .capset, .personality, .acct, .quotactl, .settimeofday, .clockSettime,
    .adjtimex, .clockAdjtime, .openByHandleAt, .syslog, .sethostname, .setdomainname, .mknod, .mknodat, .iopl,
    .ioperm, .modifyLdt,
  ]
}
