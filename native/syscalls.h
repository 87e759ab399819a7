/*
 * The kernel surface of the interpreter and of libtinyrun.so: every raw system call, constant and struct that the C library of
 * some build may lack or wrap in a way that does not suit a freshly cloned child (musl and glibc signal all threads
 * for setuid, cache the pid, hide signals 32 and 33). All wrappers return -errno, never touch memory of their own and
 * take no locks. Numbers from 424 up are the same on every architecture.
 */
#ifndef TINYRUN_SYSCALLS_H
#define TINYRUN_SYSCALLS_H

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TR_SYS_pidfd_send_signal 424
#define TR_SYS_open_tree 428
#define TR_SYS_move_mount 429
#define TR_SYS_fsopen 430
#define TR_SYS_fsconfig 431
#define TR_SYS_fsmount 432
#define TR_SYS_pidfd_open 434
#define TR_SYS_clone3 435
#define TR_SYS_close_range 436
#define TR_SYS_openat2 437
#define TR_SYS_mount_setattr 442

/* The C libraries hide these behind feature macros or enums of other headers, hence names of our own. */
#define TR_AT_EMPTY_PATH 0x1000
#define TR_AT_RECURSIVE 0x8000
#define TR_AT_NO_AUTOMOUNT 0x800
#define TR_OPEN_TREE_CLONE 1
#define TR_OPEN_TREE_CLOEXEC O_CLOEXEC
#define TR_MOVE_F_EMPTY_PATH 0x04
#define TR_MOVE_T_EMPTY_PATH 0x40
#define TR_FSOPEN_CLOEXEC 1
#define TR_FSMOUNT_CLOEXEC 1
#define TR_FSCONFIG_SET_FLAG 0
#define TR_FSCONFIG_SET_STRING 1
#define TR_FSCONFIG_CMD_CREATE 6
#define TR_ATTR_RDONLY 0x01
#define TR_ATTR_NOSUID 0x02
#define TR_ATTR_NODEV 0x04
#define TR_ATTR_NOEXEC 0x08
#define TR_ATTR_ATIME 0x70 /* the mask of the three */
#define TR_ATTR_NOATIME 0x10
#define TR_ATTR_STRICTATIME 0x20
#define TR_ATTR_NODIRATIME 0x80
#define TR_ATTR_NOSYMFOLLOW 0x200000
#define TR_MS_NOSYMFOLLOW 256

#define TR_RESOLVE_NO_XDEV 0x01
#define TR_RESOLVE_NO_MAGICLINKS 0x02
#define TR_RESOLVE_NO_SYMLINKS 0x04
#define TR_RESOLVE_BENEATH 0x08
#define TR_RESOLVE_IN_ROOT 0x10

#define TR_CLONE_NEWTIME 0x80
#define TR_CLONE_NEWCGROUP 0x02000000
#define TR_CLONE_PIDFD 0x1000
#define TR_CLONE_INTO_CGROUP 0x200000000ULL
#define TR_CLOSE_RANGE_CLOEXEC 4
#define TR_MFD_CLOEXEC 1
#define TR_MFD_ALLOW_SEALING 2
#define TR_MFD_EXEC 16
#define TR_F_ADD_SEALS 1033
#define TR_SEAL_ALL 0xf /* no more seals, no shrinking, growing or writing */
#define TR_TIOCGPTPEER 0x5441
#define TR_TIOCSPTLCK 0x40045431

#define TR_PROC_SUPER_MAGIC 0x9fa0
#define TR_STATX_BASIC 0x7ff

struct tr_open_how {
    uint64_t flags, mode, resolve;
};

struct tr_mount_attr {
    uint64_t attr_set, attr_clr, propagation, userns_fd;
};

struct tr_clone_args {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};

struct tr_statx_time {
    int64_t sec;
    uint32_t nsec;
    int32_t reserved;
};

/* statx() and not fstat(): struct stat and the wrapper's name differ between C libraries. */
struct tr_statx {
    uint32_t mask, blksize;
    uint64_t attributes;
    uint32_t nlink, uid, gid;
    uint16_t mode, pad;
    uint64_t ino, size, blocks, attributes_mask;
    struct tr_statx_time atime, btime, ctime, mtime;
    uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
    uint64_t spare[14];
};
_Static_assert(sizeof(struct tr_statx) == 256, "struct statx has 256 bytes");

/* struct linux_dirent64 */
struct tr_dirent {
    uint64_t ino;
    int64_t offset;
    uint16_t length;
    uint8_t type;
    char name[];
};

