/*
 * libtinyrun.so: what Node cannot do by itself, for src/native/syscalls.ts. Every function returns a result >= 0 or -errno.
 * It is linked to no library: the few C symbols it uses come from the process that loads it, glibc or musl. Nothing here
 * changes a namespace, an id or the working directory: Node has many threads, and the kernel knows only one at a time.
 */
#include <linux/fs.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "interpreter.h"
#include "syscalls.h"

#define EXPORT __attribute__((visibility("default")))
#define LIST_MAX 512

/* clang-format off */
EXPORT int tinyrun_flock(int fd, int exclusive, int wait);
EXPORT int tinyrun_lock_is_held(const char *path);
EXPORT int tinyrun_signal(int pid, uint64_t start_time, int signal);
EXPORT int tinyrun_netlink(int protocol, const void *messages, size_t length, void *out, size_t capacity);
EXPORT int tinyrun_open_root(const char *lower, size_t count);
EXPORT int tinyrun_open_overlay(const char *lower, size_t count, const char *upper, const char *work);
EXPORT int tinyrun_open_directory(const char *path);
EXPORT int tinyrun_read_in_root(int root, const char *path, void *out, size_t capacity);
EXPORT int tinyrun_stat_in_root(int root, const char *path, uint64_t out[5]);
EXPORT int tinyrun_close(int fd);
EXPORT int tinyrun_remove_tree(const char *path);
EXPORT int tinyrun_spread(const char *path);
EXPORT int tinyrun_socketpair(int32_t out[2]);
EXPORT int tinyrun_memfd(const char *name, const void *bytes, size_t length);
EXPORT int tinyrun_start(const char *path, const char *arguments, size_t count, const int32_t *fds, size_t fd_count);
EXPORT int tinyrun_wait(int pid, int wait, int32_t *status);
EXPORT void tinyrun_end(int code);
/* clang-format on */

/* 1: ours now; 0: somebody else's (only without `wait`). */
int tinyrun_flock(int fd, int exclusive, int wait) {
    long result;
    do result = sys_flock(fd, (exclusive ? LOCK_EX : LOCK_SH) | (wait ? 0 : LOCK_NB));
    while (result == -EINTR && wait);
    return result == -EWOULDBLOCK ? 0 : result < 0 ? (int)result : 1;
}

/* Asks with a shared lock, given back at once: two who ask at the same time do not see each other. */
int tinyrun_lock_is_held(const char *path) {
    long fd = sys_openat(AT_FDCWD, path, O_RDONLY | O_NOCTTY | O_NONBLOCK, 0);
    if (fd < 0) return fd == -ENOENT || fd == -ENOTDIR ? 0 : (int)fd;
    int got = tinyrun_flock((int)fd, 0, 0);
    sys_close((int)fd);
    return got < 0 ? got : !got;
}

/* Field 22 of /proc/<pid>/stat. The name in field 2 may hold anything, also blanks and brackets: count from its last ')'. */
static int start_time_of(int pid, uint64_t *start_time) {
    char path[32] = "/proc/", text[1024];
    struct tr_digits digits;
    strcat(strcat(path, tr_digits_of(pid, &digits)), "/stat");
    long fd = sys_openat(AT_FDCWD, path, O_RDONLY, 0);
    if (fd < 0) return fd == -ENOENT ? -ESRCH : (int)fd;
    long length = sys_read((int)fd, text, sizeof text - 1);
    sys_close((int)fd);
    if (length <= 0) return length < 0 ? (int)length : -ESRCH;
    text[length] = 0;
    char *field = strrchr(text, ')');
    for (int number = 2; field != NULL && number < 22; number++) field = strchr(field + 1, ' ');
    if (field == NULL) return -EPROTO;
    *start_time = 0;
    for (field++; *field >= '0' && *field <= '9'; field++) *start_time = *start_time * 10 + (uint64_t)(*field - '0');
    return 0;
}

/* 1: sent; 0: that process is gone, whoever has its number now. The pidfd comes first, so the number cannot change hands after the check. */
int tinyrun_signal(int pid, uint64_t start_time, int signal) {
    uint64_t found;
    if (pid <= 1) return -EINVAL;
    long fd = sys_pidfd_open(pid);
    if (fd == -ESRCH) return 0;
    if (fd < 0 && fd != -ENOSYS) return (int)fd;
    long result = start_time_of(pid, &found);
    if (result == 0 && found != start_time) result = -ESRCH;
    if (result == 0) result = fd < 0 ? sys_kill(pid, signal) : sys_pidfd_send_signal((int)fd, signal);
    if (fd >= 0) sys_close((int)fd);
    return result == -ESRCH ? 0 : result < 0 ? (int)result : 1;
}

