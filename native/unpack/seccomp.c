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
static const uint32_t ALLOWED[] = {
    SYS_openat, SYS_pwrite64, SYS_utimensat, SYS_close, SYS_read, SYS_write, SYS_fchown, SYS_fchmod, SYS_futex, TR_SYS_openat2,
    SYS_mkdirat, SYS_symlinkat, SYS_linkat, SYS_mknodat, SYS_fchownat, SYS_fchmodat, SYS_unlinkat, SYS_pread64,
    SYS_newfstatat, SYS_fstat, SYS_statx, SYS_readlinkat, SYS_getdents64, SYS_lseek, SYS_ftruncate, SYS_fstatfs,
    SYS_setxattr, SYS_lsetxattr, SYS_fsetxattr, SYS_fgetxattr, SYS_flistxattr,
    SYS_brk, SYS_munmap, SYS_mremap, SYS_madvise, SYS_getrandom, SYS_rt_sigreturn, SYS_rt_sigprocmask, SYS_restart_syscall,
    SYS_clock_gettime, SYS_exit, SYS_exit_group,
};
#define ALLOWED_COUNT (sizeof ALLOWED / sizeof *ALLOWED)

/* mmap and mprotect: memory, but none that can be executed. */
#define GUARDED_COUNT 2

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define EQUALS(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, yes, no)
#define RETURN(action) BPF_STMT(BPF_RET | BPF_K, action)

int sandbox_filter(struct failure *failure) {
#ifdef __SANITIZE_ADDRESS__ /* which reads /proc and makes signals stacks of its own */
    (void)failure;
    return 0;
#else
    struct sock_filter program[3 + 1 + ALLOWED_COUNT + GUARDED_COUNT + 6];
    size_t n = 0;
    program[n++] = (struct sock_filter)LOAD(arch);
    program[n++] = (struct sock_filter)EQUALS(ARCHITECTURE, 1, 0);
    program[n++] = (struct sock_filter)RETURN(SECCOMP_RET_KILL_PROCESS);
    program[n++] = (struct sock_filter)LOAD(nr);
    /* After the list: mprotect, mmap, kill, load, test, kill, allow. x32 numbers have a bit more and match nothing. */
    const size_t allow = n + ALLOWED_COUNT + GUARDED_COUNT + 4;
    for (size_t i = 0; i < ALLOWED_COUNT; i++, n++)
        program[n] = (struct sock_filter)EQUALS(ALLOWED[i], (uint8_t)(allow - n - 1), 0);
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