/* struct sigaction of the kernel, not of the C library. */
struct tr_sigaction {
    void *handler;
    unsigned long flags;
    void *restorer;
    uint64_t mask;
};

#define TR_RESULT(call) \
    long result = (call); \
    return result < 0 ? -errno : result

static inline long sys_openat(int dir, const char *path, int flags, unsigned mode) {
    TR_RESULT(syscall(SYS_openat, dir, path, flags | O_CLOEXEC, mode));
}

static inline long sys_openat2(int dir, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve) {
    struct tr_open_how how = {flags | O_CLOEXEC, mode, resolve};
    TR_RESULT(syscall(TR_SYS_openat2, dir, path, &how, sizeof how));
}

static inline long sys_close(int fd) {
    TR_RESULT(syscall(SYS_close, fd));
}

static inline long sys_read(int fd, void *at, size_t length) {
    TR_RESULT(syscall(SYS_read, fd, at, length));
}

static inline long sys_write(int fd, const void *at, size_t length) {
    TR_RESULT(syscall(SYS_write, fd, at, length));
}

static inline long sys_statx(int dir, const char *path, int flags, struct tr_statx *out) {
    TR_RESULT(syscall(SYS_statx, dir, path, flags | TR_AT_NO_AUTOMOUNT, TR_STATX_BASIC, out));
}

static inline long sys_fstatx(int fd, struct tr_statx *out) {
    return sys_statx(fd, "", TR_AT_EMPTY_PATH, out);
}

static inline long sys_getdents(int fd, void *buffer, size_t length) {
    TR_RESULT(syscall(SYS_getdents64, fd, buffer, length));
}

static inline long sys_rewind(int fd) {
    TR_RESULT(syscall(SYS_lseek, fd, 0L, 0 /* SEEK_SET */));
}

static inline long sys_unlinkat(int dir, const char *path, int flags) {
    TR_RESULT(syscall(SYS_unlinkat, dir, path, flags));
}

static inline long sys_mkdirat(int dir, const char *path, unsigned mode) {
    TR_RESULT(syscall(SYS_mkdirat, dir, path, mode));
}

static inline long sys_mknodat(int dir, const char *path, unsigned mode, unsigned long device) {
    TR_RESULT(syscall(SYS_mknodat, dir, path, mode, device));
}

static inline long sys_symlinkat(const char *target, int dir, const char *path) {
    TR_RESULT(syscall(SYS_symlinkat, target, dir, path));
}

static inline long sys_readlinkat(int dir, const char *path, char *buffer, size_t length) {
    TR_RESULT(syscall(SYS_readlinkat, dir, path, buffer, length));
}

static inline long sys_renameat(int from_dir, const char *from, int to_dir, const char *to) {
    TR_RESULT(syscall(SYS_renameat2, from_dir, from, to_dir, to, 0));
}

static inline long sys_fchownat(int dir, const char *path, unsigned uid, unsigned gid, int flags) {
    TR_RESULT(syscall(SYS_fchownat, dir, path, uid, gid, flags));
}

static inline long sys_fchmodat(int dir, const char *path, unsigned mode) {
    TR_RESULT(syscall(SYS_fchmodat, dir, path, mode));
}

static inline long sys_fchdir(int fd) {
    TR_RESULT(syscall(SYS_fchdir, fd));
}

static inline long sys_chdir(const char *path) {
    TR_RESULT(syscall(SYS_chdir, path));
}

static inline long sys_getcwd(char *buffer, size_t length) {
    TR_RESULT(syscall(SYS_getcwd, buffer, length));
}

static inline long sys_dup3(int from, int to, int flags) {
    TR_RESULT(syscall(SYS_dup3, from, to, flags));
}

static inline long sys_fcntl(int fd, int command, unsigned long argument) {
    TR_RESULT(syscall(SYS_fcntl, fd, command, argument));
}

static inline long sys_ioctl(int fd, unsigned long request, unsigned long argument) {
    TR_RESULT(syscall(SYS_ioctl, fd, request, argument));
}

static inline long sys_flock(int fd, int how) {
    TR_RESULT(syscall(SYS_flock, fd, how));
}

static inline long sys_mount(const char *source, const char *target, const char *type, unsigned long flags, const void *data) {
    TR_RESULT(syscall(SYS_mount, source, target, type, flags, data));
}

static inline long sys_umount(const char *path, int flags) {
    TR_RESULT(syscall(SYS_umount2, path, flags));
}

static inline long sys_pivot_root(const char *new_root, const char *put_old) {
    TR_RESULT(syscall(SYS_pivot_root, new_root, put_old));
}