/* Length of the replies. */
int tinyrun_netlink(int protocol, const void *messages, size_t length, void *out, size_t capacity) {
    int fd = tr_netlink_open(protocol);
    if (fd < 0) return fd;
    long result = tr_netlink_exchange(fd, messages, length, out, capacity);
    sys_close(fd);
    return (int)result;
}

/* Strings one behind the other, each with its NUL, into an array that ends with NULL. */
static int split(const char *text, size_t count, char **out) {
    if (count > LIST_MAX) return -E2BIG;
    for (size_t at = 0; at < count; at++) {
        out[at] = (char *)(uintptr_t)text;
        text += strlen(text) + 1;
    }
    out[count] = NULL;
    return 0;
}

struct view {
    char **layers;
    const char *upper, *work; /* NULL: read-only */
    int result;
};

/* In a mount namespace of its own, which ends with this process; the fd, in the table that it shares with us, holds the mount. */
static int mount_view(void *argument) {
    static char *no_options[] = {NULL};
    struct view *view = argument;
    struct tr_op_overlay op = {view->layers, (char *)(uintptr_t)view->upper, (char *)(uintptr_t)view->work, no_options, view->layers[0]};
    long result = sys_unshare(CLONE_NEWNS);
    if (result >= 0) result = sys_mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
    if (result >= 0) result = tr_overlay_classic(&op);
    if (result >= 0) result = tinyrun_open_directory(op.target);
    view->result = (int)result;
    return 0;
}

/* Before Linux 6.5 the new mount API takes no more than 255 bytes of layers. vfork, but with open files in common. */
static int open_classic(char **layers, const char *upper, const char *work) {
    const uint64_t all = ~(uint64_t)0;
    uint64_t before;
    _Alignas(16) char stack[65536];
    struct view view = {layers, upper, work, -EIO};
    sys_sigmask(SIG_SETMASK, &all, &before);
    int pid = clone(mount_view, stack + sizeof stack, CLONE_VM | CLONE_VFORK | CLONE_FILES | SIGCHLD, &view);
    int error = pid < 0 ? -errno : 0;
    sys_sigmask(SIG_SETMASK, &before, NULL);
    if (error < 0) return error;
    while (sys_wait4(pid, NULL, 0) == -EINTR) {
    }
    return view.result;
}

/* The layers seen as one, top first, as a mount that is attached nowhere and goes with its fd. */
int tinyrun_open_root(const char *lower, size_t count) {
    char *layers[LIST_MAX + 1];
    int error = split(lower, count, layers);
    if (error < 0) return error;
    if (count == 0) return -EINVAL;
    if (count == 1) return tinyrun_open_directory(layers[0]);
    int root = tr_overlay_open(layers, NULL, NULL, NULL);
    return root == -ENOSYS || root == -EINVAL ? open_classic(layers, NULL, NULL) : root;
}

/* The same with an upper directory, to write to. */
int tinyrun_open_overlay(const char *lower, size_t count, const char *upper, const char *work) {
    char *layers[LIST_MAX + 1];
    int error = split(lower, count, layers);
    if (error < 0) return error;
    if (count == 0) return -EINVAL;
    int root = tr_overlay_open(layers, upper, work, NULL);
    return root == -ENOSYS || root == -EINVAL ? open_classic(layers, upper, work) : root;
}

int tinyrun_open_directory(const char *path) {
    return (int)sys_openat(AT_FDCWD, path, O_PATH | O_DIRECTORY, 0);
}

/* Never opens what is not a regular file: an image's FIFO would hang us and its device nodes are the host's devices. */
static long open_regular(int root, const char *path, size_t capacity) {
    struct tr_statx status;
    struct tr_fd_path of_fd;
    int at = tr_root_open(root, path, O_PATH);
    if (at < 0) return at;
    long result = sys_fstatx(at, &status);
    if (result == 0 && S_ISDIR(status.mode)) result = -EISDIR;
    if (result == 0 && !S_ISREG(status.mode)) result = -EINVAL;
    if (result == 0 && status.size > capacity) result = -EFBIG;
    if (result == 0) result = sys_openat(AT_FDCWD, tr_fd_path(at, &of_fd), O_RDONLY | O_NOCTTY | O_NONBLOCK, 0);
    sys_close(at);
    return result;
}

