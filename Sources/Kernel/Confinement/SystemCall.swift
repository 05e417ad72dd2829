import CLinux

/// A system call by its name, as in the kernel's own table (syscalls(2)).
///
/// Those that a service of this product makes, and those that none of them ever would.
public enum SystemCall: String, CaseIterable, Hashable, Sendable {
  // Descriptors.
  case read, write, readv, writev, pread = "pread64", pwrite = "pwrite64", preadv, pwritev, lseek, close
  case closeRange = "close_range", fcntl, ioctl, dup, dup3, pipe2, splice, tee, fsync, fdatasync, ftruncate
  case fallocate, flock, fadvise = "fadvise64"
  // Names.
  case openat, fstat, fstatat = "newfstatat", statx, faccessat, faccessat2, readlinkat, listxattr, getxattr
  case getdents = "getdents64"
  case renameat, renameat2, unlinkat, mkdirat, linkat, fchmod, fchmodat, fchown, umask, getcwd, statfs, fstatfs
  // Memory.
  case mmap, munmap, mremap, madvise, mprotect, brk, mlock, mlock2, munlock, membarrier
  // Threads, signals, the process itself.
  case clone, setRobustList = "set_robust_list", rseq, futex, schedYield = "sched_yield"
  case schedGetaffinity = "sched_getaffinity", schedGetparam = "sched_getparam"
  case schedGetscheduler = "sched_getscheduler", schedGetPriorityMax = "sched_get_priority_max"
  case schedGetPriorityMin = "sched_get_priority_min", getpriority, setpriority, gettid, getpid, getppid, tgkill, exit
  case exitGroup = "exit_group"
  case rtSigaction = "rt_sigaction", rtSigprocmask = "rt_sigprocmask", rtSigreturn = "rt_sigreturn", sigaltstack
  case restartSyscall = "restart_syscall", prctl, getrandom, getrusage, prlimit = "prlimit64", sysinfo, uname
  case getuid, geteuid, getgid, getegid, times, getcpu
  // Time, and waiting.
  case clockGettime = "clock_gettime", clockGetres = "clock_getres", clockNanosleep = "clock_nanosleep", nanosleep
  case gettimeofday, timerfdCreate = "timerfd_create", timerfdSettime = "timerfd_settime"
  case timerfdGettime = "timerfd_gettime", eventfd2, signalfd4, epollCreate1 = "epoll_create1"
  case epollCtl = "epoll_ctl", epollPwait = "epoll_pwait", epollPwait2 = "epoll_pwait2", ppoll, pselect6
  // Sockets.
  case socket, socketpair, bind, connect, listen, accept, accept4, getsockname, getpeername, getsockopt, setsockopt
  case sendto, recvfrom, sendmsg, recvmsg, sendmmsg, recvmmsg, shutdown
  // What older architectures have besides.
  case open, stat, lstat, access, readlink, rename, unlink, rmdir, mkdir, link, chmod, getrlimit, time
  case epollWait = "epoll_wait", poll, select
  // What changes other processes, the kernel, the namespaces, or who one is.
  case execve, execveat, ptrace, processVmReadv = "process_vm_readv", processVmWritev = "process_vm_writev"
  case processMadvise = "process_madvise", pidfdOpen = "pidfd_open", pidfdGetfd = "pidfd_getfd", kcmp, mount
  case umount = "umount2", pivotRoot = "pivot_root", chroot, moveMount = "move_mount", openTree = "open_tree"
  case fsopen, fsconfig, fsmount, fspick, mountSetattr = "mount_setattr", bpf, perfEventOpen = "perf_event_open"
  case keyctl, addKey = "add_key", requestKey = "request_key", initModule = "init_module"
  case finitModule = "finit_module", deleteModule = "delete_module", kexecLoad = "kexec_load", reboot, swapon
  case swapoff, setns, unshare, userfaultfd, ioUringSetup = "io_uring_setup", ioUringEnter = "io_uring_enter"
  case ioUringRegister = "io_uring_register", setuid, setgid, setreuid, setregid, setresuid, setresgid, setfsuid
  case setfsgid, setgroups, capset, personality, acct, quotactl, settimeofday, clockSettime = "clock_settime"
  case adjtimex, clockAdjtime = "clock_adjtime", openByHandleAt = "open_by_handle_at", syslog, sethostname
  case setdomainname, mknodat
  case mknod, iopl, ioperm, modifyLdt = "modify_ldt", vfork, fork, kexecFileLoad = "kexec_file_load"
}

extension SystemCall {
  /// Its number on this architecture; `nil` if it isn't known there.
  var number: UInt32? {
    let number = unsafe clinux_system_call(rawValue)
    return number < 0 ? nil : UInt32(number)
  }
}

/// An ioctl(2) by its name.
public enum DeviceControl: String, CaseIterable, Hashable, Sendable {
  // A descriptor's: of a terminal, of a socket.
  case terminalAttributes = "TCGETS"
  case terminalSize = "TIOCGWINSZ"
  case bytesToRead = "FIONREAD"
  case bytesToSend = "TIOCOUTQ"
  case nonblocking = "FIONBIO"
  case timestamp = "SIOCGSTAMP"
  // What is asked about an interface.
  case interfaceIndex = "SIOCGIFINDEX"
  case interfaceName = "SIOCGIFNAME"
  case interfaceFlags = "SIOCGIFFLAGS"
  case interfaceAddress = "SIOCGIFADDR"
  case interfaceMTU = "SIOCGIFMTU"
  case interfaceHardwareAddress = "SIOCGIFHWADDR"
  case ethtool = "SIOCETHTOOL"
  case wirelessName = "SIOCGIWNAME"
  // A TUN or TAP device's.
  case tunAttach = "TUNSETIFF"
  case tunQuery = "TUNGETIFF"
  case tunOffload = "TUNSETOFFLOAD"
  case tunSetHeaderSize = "TUNSETVNETHDRSZ"
  case tunHeaderSize = "TUNGETVNETHDRSZ"
  case tunCarrier = "TUNSETCARRIER"
  case tunFeatures = "TUNGETFEATURES"

  /// As ioctl(2) takes it, on this architecture.
  public var number: UInt32 { unsafe clinux_ioctl_number(rawValue) }
}
