/* The system calls that decoding and making files take. Anything else is an attack or a bug: the process is killed. */
#include "unpack.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../syscalls.h"

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#error "no system call filter for this architecture"
#endif

/* Most frequent first: the list is walked from its start (newer kernels remember the answers). */
static const uint32_t COMMON[] = {
    SYS_openat, SYS_close, SYS_read, SYS_pread64, SYS_write, SYS_fstat, SYS_newfstatat, SYS_futex, TR_SYS_openat2, SYS_statx,
    SYS_readlinkat, SYS_getdents64, SYS_lseek, SYS_fgetxattr, SYS_flistxattr,
    SYS_brk, SYS_munmap, SYS_mremap, SYS_madvise, SYS_getrandom, SYS_rt_sigreturn, SYS_rt_sigprocmask, SYS_restart_syscall,
    SYS_clock_gettime, SYS_exit, SYS_exit_group,
};
static const uint32_t WRITING[] = {
    SYS_pwrite64, SYS_utimensat, SYS_fchown, SYS_fchmod, SYS_mkdirat, SYS_symlinkat, SYS_linkat, SYS_mknodat, SYS_fchownat,
    SYS_fchmodat, SYS_unlinkat, SYS_ftruncate, SYS_fstatfs, SYS_setxattr, SYS_lsetxattr, SYS_fsetxattr,
};
/* sysinfo: qsort asks how much memory there is. */
static const uint32_t READING[] = {SYS_llistxattr, SYS_lgetxattr, SYS_fchdir, SYS_sysinfo};
#define COUNT(list) (sizeof list / sizeof *list)

/* mmap and mprotect: memory, but none that can be executed. */
#define GUARDED_COUNT 2

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define EQUALS(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, yes, no)
#define RETURN(action) BPF_STMT(BPF_RET | BPF_K, action)

#ifndef __SANITIZE_ADDRESS__
static size_t allow_all(struct sock_filter *program, size_t n, const uint32_t *calls, size_t count, size_t allow) {
    for (size_t i = 0; i < count; i++, n++) program[n] = (struct sock_filter)EQUALS(calls[i], (uint8_t)(allow - n - 1), 0);
    return n;
}
#endif

int sandbox_filter(bool read_only, struct failure *failure) {
#ifdef __SANITIZE_ADDRESS__ /* which reads /proc and makes signals stacks of its own */
    (void)read_only, (void)failure;
    return 0;
#else
    struct sock_filter program[3 + 1 + COUNT(COMMON) + COUNT(WRITING) + COUNT(READING) + GUARDED_COUNT + 6];
    size_t n = 0;
    program[n++] = (struct sock_filter)LOAD(arch);
    program[n++] = (struct sock_filter)EQUALS(ARCHITECTURE, 1, 0);
    program[n++] = (struct sock_filter)RETURN(SECCOMP_RET_KILL_PROCESS);
    program[n++] = (struct sock_filter)LOAD(nr);
    const uint32_t *more = read_only ? READING : WRITING;
    const size_t more_count = read_only ? COUNT(READING) : COUNT(WRITING);
    /* After the lists: mprotect, mmap, kill, load, test, kill, allow. x32 numbers have a bit more and match nothing. */
    const size_t allow = n + COUNT(COMMON) + more_count + GUARDED_COUNT + 4;
    n = allow_all(program, n, more, more_count, allow);
    n = allow_all(program, n, COMMON, COUNT(COMMON), allow);
    program[n++] = (struct sock_filter)EQUALS(SYS_mprotect, 2, 0);
    program[n++] = (struct sock_filter)EQUALS(SYS_mmap, 1, 0);
    program[n++] = (struct sock_filter)RETURN(SECCOMP_RET_KILL_PROCESS);
    program[n++] = (struct sock_filter)LOAD(args[2]);
    program[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 0, 1);
    program[n++] = (struct sock_filter)RETURN(SECCOMP_RET_KILL_PROCESS);
    program[n++] = (struct sock_filter)RETURN(SECCOMP_RET_ALLOW);
    struct sock_fprog filter = {.len = (unsigned short)n, .filter = program};
    /* TSYNC: the decoder's thread is there already, and must not be able to start others. */
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter) != 0)
        return fail_errno(failure, errno == 0 ? EINVAL : errno, "set", "system call filter");
    return 0;
#endif
}