/* Length of the file. One more byte than may come is asked for: /proc files have no size to look at first. */
int tinyrun_read_in_root(int root, const char *path, void *out, size_t capacity) {
    size_t used = 0;
    long fd = open_regular(root, path, capacity), count;
    if (fd < 0) return (int)fd;
    while ((count = sys_read((int)fd, (char *)out + used, capacity - used)) > 0) used += (size_t)count;
    char more;
    if (count == 0 && used == capacity && sys_read((int)fd, &more, 1) > 0) count = -EFBIG;
    sys_close((int)fd);
    return count < 0 ? (int)count : (int)used;
}

/* mode with its type bits, uid, gid, size, and 0. Follows links, in root. */
int tinyrun_stat_in_root(int root, const char *path, uint64_t out[5]) {
    struct tr_statx status;
    int fd = tr_root_open(root, path, O_PATH);
    if (fd < 0) return fd;
    long result = sys_fstatx(fd, &status);
    sys_close(fd);
    if (result < 0) return (int)result;
    out[0] = status.mode;
    out[1] = status.uid;
    out[2] = status.gid;
    out[3] = status.size;
    out[4] = 0;
    return 0;
}

int tinyrun_close(int fd) {
    return (int)sys_close(fd);
}

int tinyrun_remove_tree(const char *path) {
    return tr_remove_tree(path);
}

/*
 * Tells ext4 that the directories in this one have nothing to do with each other: each gets a part of the disk of its own
 * (`chattr +T`). 1: it was told just now.
 */
int tinyrun_spread(const char *path) {
    long fd = sys_openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    if (fd < 0) return (int)fd;
    long flags = 0; /* the kernel writes an int */
    long result = sys_ioctl((int)fd, FS_IOC_GETFLAGS, (unsigned long)&flags);
    if (result >= 0 && (flags & FS_TOPDIR_FL) == 0) {
        flags |= FS_TOPDIR_FL;
        result = sys_ioctl((int)fd, FS_IOC_SETFLAGS, (unsigned long)&flags);
        if (result >= 0) result = 1;
    }
    sys_close((int)fd);
    return (int)result;
}

int tinyrun_socketpair(int32_t out[2]) {
    return syscall(SYS_socketpair, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, out) < 0 ? -errno : 0;
}

/* A file in memory that cannot change any more, at offset 0. */
int tinyrun_memfd(const char *name, const void *bytes, size_t length) {
    long fd = sys_memfd_create(name, TR_MFD_CLOEXEC | TR_MFD_ALLOW_SEALING), result = 0;
    if (fd < 0) return (int)fd;
    for (size_t done = 0; result >= 0 && done < length; done += (size_t)result)
        result = sys_write((int)fd, (const char *)bytes + done, length - done);
    if (result >= 0) result = syscall(SYS_lseek, fd, 0L, 0);
    if (result >= 0) result = sys_fcntl((int)fd, TR_F_ADD_SEALS, TR_SEAL_ALL);
    if (result >= 0) return (int)fd;
    sys_close((int)fd);
    return (int)result;
}

/* Above every number that is a goal, then down: a source may have the number of another one's goal. */
static long place_fds(const int32_t *fds, size_t count) {
    int32_t moved[16];
    for (size_t at = 0; at < count; at++) {
        moved[at] = (int32_t)sys_fcntl(fds[at], F_DUPFD_CLOEXEC, 32);
        if (moved[at] < 0) return moved[at];
    }
    for (size_t at = 0; at < count; at++) {
        long result = sys_dup3(moved[at], (int)at, 0);
        if (result < 0) return result;
    }
    if (sys_close_range((unsigned)count, ~0U, TR_CLOSE_RANGE_CLOEXEC) == 0) return 0;
    for (int fd = (int)count; fd < 4096; fd++) sys_fcntl(fd, F_SETFD, FD_CLOEXEC);
    return 0;
}

