/*
 * The launch plan in its binary form, and the interpreter's interface to the monitor.
 *
 * src/native/plan.ts says what every op means; src/native/{forms,encode}.ts write these bytes; a unit test holds the two
 * together by reading TR_OPS below. The form has one purpose: after tr_plan_open() has checked it once, the child
 * of the clone can use it without parsing, copying or allocating anything, down to argv and envp of execve.
 *
 *     header | ops of the five lists (64 bytes each) | string lists | data
 *
 * All integers are 64 bits in host byte order (the plan never leaves the machine). A reference is an offset from the
 * start of the plan; tr_plan_open() replaces it with a pointer, in place. A string is NUL-terminated data; a string
 * list is an array of references ended by 0; lists and data are disjoint so that this relocation never changes a
 * string. Nothing is trusted: every offset, length, count, code and terminator is checked first.
 */
#ifndef TINYRUN_PLAN_H
#define TINYRUN_PLAN_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

_Static_assert(sizeof(void *) == 8, "a plan's references become pointers in place");

#define TR_PLAN_MAGIC 0x4e4c5052594e4954ULL /* "TINYRPLN" */
#define TR_PLAN_VERSION 1
/* argv and environment alone may have 2 MiB (a quarter of the stack limit); beyond this it is no plan of ours. */
#define TR_PLAN_MAX (16u << 20)
#define TR_SLOTS 7

enum tr_phase {
    TR_PREPARE,
    TR_CHILD,
    TR_CONNECT,
    TR_RELEASE,
    TR_CLEANUP,
    TR_PROBE, /* the child's list of a health check; never run as a phase */
    TR_PHASES,
    /* Only in failures: */
    TR_CLONE = TR_PHASES,
    TR_MONITOR,
};

/*
 * X(code, name, slots): the slots are, in order, s a string, o a string or absent (0), l a string list, b bytes (two
 * slots: reference and length), n a number. The unions below name them.
 */
#define TR_OPS(X) \
    X(1, mkdir, "snn") \
    X(2, writeFile, "ssn") \
    X(3, unlink, "s") \
    X(4, rmdir, "sn") \
    X(5, rename, "ss") \
    X(6, removeTree, "s") \
    X(7, killCgroup, "sn") \
    X(8, netlink, "nbno") \
    X(9, listen, "nsnsn") \
    X(10, joinNamespace, "sn") \
    X(11, unshare, "n") \
    X(12, await, "n") \
    X(13, mapIds, "ss") \
    X(14, rootPropagation, "n") \
    X(15, overlay, "lools") \
    X(16, bindRoot, "s") \
    X(17, mount, "sssnsn") \
    X(18, bind, "ssnnnn") \
    X(19, mkdirInRoot, "snnn") \
    X(20, symlinkInRoot, "ss") \
    X(21, mknod, "snnnnnn") \
    X(22, pivotRoot, "") \
    X(23, readonlyRoot, "") \
    X(24, maskPath, "s") \
    X(25, readonlyPath, "s") \
    X(26, sysctl, "ss") \
    X(27, hostname, "s") \
    X(28, domainname, "s") \
    X(29, console, "nn") \
    X(30, rlimit, "nnn") \
    X(31, cwd, "sn") \
    X(32, umask, "n") \
    X(33, user, "nnbn") \
    X(34, boundingCaps, "n") \
    X(35, caps, "nnnn") \
    X(36, noNewPrivileges, "") \
    X(37, seccomp, "bn") \
    X(38, init, "") \
    X(39, exec, "lll") \
    X(40, deviceFilter, "sb") \
    X(41, closePorts, "") \
    X(42, bindBelow, "loosssn") \
    X(43, resolver, "lloo") \
    X(44, bindForeign, "sss")

enum tr_op_code {
#define TR_OP_CODE(code, name, slots) TR_OP_##name = code,
    TR_OPS(TR_OP_CODE)
#undef TR_OP_CODE
    TR_OP_END
};

/* Go on where the op fails. */
#define TR_OPTIONAL 1u

/* Mount flags of `mount` and `bind`, a bit each, as MountFlag in plan.ts. */
#define TR_MOUNT_RO 1u
#define TR_MOUNT_NOSUID 2u
#define TR_MOUNT_NODEV 4u
#define TR_MOUNT_NOEXEC 8u
#define TR_MOUNT_NOATIME 16u
#define TR_MOUNT_RELATIME 32u
#define TR_MOUNT_NODIRATIME 64u
#define TR_MOUNT_STRICTATIME 128u
#define TR_MOUNT_NOSYMFOLLOW 256u

