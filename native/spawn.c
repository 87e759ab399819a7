/*
 * The clone of the container's first process and the conversation with it, over a SOCK_SEQPACKET pair that its exec closes:
 *
 *     child                                   monitor
 *       |                                       runs `connect`, then
 *       |   <----- byte TR_AWAIT_CONNECTED -----|
 *       |--- MAP_IDS (op index) --------------->| writes uid_map and gid_map
 *       |   <----- byte TR_AWAIT_MAPPED --------|
 *       |--- CONSOLE + the pty's master ------->| keeps it
 *       |--- FAILED (op index, errno) --------->| kills, reaps, reports
 *       |--- EXECUTES ------------------------->| the end of the socket after this is success;
 *      exec closes the socket                   | the end without it is a death on the way
 */
#include <linux/sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "interpreter.h"
#include "syscalls.h"

struct message {
    int32_t kind, op_index, error;
};

/* What tr_spawn() opens before the clone. */
struct launch {
    int sync[2]; /* monitor's end, child's end */
    int cgroup;
    int reaper;
    int own_pid_namespace; /* to come back to; -1: was not left */
    int cgroup_by_hand;    /* clone3 could not do it */
    struct tr_join joins[TR_JOINS_MAX];
    int join_count;
};

int tr_sync_send(struct tr_run *run, enum tr_sync_kind kind, int error, int fd) {
    struct message message = {(int32_t)kind, run->op_index, error};
    struct iovec part = {&message, sizeof message};
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr alignment;
    } control = {{0}};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd >= 0) {
        header.msg_control = control.bytes;
        header.msg_controllen = sizeof control.bytes;
        struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(rights), &fd, sizeof fd);
    }
    for (;;) {
        if (sendmsg(run->sync, &header, MSG_NOSIGNAL) >= 0) return 0;
        if (errno != EINTR) return -errno;
    }
}

/* In the new user namespace every id is still that of the outside: become its root before files are made. */
static int become_root(struct tr_run *run) {
    if (syscall(SYS_setresgid, 0, 0, 0) < 0) return -errno;
    if (syscall(SYS_setresuid, 0, 0, 0) < 0) return -errno;
    syscall(SYS_setgroups, 0, NULL); /* not allowed to whoever mapped itself */
    return tr_arm_parent_death(run);
}

int tr_sync_await(struct tr_run *run, unsigned tag) {
    while ((run->received >> tag & 1) == 0) {
        unsigned char byte;
        long count = sys_read(run->sync, &byte, 1);
        if (count == -EINTR) continue;
        if (count < 0) return (int)count;
        if (count == 0) sys_exit(1); /* the monitor is gone, or gave up and will say why */
        if (byte < 32) run->received |= 1u << byte;
    }
    return tag == TR_AWAIT_MAPPED ? become_root(run) : 0;
}

/* ---- before the clone ---- */

static int fail(struct tr_failure *failure, int phase, int op_index, long error) {
    *failure = (struct tr_failure){phase, op_index, (int32_t)-error};
    return -1;
}

static int open_joins(const struct tr_plan *plan, int target, struct launch *launch, struct tr_failure *failure) {
    const struct tr_ops *child = &plan->phase[TR_CHILD];
    for (size_t index = 0; index < child->count; index++) {
        if (child->ops[index].code != TR_OP_joinNamespace) continue;
        if (launch->join_count == TR_JOINS_MAX) return fail(failure, TR_CHILD, (int)index, -E2BIG);
        long fd = sys_openat(target, child->ops[index].join.path, O_RDONLY, 0);
        if (fd < 0) return fail(failure, TR_CHILD, (int)index, fd);
        launch->joins[launch->join_count++] = (struct tr_join){(int)index, (int)fd};
        if (child->ops[index].join.type != CLONE_NEWPID) continue;
        /* It counts for the children only, so we go there for the moment of the clone. */
        long own = sys_openat(AT_FDCWD, "/proc/self/ns/pid", O_RDONLY, 0);
        long result = own < 0 ? own : sys_setns((int)fd, CLONE_NEWPID);
        if (own >= 0) launch->own_pid_namespace = (int)own;
        if (result < 0) return fail(failure, TR_CHILD, (int)index, result);
    }
    return 0;
}

