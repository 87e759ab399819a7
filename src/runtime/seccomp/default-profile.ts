import type { SeccompArg } from '../../oci/runtime-spec.ts';
import type { ProfileRule, RuleCondition, SeccompProfile } from './profile.ts';

/** Part of the key under which compiled programs are kept: to be raised with every change of the profile or the compiler. */
export const DEFAULT_PROFILE_VERSION = 1;

/**
 * What every container may call: Docker's list of June 2026 (moby/profiles seccomp v0.2.3), by subject. io_uring is not in
 * it, nor is anything that reaches beyond the container. `socketcall` is, as in Docker: no filter can look behind its
 * pointer, and 32-bit programs need it.
 */
const ALWAYS = {
  files: `
    _llseek access cachestat chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3
    faccessat faccessat2 fadvise64 fadvise64_64 fallocate fchdir fchmod fchmodat fchmodat2 fchown fchown32
    fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fremovexattr fsetxattr fstat fstat64
    fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futimesat getcwd getdents getdents64 getxattr
    getxattrat ioctl lchown lchown32 lgetxattr link linkat listmount listxattr listxattrat llistxattr
    lremovexattr lseek lsetxattr lstat lstat64 mkdir mkdirat mknod mknodat name_to_handle_at newfstatat open
    openat openat2 pipe pipe2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readlink
    readlinkat readv removexattr removexattrat rename renameat renameat2 rmdir sendfile sendfile64 setxattr
    setxattrat splice stat stat64 statfs statfs64 statmount statx symlink symlinkat sync sync_file_range
    syncfs tee truncate truncate64 unlink unlinkat utime utimensat utimensat_time64 utimes vmsplice write
    writev`,
  process: `
    execve execveat exit exit_group fork futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake
    get_robust_list get_thread_area getcpu getpgid getpgrp getpid getppid getpriority getrandom getrlimit
    getrusage getsid gettid ioprio_get ioprio_set landlock_add_rule landlock_create_ruleset
    landlock_restrict_self pidfd_open prctl prlimit64 riscv_hwprobe rseq sched_get_priority_max
    sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler
    sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam
    sched_setscheduler sched_yield seccomp set_robust_list set_thread_area set_tid_address setpgid
    setpriority setrlimit setsid sysinfo ugetrlimit umask uname uretprobe vfork wait4 waitid waitpid`,
  identity: `
    capget capset getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getresgid
    getresgid32 getresuid getresuid32 getuid getuid32 setfsgid setfsgid32 setfsuid setfsuid32 setgid
    setgid32 setgroups setgroups32 setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid
    setreuid32 setuid setuid32`,
  memory: `
    brk madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall mmap
    mmap2 mprotect mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect
    process_mrelease remap_file_pages`,
  signals: `
    kill pause pidfd_send_signal restart_syscall rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo
    rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaltstack
    sigprocmask sigreturn tgkill tkill`,
  time: `
    adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime
    clock_gettime64 clock_nanosleep clock_nanosleep_time64 getitimer gettimeofday nanosleep setitimer time
    timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64
    timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times`,
  events: `
    _newselect epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait
    epoll_wait_old eventfd eventfd2 fanotify_mark inotify_add_watch inotify_init inotify_init1
    inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit
    poll ppoll ppoll_time64 pselect6 pselect6_time64 select signalfd signalfd4`,
  network: `
    accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg
    recvmmsg_time64 recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socketcall socketpair`,
  ipc: `
    ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend
    mq_timedsend_time64 mq_unlink msgctl msgget msgrcv msgsnd semctl semget semop semtimedop
    semtimedop_time64 shmat shmctl shmdt shmget`,
};

/** Namespace flags of clone(2) that need CAP_SYS_ADMIN: CLONE_NEWNS, CGROUP, UTS, IPC, USER, PID and NET. */
const CLONE_NAMESPACES = 0x7e020000;
const ENOSYS = 38;
const EPERM = 1;
const AF_ALG = 38;
const AF_VSOCK = 40;

