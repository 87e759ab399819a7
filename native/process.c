/* Where the process stands, and how it becomes the container's program. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <termios.h>

#include "interpreter.h"
#include "syscalls.h"

int tr_op_join(struct tr_run *run, const struct tr_op_joinNamespace *op) {
    for (int at = 0; at < run->join_count; at++) {
        if (run->joins[at].op_index != run->op_index) continue;
        /* A pid namespace is entered by being born in it: tr_spawn() has seen to that. */
        long result = op->type == CLONE_NEWPID ? 0 : sys_setns(run->joins[at].fd, (int)op->type);
        if (result < 0 || op->type != CLONE_NEWNS) return (int)result;
        /* setns has moved us to that namespace's root. */
        result = sys_openat(AT_FDCWD, "/", O_PATH | O_DIRECTORY, 0);
        if (result < 0) return (int)result;
        run->root = (int)result;
        run->pivoted = 1;
        run->joined = 1;
        return 0;
    }
    return -EINVAL;
}

/*
 * RESOLVE_IN_ROOT refuses /proc/self/fd/N; the look at getcwd is the second lock: an fd of the host's that leaked would
 * show as "(unreachable)" (CVE-2024-21626).
 */
int tr_op_cwd_run(struct tr_run *run, const struct tr_op_cwd *op) {
    char path[TR_PATH_MAX];
    if (op->path[0] != '/') return -EINVAL;
    if (run->root < 0) {
        long result = sys_chdir(op->path);
        if (result < 0) return (int)result;
    } else {
        int fd = op->create ? tr_root_make(run->root, op->path, TR_MAKE_DIRECTORY, 0755, NULL)
                            : tr_root_open(run->root, op->path, O_PATH | O_DIRECTORY);
        if (fd < 0) return fd;
        long result = sys_fchdir(fd);
        sys_close(fd);
        if (result < 0) return (int)result;
    }
    long length = sys_getcwd(path, sizeof path);
    if (length < 0) return (int)length;
    return path[0] == '/' ? 0 : -EXDEV;
}

/* The socket to the monitor ends when it dies: getppid() says nothing across pid namespaces. */
static int monitor_lives(struct tr_run *run) {
    char byte;
    long count = syscall(SYS_recvfrom, run->sync, &byte, sizeof byte, MSG_PEEK | MSG_DONTWAIT, 0L, 0L);
    return count != 0;
}

int tr_arm_parent_death(struct tr_run *run) {
    long result = sys_prctl(PR_SET_PDEATHSIG, SIGKILL, 0);
    if (result < 0) return (int)result;
    run->disarmed = 0;
    /* It may have died before the signal was armed. */
    if (!monitor_lives(run)) sys_exit(1);
    return 0;
}

/* Before 5.11 (close_range with CLOEXEC) every number that may be in use is tried. */
static void close_on_exec(void) {
    struct rlimit limit;
    if (sys_close_range(3, ~0U, TR_CLOSE_RANGE_CLOEXEC) == 0) return;
    unsigned last = 65536;
    if (syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, 0L, &limit) == 0 && limit.rlim_max < last) last = (unsigned)limit.rlim_max;
    for (unsigned fd = 3; fd < last; fd++) sys_fcntl((int)fd, F_SETFD, FD_CLOEXEC);
}

/* What must hold for the program, done once, before the seccomp filter or the exec; the death signal again if it was lost. */
int tr_finish(struct tr_run *run) {
    if (!run->finished) {
        close_on_exec();
        run->finished = 1;
    }
    return run->disarmed ? tr_arm_parent_death(run) : 0;
}

static char *const *environment_of(const struct tr_plan *plan) {
    static char *const none[] = {NULL};
    const struct tr_ops *child = &plan->phase[TR_CHILD];
    for (size_t index = child->count; index > 0; index--)
        if (child->ops[index - 1].code == TR_OP_exec) return child->ops[index - 1].exec.env;
    return none;
}

static void unblock_signals(void) {
    const uint64_t none = 0;
    sys_sigmask(SIG_SETMASK, &none, NULL);
}

/* The half that stays pid 1. */
static void become_reaper(struct tr_run *run, int child) {
    struct tr_digits digits;
    char *const argv[] = {"tinyrun-init", "init", (char *)(uintptr_t)tr_digits_of(child, &digits), NULL};
    syscall(SYS_setpgid, child, child);
    long error = tr_finish(run);
    unblock_signals();
    if (error >= 0) error = sys_execveat(run->reaper, argv, environment_of(run->plan));
    tr_sync_send(run, TR_SYNC_FAILED, (int)-error, -1);
    sys_exit(1);
}

int tr_op_init(struct tr_run *run) {
    int executed[2];
    char nothing;
    if (run->reaper < 0) return -EINVAL;
    if (syscall(SYS_pipe2, executed, O_CLOEXEC) < 0) return -errno;
    long pid = sys_clone(SIGCHLD, NULL);
    if (pid < 0) return (int)pid;
    if (pid > 0) become_reaper(run, (int)pid);
    /* Until pid 1 has executed its copy, its /proc/1/exe is the host's file. */
    sys_close(executed[1]);
    while (sys_read(executed[0], &nothing, 1) == -EINTR) {
    }
    sys_close(executed[0]);
    /* A group of its own, in the foreground: keys and signals reach the program once, by the terminal or by the reaper. SIGTTOU is blocked. */
    syscall(SYS_setpgid, 0, 0);
    if (run->has_terminal) {
        int group = (int)syscall(SYS_getpid);
        sys_ioctl(0, TIOCSPGRP, (unsigned long)(uintptr_t)&group);
    }
    return tr_arm_parent_death(run);
}

/* As execvp goes on: a directory of PATH without the file, or that is none, or that may not be searched. */
static int goes_on(long error) {
    return error == -ENOENT || error == -ENOTDIR || error == -EACCES || error == -ESTALE || error == -ENODEV ||
           error == -ETIMEDOUT;
}

int tr_op_exec_run(struct tr_run *run, const struct tr_op_exec *op) {
    long telling = 0;
    if (op->paths[0] == NULL || op->argv[0] == NULL) return -EINVAL;
    int error = tr_finish(run);
    if (error == 0) error = tr_sync_send(run, TR_SYNC_EXECUTES, 0, -1);
    if (error < 0) return error;
    unblock_signals();
    for (char **path = op->paths; *path != NULL; path++) {
        long result = sys_execve(*path, op->argv, op->env);
        /* EACCES says more than ENOENT, ENOENT more than ENOTDIR where there are several directories. */
        if (telling == 0 || result == -EACCES || (result == -ENOENT && telling != -EACCES)) telling = result;
        if (!goes_on(result)) return (int)result;
    }
    return (int)telling;
}

/*
 * The socket that the container's programs ask for names: where Docker has it. Made in its network namespace, served by the monitor,
 * whose own namespace leads on.
 */
int tr_op_resolver_run(struct tr_run *run) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(53), .sin_addr = {htonl(0x7f00000b)}};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int result = fd < 0 ? -errno : bind(fd, (const struct sockaddr *)&address, sizeof address) < 0 ? -errno : 0;
    if (result == 0) result = tr_sync_send(run, TR_SYNC_RESOLVER, 0, fd);
    if (fd >= 0) sys_close(fd);
    return result;
}