/* A copy that nobody can write to: pid 1's /proc/<pid>/exe is open to the container (CVE-2019-5736). */
static long make_reaper(void) {
    char buffer[16384];
    long from = sys_openat(AT_FDCWD, "/proc/self/exe", O_RDONLY, 0);
    if (from < 0) return from;
    long to = sys_memfd_create("tinyrun-init", TR_MFD_CLOEXEC | TR_MFD_ALLOW_SEALING | TR_MFD_EXEC);
    /* MFD_EXEC came with 6.3. */
    if (to == -EINVAL) to = sys_memfd_create("tinyrun-init", TR_MFD_CLOEXEC | TR_MFD_ALLOW_SEALING);
    long count = to;
    while (to >= 0 && (count = sys_read((int)from, buffer, sizeof buffer)) > 0) {
        if (sys_write((int)to, buffer, (size_t)count) == count) continue;
        count = -EIO;
        break;
    }
    if (count >= 0) count = sys_fcntl((int)to, TR_F_ADD_SEALS, TR_SEAL_ALL);
    sys_close((int)from);
    if (count >= 0) return to;
    if (to >= 0) sys_close((int)to);
    return count;
}

static int prepare(const struct tr_plan *plan, int target, struct launch *launch, struct tr_failure *failure) {
    const struct tr_ops *child = &plan->phase[TR_CHILD];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, launch->sync) < 0) return fail(failure, TR_CLONE, -1, -errno);
    if (plan->cgroup_directory != NULL) {
        long fd = sys_openat(AT_FDCWD, plan->cgroup_directory, O_PATH | O_DIRECTORY, 0);
        if (fd < 0) return fail(failure, TR_CLONE, -1, fd);
        launch->cgroup = (int)fd;
    }
    for (size_t index = 0; index < child->count && launch->reaper < 0; index++) {
        if (child->ops[index].code != TR_OP_init) continue;
        long fd = make_reaper();
        if (fd < 0) return fail(failure, TR_CHILD, (int)index, fd);
        launch->reaper = (int)fd;
    }
    return open_joins(plan, target, launch, failure);
}

static void close_one(int *fd) {
    if (*fd >= 0) sys_close(*fd);
    *fd = -1;
}

static void return_home(struct launch *launch) {
    if (launch->own_pid_namespace >= 0) sys_setns(launch->own_pid_namespace, CLONE_NEWPID);
    close_one(&launch->own_pid_namespace);
}

static void close_launch(struct launch *launch) {
    return_home(launch);
    close_one(&launch->sync[0]);
    close_one(&launch->sync[1]);
    close_one(&launch->cgroup);
    close_one(&launch->reaper);
    for (int at = 0; at < launch->join_count; at++) sys_close(launch->joins[at].fd);
}

/* ---- the clone ---- */

/* clone3 is missing before 5.3 and refused by older seccomp profiles around us; CLONE_INTO_CGROUP came with 5.7. */
static long clone_child(const struct tr_plan *plan, struct launch *launch, int *pidfd) {
    struct tr_clone_args arguments = {
        .flags = plan->namespaces | TR_CLONE_PIDFD,
        .pidfd = (uint64_t)(uintptr_t)pidfd,
        .exit_signal = SIGCHLD,
    };
    if (launch->cgroup >= 0) {
        arguments.flags |= TR_CLONE_INTO_CGROUP;
        arguments.cgroup = (uint64_t)launch->cgroup;
    }
    long pid = sys_clone3(&arguments);
    if (pid != -ENOSYS && pid != -EPERM && pid != -EINVAL && pid != -E2BIG) return pid;
    launch->cgroup_by_hand = launch->cgroup >= 0;
    return sys_clone((unsigned long)plan->namespaces | TR_CLONE_PIDFD | SIGCHLD, pidfd);
}