enum tr_await { TR_AWAIT_CONNECTED = 1, TR_AWAIT_MAPPED = 2 };
enum tr_netlink_protocol { TR_NETLINK_ROUTE = 0, TR_NETLINK_NETFILTER = 12 }; /* = NETLINK_* */

struct tr_bytes {
    const unsigned char *at;
    uint64_t length;
};

/* clang-format off */
struct tr_op_mkdir { const char *path; uint64_t mode, existing; };
struct tr_op_writeFile { const char *path, *text; uint64_t create; };
struct tr_op_path { const char *path; };
struct tr_op_rmdir { const char *path; uint64_t patience_ms; };
struct tr_op_rename { const char *from, *to; };
struct tr_op_killCgroup { const char *path; uint64_t patience_ms; };
/* pid_offset 0: none (the first bytes are a message header). */
struct tr_op_netlink { uint64_t protocol; struct tr_bytes messages; uint64_t pid_offset; const char *instead; };
/* protocol: IPPROTO_TCP or IPPROTO_UDP. */
struct tr_op_listen { uint64_t protocol; const char *address; uint64_t port; const char *target_address; uint64_t target_port; };
/* type: CLONE_NEW*. */
struct tr_op_joinNamespace { const char *path; uint64_t type; };
struct tr_op_unshare { uint64_t type; };
struct tr_op_await { uint64_t tag; };
struct tr_op_mapIds { const char *uid_map, *gid_map; };
/* propagation, here and below: MS_SHARED and so on with MS_REC; 0: leave as it is. */
struct tr_op_rootPropagation { uint64_t propagation; };
struct tr_op_overlay { char **lower; const char *upper, *work; char **options; const char *target; };
struct tr_op_bindRoot { const char *source; };
struct tr_op_mount { const char *fstype, *source, *target; uint64_t flags; const char *data; uint64_t propagation; };
struct tr_op_bind { const char *source, *target; uint64_t recursive, flags, recursive_flags, propagation; };
struct tr_op_bindBelow { char **layers; const char *upper, *work, *stage, *path, *target; uint64_t flags; };
struct tr_op_mkdirInRoot { const char *path; uint64_t mode, uid, gid; };
struct tr_op_symlinkInRoot { const char *target, *path; };
/* type: S_IFCHR, S_IFBLK or S_IFIFO. */
struct tr_op_mknod { const char *path; uint64_t type, mode, major, minor, uid, gid; };
struct tr_op_sysctl { const char *key, *value; };
struct tr_op_hostname { const char *name; };
struct tr_op_bindForeign { const char *name_space, *source, *target; };
struct tr_op_console { uint64_t rows, columns; };
/* `resolv_conf`: where the servers are read from when there are none in the list; NULL: nowhere. */
struct tr_op_resolver { const char *const *directories, *const *servers; const char *resolv_conf, *host; };
struct tr_op_rlimit { uint64_t resource, soft, hard; };
struct tr_op_cwd { const char *path; uint64_t create; };
struct tr_op_umask { uint64_t mask; };
/* groups: uint32_t[]. */
struct tr_op_user { uint64_t uid, gid; struct tr_bytes groups; uint64_t keep_caps; };
struct tr_op_boundingCaps { uint64_t mask; };
struct tr_op_caps { uint64_t effective, permitted, inheritable, ambient; };
/* program: struct sock_filter[]. */
struct tr_op_seccomp { struct tr_bytes program; uint64_t flags; };
/* program: struct bpf_insn[]. */
struct tr_op_deviceFilter { const char *path; struct tr_bytes program; };
struct tr_op_exec { char **paths, **argv, **env; };
/* clang-format on */