/** PER_LINUX, PER_LINUX32, with and without UNAME26, and the question which it is. */
const PERSONALITIES = [0, 8, 0x20000, 0x20008, 0xffffffff];

/** What comes with a capability. */
const WITH_CAPABILITY: Readonly<Record<string, string>> = {
  CAP_DAC_READ_SEARCH: 'open_by_handle_at',
  CAP_SYS_ADMIN:
    'bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr lsm_list_modules ' +
    'lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl quotactl_fd setdomainname ' +
    'sethostname setns syslog umount umount2 unshare',
  CAP_SYS_BOOT: 'reboot',
  CAP_SYS_CHROOT: 'chroot',
  CAP_SYS_MODULE: 'delete_module init_module finit_module',
  CAP_SYS_PACCT: 'acct',
  CAP_SYS_PTRACE: 'kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace',
  CAP_SYS_RAWIO: 'iopl ioperm',
  CAP_SYS_TIME: 'settimeofday stime clock_settime clock_settime64',
  CAP_SYS_TTY_CONFIG: 'vhangup',
  CAP_SYS_NICE: 'get_mempolicy mbind set_mempolicy set_mempolicy_home_node',
  CAP_SYSLOG: 'syslog',
  CAP_BPF: 'bpf',
  CAP_PERFMON: 'perf_event_open',
};

/** @see https://github.com/moby/profiles/blob/main/seccomp/default.json */
export const DEFAULT_PROFILE: SeccompProfile = {
  defaultAction: 'SCMP_ACT_ERRNO',
  defaultErrnoRet: EPERM,
  archMap: [
    { architecture: 'SCMP_ARCH_X86_64', subArchitectures: ['SCMP_ARCH_X86', 'SCMP_ARCH_X32'] },
    { architecture: 'SCMP_ARCH_AARCH64', subArchitectures: ['SCMP_ARCH_ARM'] },
  ],
  syscalls: [
    allow(Object.values(ALWAYS).join(' ')),
    // Before 4.8 ptrace could be used to get around a seccomp filter.
    allow('process_vm_readv process_vm_writev ptrace', { minKernel: '4.8' }),
    // Every family but AF_ALG (CVE-2026-31431) and AF_VSOCK, which knows no namespaces: what is below, between and above.
    allowWhere('socket', { index: 0, value: AF_ALG, op: 'SCMP_CMP_LT' }),
    allowWhere('socket', { index: 0, value: AF_ALG + 1, op: 'SCMP_CMP_EQ' }),
    allowWhere('socket', { index: 0, value: AF_VSOCK, op: 'SCMP_CMP_GT' }),
    ...PERSONALITIES.map((value) => allowWhere('personality', { index: 0, value, op: 'SCMP_CMP_EQ' })),
    allow('arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls', {
      arches: ['arm', 'arm64'],
    }),
    allow('arch_prctl', { arches: ['amd64', 'x32'] }),
    allow('modify_ldt', { arches: ['amd64', 'x32', 'x86'] }),
    // The arguments of clone3 are behind a pointer: refused as unknown, so that the C library falls back to clone.
    {
      ...allowWhere('clone', { index: 0, value: CLONE_NAMESPACES, op: 'SCMP_CMP_MASKED_EQ' }),
      excludes: { caps: ['CAP_SYS_ADMIN'] },
    },
    { names: ['clone3'], action: 'SCMP_ACT_ERRNO', errnoRet: ENOSYS, excludes: { caps: ['CAP_SYS_ADMIN'] } },
    ...Object.entries(WITH_CAPABILITY).map(([capability, names]) => allow(names, { caps: [capability] })),
  ],
};

/** The capabilities that make a difference to the default profile. */
export const PROFILE_CAPABILITIES: readonly string[] = Object.keys(WITH_CAPABILITY);

function allow(names: string, includes?: RuleCondition): ProfileRule {
  return {
    names: names.trim().split(/\s+/),
    action: 'SCMP_ACT_ALLOW',
    ...(includes === undefined ? {} : { includes }),
  };
}

function allowWhere(name: string, arg: SeccompArg): ProfileRule {
  return { names: [name], action: 'SCMP_ACT_ALLOW', args: [arg] };
}