static inline long sys_open_tree(int dir, const char *path, unsigned flags) {
    TR_RESULT(syscall(TR_SYS_open_tree, dir, path, flags | TR_OPEN_TREE_CLOEXEC));
}

static inline long sys_move_mount(int from, int to) {
    TR_RESULT(syscall(TR_SYS_move_mount, from, "", to, "", TR_MOVE_F_EMPTY_PATH | TR_MOVE_T_EMPTY_PATH));
}

static inline long sys_fsopen(const char *type) {
    TR_RESULT(syscall(TR_SYS_fsopen, type, TR_FSOPEN_CLOEXEC));
}

static inline long sys_fsconfig(int fd, unsigned command, const char *key, const void *value, int aux) {
    TR_RESULT(syscall(TR_SYS_fsconfig, fd, command, key, value, aux));
}

static inline long sys_fsmount(int fd, unsigned attributes) {
    TR_RESULT(syscall(TR_SYS_fsmount, fd, TR_FSMOUNT_CLOEXEC, attributes));
}

static inline long sys_mount_setattr(int fd, unsigned flags, const struct tr_mount_attr *attributes) {
    TR_RESULT(syscall(TR_SYS_mount_setattr, fd, "", flags | TR_AT_EMPTY_PATH, attributes, sizeof *attributes));
}

static inline long sys_clone3(struct tr_clone_args *arguments) {
    TR_RESULT(syscall(TR_SYS_clone3, arguments, sizeof *arguments));
}

/* Like fork: the arguments after the pidfd are in another order on arm64, but all zero. */
static inline long sys_clone(unsigned long flags, int *pidfd) {
    TR_RESULT(syscall(SYS_clone, flags, 0L, pidfd, 0L, 0L));
}

static inline long sys_setns(int fd, int type) {
    TR_RESULT(syscall(SYS_setns, fd, type));
}

static inline long sys_unshare(int flags) {
    TR_RESULT(syscall(SYS_unshare, flags));
}

static inline long sys_prctl(int option, unsigned long a, unsigned long b) {
    TR_RESULT(syscall(SYS_prctl, option, a, b, 0UL, 0UL));
}

static inline long sys_close_range(unsigned first, unsigned last, unsigned flags) {
    TR_RESULT(syscall(TR_SYS_close_range, first, last, flags));
}

static inline long sys_kill(int pid, int signal) {
    TR_RESULT(syscall(SYS_kill, pid, signal));
}

static inline long sys_pidfd_open(int pid) {
    TR_RESULT(syscall(TR_SYS_pidfd_open, pid, 0));
}

static inline long sys_pidfd_send_signal(int fd, int signal) {
    TR_RESULT(syscall(TR_SYS_pidfd_send_signal, fd, signal, 0L, 0));
}

static inline long sys_wait4(int pid, int *status, int options) {
    TR_RESULT(syscall(SYS_wait4, pid, status, options, 0L));
}

static inline long sys_bpf(int command, void *attributes, size_t size) {
    TR_RESULT(syscall(SYS_bpf, command, attributes, size));
}

static inline long sys_memfd_create(const char *name, unsigned flags) {
    TR_RESULT(syscall(SYS_memfd_create, name, flags));
}

static inline long sys_execve(const char *path, char *const *argv, char *const *env) {
    TR_RESULT(syscall(SYS_execve, path, argv, env));
}

static inline long sys_execveat(int fd, char *const *argv, char *const *env) {
    TR_RESULT(syscall(SYS_execveat, fd, "", argv, env, TR_AT_EMPTY_PATH));
}

static inline void sys_exit(int code) {
    for (;;) syscall(SYS_exit_group, code);
}

static inline long sys_sleep_ms(unsigned milliseconds) {
    struct {
        long seconds, nanoseconds;
    } time = {milliseconds / 1000, (long)(milliseconds % 1000) * 1000000L};
    TR_RESULT(syscall(SYS_nanosleep, &time, 0L));
}

/* All 64: the C library's wrapper keeps two for itself. */
static inline long sys_sigmask(int how, const uint64_t *set, uint64_t *old) {
    TR_RESULT(syscall(SYS_rt_sigprocmask, how, set, old, sizeof(uint64_t)));
}

static inline void sys_signals_default(void) {
    static const struct tr_sigaction by_default = {0};
    /* SIGKILL and SIGSTOP answer EINVAL. */
    for (int number = 1; number <= 64; number++)
        syscall(SYS_rt_sigaction, number, &by_default, 0L, sizeof(uint64_t));
}

#endif