struct tr_op {
    uint32_t code;
    uint32_t flags;
    union {
        uint64_t slot[TR_SLOTS];
        struct tr_op_mkdir mkdir;
        struct tr_op_writeFile write_file;
        struct tr_op_path path; /* unlink, removeTree, maskPath, readonlyPath */
        struct tr_op_rmdir rmdir;
        struct tr_op_rename rename;
        struct tr_op_killCgroup kill_cgroup;
        struct tr_op_netlink netlink;
        struct tr_op_listen listen;
        struct tr_op_joinNamespace join;
        struct tr_op_unshare unshare;
        struct tr_op_await await;
        struct tr_op_mapIds map_ids;
        struct tr_op_rootPropagation root_propagation;
        struct tr_op_overlay overlay;
        struct tr_op_bindRoot bind_root;
        struct tr_op_mount mount;
        struct tr_op_bind bind;
        struct tr_op_bindBelow bind_below;
        struct tr_op_mkdirInRoot mkdir_in_root;
        struct tr_op_symlinkInRoot symlink_in_root;
        struct tr_op_mknod mknod;
        struct tr_op_sysctl sysctl;
        struct tr_op_hostname hostname; /* and domainname */
        struct tr_op_console console;
        struct tr_op_resolver resolver;
        struct tr_op_bindForeign bind_foreign;
        struct tr_op_rlimit rlimit;
        struct tr_op_cwd cwd;
        struct tr_op_umask umask;
        struct tr_op_user user;
        struct tr_op_boundingCaps bounding_caps;
        struct tr_op_caps caps;
        struct tr_op_seccomp seccomp;
        struct tr_op_exec exec;
        struct tr_op_deviceFilter device_filter;
    };
};
_Static_assert(sizeof(struct tr_op) == 64, "encode.ts writes ops of 64 bytes");

/* Monitor flags in the header. */
#define TR_MONITOR_TTY 1u
#define TR_MONITOR_OPEN_STDIN 2u
#define TR_MONITOR_STDIN_ONCE 4u
#define TR_MONITOR_WITH_CLIENT 8u
#define TR_MONITOR_EXEC 16u
#define TR_MONITOR_REMOVES 32u

/* `restart_policy`; NEVER only in the file of `policy_path`. */
enum tr_restart { TR_RESTART_NO, TR_RESTART_ON_FAILURE, TR_RESTART_ALWAYS, TR_RESTART_UNLESS_STOPPED, TR_RESTART_NEVER };
enum tr_log_format { TR_LOG_JSON, TR_LOG_LOCAL, TR_LOG_JOURNALD };
enum tr_on_unhealthy { TR_UNHEALTHY_NONE, TR_UNHEALTHY_KILL, TR_UNHEALTHY_RESTART, TR_UNHEALTHY_STOP };

/* What the monitor does of its own accord; zero is off. Times in ms. */
struct tr_care {
    uint64_t restart_policy, restart_max; /* restart_max 0: without end */
    uint64_t stop_signal, stop_timeout;
    uint64_t lifetime;
    uint64_t health_interval, health_timeout, health_retries, health_start_period, health_start_interval;
    uint64_t on_unhealthy;
};

/* The first bytes of a plan, exactly as encode.ts writes them. */
struct tr_header {
    uint64_t magic, version, size;
    uint64_t lists_at, data_at; /* where the string lists and the data begin */
    uint64_t namespaces;        /* CLONE_NEW* */
    uint64_t monitor_flags, log_max_bytes, log_max_files, log_format;
    /* References to strings; 0 is absent (allowed for all but the first two). */
    uint64_t id, state_path, log_path, attach_socket, oom_path, kill_path, cgroup_directory;
    uint64_t journal_path, journal_actor, policy_path, health_path, freezer_path, log_attributes;
    struct tr_care care;
    struct {
        uint64_t at, count;
    } phase[TR_PHASES];
};

/* A checked plan. Strings point into the plan's memory, which lives as long as the process. */
struct tr_plan {
    const char *id;
    const char *state_path;
    const char *log_path; /* NULL: no log */
    uint64_t log_max_bytes;
    uint64_t log_max_files;
    uint64_t log_format;          /* enum tr_log_format */
    const char *log_attributes;   /* JSON object for every entry, or journald's fields; NULL: none */
    const char *attach_socket;    /* NULL: none */
    const char *oom_path;         /* NULL: unknown */
    const char *kill_path;        /* NULL: none */
    const char *cgroup_directory; /* NULL: born in the monitor's cgroup */
    const char *journal_path;     /* NULL: no events are written */
    const char *journal_actor;    /* {"ID":…,"Attributes":{…  without the braces that end it */
    /*
     * The file that overrides the restart policy: "<enum tr_restart> <max>". Read when the container ends, and when SIGUSR1 comes
     * while it waits for its next start. NULL: it never starts again.
     */
    const char *policy_path;
    const char *health_path;  /* health.json */
    const char *freezer_path; /* cgroup.freeze or freezer.state; NULL: cannot be paused */
    struct tr_care care;
    int tty, open_stdin, stdin_once, with_client, exec, removes;
    uint64_t namespaces;
    struct tr_ops {
        const struct tr_op *ops;
        size_t count;
    } phase[TR_PHASES];
    void *memory;
    size_t size;
};