static long join_cgroup(const struct launch *launch) {
    if (!launch->cgroup_by_hand) return 0;
    long fd = sys_openat(launch->cgroup, "cgroup.procs", O_WRONLY, 0);
    if (fd < 0) return fd;
    long result = sys_write((int)fd, "0", 1);
    sys_close((int)fd);
    return result < 0 ? result : 0;
}

/* dup3 onto another number clears CLOEXEC; an fd that is in place already may have it, as Node's 0 to 2 do. */
static long place_stdio(const struct tr_context *context) {
    for (int fd = 0; fd <= 2; fd++) {
        int from = context->stdio[fd];
        long result = from < 0 || from == fd ? sys_fcntl(fd, F_SETFD, 0) : sys_dup3(from, fd, 0);
        if (result < 0) return result;
    }
    return 0;
}

static _Noreturn void child_main(const struct tr_plan *plan, struct tr_context *context, struct launch *launch) {
    const uint64_t all = ~(uint64_t)0;
    struct tr_failure failure = {TR_CHILD, -1, EINVAL};
    struct tr_run run = {
        .plan = plan,
        .context = context,
        .phase = TR_CHILD,
        .op_index = -1,
        .sync = launch->sync[1],
        .root = -1,
        .null_source = -1,
        .empty_mount = -1,
        .proc_mount = -1,
        .reaper = launch->reaper,
        .joins = launch->joins,
        .join_count = launch->join_count,
    };
    sys_close(launch->sync[0]);
    /* Blocked until the exec: no key or signal reaches a process that is half a container. */
    sys_sigmask(SIG_SETMASK, &all, NULL);
    sys_signals_default();
    /* Nobody in a namespace we join may trace us or take our fds (CVE-2016-9962); exec sets it anew. */
    sys_prctl(PR_SET_DUMPABLE, 0, 0);
    long error = tr_arm_parent_death(&run);
    if (error >= 0) error = join_cgroup(launch);
    syscall(SYS_setsid);
    if (error >= 0) error = place_stdio(context);
    umask(022);
    if (error < 0) failure.error = (int32_t)-error;
    else tr_run_list(&run, &failure);
    run.op_index = failure.op_index;
    tr_sync_send(&run, TR_SYNC_FAILED, failure.error, -1);
    sys_exit(127);
    __builtin_unreachable();
}

/* ---- the monitor's half ---- */

static long receive(int sync, struct message *message, int *fd, int flags) {
    struct iovec part = {message, sizeof *message};
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr alignment;
    } control = {{0}};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    ssize_t count;
    *fd = -1;
    /* ECONNRESET is told once, where the child executed or died with our answer unread; what it said before is still there. */
    do count = recvmsg(sync, &header, MSG_CMSG_CLOEXEC | flags);
    while (count < 0 && (errno == EINTR || errno == ECONNRESET));
    if (count <= 0) return count < 0 ? -errno : 0;
    struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
    if (rights != NULL && rights->cmsg_level == SOL_SOCKET && rights->cmsg_type == SCM_RIGHTS)
        memcpy(fd, CMSG_DATA(rights), sizeof *fd);
    return (size_t)count == sizeof *message ? 1 : -EPROTO;
}

static void answer(int sync, enum tr_await tag) {
    unsigned char byte = (unsigned char)tag;
    /* EPIPE: it has failed meanwhile and has said so. */
    send(sync, &byte, 1, MSG_NOSIGNAL);
}

static int write_map(pid_t pid, const char *name, const char *text) {
    char path[64] = "/proc/";
    struct tr_digits digits;
    strcat(strcat(strcat(path, tr_digits_of((int)pid, &digits)), "/"), name);
    return tr_write_file(path, text, 0);
}

static int map_ids(const struct tr_plan *plan, struct tr_context *context, int op_index) {
    const struct tr_ops *child = &plan->phase[TR_CHILD];
    if (op_index < 0 || (size_t)op_index >= child->count || child->ops[op_index].code != TR_OP_mapIds) return -EPROTO;
    const struct tr_op_mapIds *op = &child->ops[op_index].map_ids;
    int error = write_map(context->child, "gid_map", op->gid_map);
    return error < 0 ? error : write_map(context->child, "uid_map", op->uid_map);
}