/*
 * A program that a container can reach by /proc/<pid>/exe, and may even execute itself as /proc/self/exe, must not be
 * writable there (CVE-2019-5736): it is executed through a read-only mount of its directory that is attached nowhere. That keeps
 * also chmod out, and unlike a sealed copy costs no memory. Returns the directory's fd; -1 where it cannot be had.
 */
static int open_program_directory(const char *path) {
    char directory[4096];
    const struct tr_mount_attr readonly = {.attr_set = TR_ATTR_RDONLY};
    size_t length = (size_t)(strrchr(path, '/') - path);
    if (length == 0 || length >= sizeof directory) return -1;
    memcpy(directory, path, length);
    directory[length] = 0;
    long fd = sys_open_tree(AT_FDCWD, directory, TR_OPEN_TREE_CLONE);
    if (fd < 0) return -1;
    /* Above the numbers that start_child() fills. */
    long moved = sys_mount_setattr((int)fd, 0, &readonly) < 0 ? -1 : sys_fcntl((int)fd, F_DUPFD_CLOEXEC, 32);
    sys_close((int)fd);
    return moved < 0 ? -1 : (int)moved;
}

/* Shares our memory until the exec: no C library calls, nothing written but *error. */
static __attribute__((noinline)) void start_child(const char *path, int directory, char *const *argv, const int32_t *fds,
                                                  size_t count, volatile int *error) {
    static char *const no_environment[] = {NULL};
    const uint64_t none = 0;
    sys_signals_default();
    sys_sigmask(SIG_SETMASK, &none, NULL);
    syscall(SYS_setsid);
    long result = place_fds(fds, count);
    if (result >= 0 && directory >= 0) {
        const char *name = path;
        for (const char *at = path; *at != 0; at++)
            if (*at == '/') name = at + 1;
        syscall(SYS_execveat, directory, name, argv, no_environment, 0);
    }
    if (result >= 0) result = sys_execve(path, argv, no_environment);
    *error = (int)result;
    sys_exit(127);
}

/* Alone with its arguments: whatever lives across a vfork in registers may come back changed. */
static __attribute__((noinline)) int start(const char *path, int directory, char *const *argv, const int32_t *fds,
                                           size_t count) {
    volatile int error = 0;
    pid_t pid = vfork();
    if (pid == 0) start_child(path, directory, argv, fds, count, &error);
    if (pid < 0) return -errno;
    if (error == 0) return pid;
    sys_wait4(pid, NULL, 0);
    return error;
}

/*
 * Starts a program in a session of its own, without environment, its stdio /dev/null and then fds[0] as 3, fds[1] as 4
 * and so on, nothing else open. Returns the pid. vfork: Node's address space is not copied, and the caller stands still
 * only until the exec (0.1 ms).
 */
int tinyrun_start(const char *path, const char *arguments, size_t count, const int32_t *fds, size_t fd_count) {
    const uint64_t all = ~(uint64_t)0;
    uint64_t before;
    char *argv[LIST_MAX + 1];
    int32_t table[16];
    if (path[0] != '/') return -EINVAL;
    if (fd_count > 12) return -E2BIG;
    int result = split(arguments, count, argv);
    if (result < 0) return result;
    long null = sys_openat(AT_FDCWD, "/dev/null", O_RDWR, 0);
    if (null < 0) return (int)null;
    for (int at = 0; at < 3; at++) table[at] = (int32_t)null;
    for (size_t at = 0; at < fd_count; at++) table[3 + at] = fds[at];
    /* All 64: a handler of Node's must not run in the child, on the shared stack. */
    sys_sigmask(SIG_SETMASK, &all, &before);
    int directory = open_program_directory(path);
    result = start(path, directory, argv, table, 3 + fd_count);
    sys_sigmask(SIG_SETMASK, &before, NULL);
    if (directory >= 0) sys_close(directory);
    sys_close((int)null);
    return result;
}

/* 1: it has ended, *status as of waitpid; 0: not yet. Only for what tinyrun_start() has started: the rest is libuv's. */
int tinyrun_wait(int pid, int wait, int32_t *status) {
    long result;
    if (pid <= 0) return -EINVAL;
    do result = sys_wait4(pid, status, wait ? 0 : WNOHANG);
    while (result == -EINTR);
    return result < 0 ? (int)result : result > 0;
}

/* All threads, without what the process has asked to be done at its exit. */
void tinyrun_end(int code) { syscall(SYS_exit_group, code); }