/* Where and why it failed: the message that goes to TypeScript. */
struct tr_failure {
    int32_t phase;    /* enum tr_phase */
    int32_t op_index; /* in that phase's list; -1: no op was under way */
    int32_t error;    /* errno, positive; ECHILD without an op: the child was killed on its way */
};

/*
 * What the interpreter needs of the monitor and gives back to it. Start with TR_CONTEXT_INIT. Every fd is O_CLOEXEC.
 *
 * The monitor's process starts (tr_start_monitor in host.c) with these and no other fds open:
 *     0-2 /dev/null, 3 the plan (sealed memfd), 4 control socket (stream), 5 the lock file, already locked exclusively
 */
#define TR_FD_PLAN 3
#define TR_FD_CONTROL 4
#define TR_FD_LOCK 5

struct tr_context {
    const struct tr_plan *plan;
    /* The child's stdin, stdout, stderr; -1 keeps the monitor's own (/dev/null). Unused where `console` comes. */
    int stdio[3];
    /* What relative paths of `joinNamespace` start from; AT_FDCWD. */
    int target;
    /* Host network namespace; opened at the first netlink op of a monitor phase. */
    int route_socket, netfilter_socket;
    /* Out, once tr_spawn() has made the child: */
    int pidfd;
    pid_t child;
    int console_master; /* -1 without a `console` op */
    int resolver_socket; /* -1 without a `resolver` op */
    /*
     * Keeps the container's mounts beyond its death; -1 where it has none of its own. The unmounts, of which the overlay's waits
     * until the whole file system below it is on the disk, would otherwise come before the kernel tells that the process has ended.
     */
    int mount_namespace;
};
#define TR_CONTEXT_INIT \
    { NULL, { -1, -1, -1 }, -100 /* AT_FDCWD */, -1, -1, -1, 0, -1, -1, -1 }

/*
 * Reads and checks a plan from a file descriptor at offset 0. The fd can be closed afterwards.
 * Returns 0, or -errno: -EINVAL for whatever is not a plan, -EFBIG beyond TR_PLAN_MAX.
 */
int tr_plan_open(int fd, struct tr_plan *plan);

/*
 * Carries out one list in this process (not TR_CHILD). prepare and connect stop at the first failure of an op that is not
 * optional; release and cleanup go on and report the first failure. What shall be removed and is not there counts as removed.
 * Returns 0, or -1 with *failure filled.
 */
int tr_run_phase(const struct tr_plan *plan, int phase, struct tr_context *context, struct tr_failure *failure);

/*
 * Clones the container's first process, runs `connect` as soon as its pid is known, answers the child's requests, and
 * returns when the program has been executed. Fills pidfd, child, console_master and mount_namespace of the context.
 * Returns 0; or -1 with *failure filled, the child being dead and reaped. Does not run prepare, release or cleanup.
 * The calling process must be single-threaded; it may have signals blocked, ignored or caught as it likes.
 */
int tr_spawn(const struct tr_plan *plan, struct tr_context *context, struct tr_failure *failure);

/*
 * The monitor's (proxy.c): reserves the port. Returns 0 or -errno. In `recover` and in tests without a monitor it is not called
 * but for lists that have the op.
 */
int tr_listen(struct tr_context *context, const struct tr_op_listen *op);
/* Likewise: gives all ports back and resets what is connected. May be called twice. */
void tr_proxy_stop(void);

/*
 * The op `init` executes a sealed copy of /proc/self/exe as pid 1 with
 *     argv = { "tinyrun-init", "init", "<pid of the child to follow, decimal>", NULL }, the environment of `exec`,
 * stdio as the container's, no other fd, all signals at their default and unblocked, the child in a process group of its own (the foreground
 * one of the terminal, if there is one). The reaper forwards signals to that pid, reaps everything and exits as the child did.
 */

#endif