/* Answers the child until it has executed or failed. With MSG_DONTWAIT only what is there already: -EAGAIN at its end. */
static int converse(const struct tr_plan *plan, struct tr_context *context, int sync, int flags, struct tr_failure *failure) {
    struct message message;
    int executes = 0, fd;
    for (;;) {
        long got = receive(sync, &message, &fd, flags);
        if (got == 0 && executes) return 0;
        if (got <= 0) return fail(failure, TR_CHILD, -1, got == 0 ? -ECHILD : got);
        if (message.kind == TR_SYNC_CONSOLE && fd >= 0) {
            close_one(&context->console_master);
            context->console_master = fd;
            continue;
        }
        if (message.kind == TR_SYNC_RESOLVER && fd >= 0) {
            close_one(&context->resolver_socket);
            context->resolver_socket = fd;
            continue;
        }
        if (fd >= 0) sys_close(fd);
        if (message.kind == TR_SYNC_FAILED) return fail(failure, TR_CHILD, message.op_index, -message.error);
        if (message.kind == TR_SYNC_EXECUTES) executes = 1;
        if (message.kind == TR_SYNC_MAP_IDS) {
            int error = map_ids(plan, context, message.op_index);
            if (error < 0) return fail(failure, TR_CHILD, message.op_index, error);
            answer(sync, TR_AWAIT_MAPPED);
        }
    }
}

static int connect_child(const struct tr_plan *plan, struct tr_context *context, int sync, struct tr_failure *failure) {
    struct tr_failure of_child = {TR_CHILD, -1, 0};
    if (tr_run_phase(plan, TR_CONNECT, context, failure) < 0) {
        /* The child may have failed first and left us nothing to connect to: then its reason is the reason. */
        converse(plan, context, sync, MSG_DONTWAIT, &of_child);
        if (of_child.op_index >= 0) *failure = of_child;
        return -1;
    }
    answer(sync, TR_AWAIT_CONNECTED);
    return 0;
}

/* It may fail: then the container's end is told later. */
static void hold_mounts(const struct tr_plan *plan, struct tr_context *context) {
    char path[64] = "/proc/";
    struct tr_digits digits;
    if ((plan->namespaces & CLONE_NEWNS) == 0) return;
    strcat(strcat(path, tr_digits_of(context->child, &digits)), "/ns/mnt");
    long fd = sys_openat(AT_FDCWD, path, O_RDONLY, 0);
    if (fd >= 0) context->mount_namespace = (int)fd;
}

static void bury(struct tr_context *context) {
    sys_kill(context->child, SIGKILL);
    while (sys_wait4(context->child, NULL, 0) == -EINTR) {
    }
    close_one(&context->pidfd);
    close_one(&context->console_master);
    close_one(&context->resolver_socket);
    close_one(&context->mount_namespace);
    context->child = 0;
}

int tr_spawn(const struct tr_plan *plan, struct tr_context *context, struct tr_failure *failure) {
    struct launch launch = {.sync = {-1, -1}, .cgroup = -1, .reaper = -1, .own_pid_namespace = -1};
    int result = prepare(plan, context->target, &launch, failure);
    if (result == 0) {
        long pid = clone_child(plan, &launch, &context->pidfd);
        if (pid == 0) child_main(plan, context, &launch);
        return_home(&launch);
        close_one(&launch.sync[1]);
        if (pid < 0) {
            result = fail(failure, TR_CLONE, -1, pid);
        } else {
            context->child = (pid_t)pid;
            hold_mounts(plan, context);
            result = connect_child(plan, context, launch.sync[0], failure);
            if (result == 0) result = converse(plan, context, launch.sync[0], 0, failure);
            if (result < 0) bury(context);
        }
    }
    close_launch(&launch);
    return result;
}
