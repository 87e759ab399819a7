/*
 * Inside the interpreter: the state of a run and one function per op. They all return 0 or -errno and run, in the child, between
 * a clone and an execve: no malloc, no stdio, no locks, nothing of the C library that keeps state.
 */
#ifndef TINYRUN_INTERPRETER_H
#define TINYRUN_INTERPRETER_H

#include "plan.h"

#define TR_PATH_MAX 4096
#define TR_JOINS_MAX 8
#define TR_SOURCES_MAX 64

/* A namespace opened by the monitor before the clone, for the op `joinNamespace` with this index. */
struct tr_join {
    int op_index;
    int fd;
};

/* A bind's source, cloned before its mount became private: see mount.c. */
struct tr_source {
    int op_index;
    int fd;
};

struct tr_run {
    const struct tr_plan *plan;
    struct tr_context *context;
    int phase;
    int op_index;
    /* ---- the rest is the child's ---- */
    /* Our end of the socket to the monitor (SOCK_SEQPACKET): see spawn.c. */
    int sync;
    /* The container's root, O_PATH; -1 before `overlay` or `bindRoot`. */
    int root;
    int pivoted;
    /* The root is that of a container which runs already (`exec`). */
    int joined;
    /* A character device 1:3 that no image can have made; `null_detached`: a mount that is attached nowhere yet. */
    int null_source, null_detached;
    /* An empty read-only tmpfs; a procfs of our own. */
    int empty_mount, empty_detached;
    int proc_mount;
    /* Sealed copy of this binary, for `init`. */
    int reaper;
    int has_terminal;
    /* Credentials changed since the parent-death signal was last armed: the kernel clears it then. */
    int disarmed;
    int finished;
    unsigned received; /* tr_await tags, a bit each */
    struct tr_source sources[TR_SOURCES_MAX];
    int source_count;
    const struct tr_join *joins;
    int join_count;
};

/* plan.c */
int tr_run_list(struct tr_run *run, struct tr_failure *failure);

/* files.c */
int tr_make_directory(const char *path, unsigned mode, int existing);
int tr_write_file(const char *path, const char *text, int create);
int tr_rmdir(const char *path, unsigned patience_ms);
int tr_remove_tree(const char *path);

/* cgroup.c */
int tr_kill_cgroup(const char *path, unsigned patience_ms);
/* Likewise, of a cgroup that is used again. */
int tr_empty_cgroup(const char *path, unsigned patience_ms);
int tr_op_device_filter(const struct tr_op_deviceFilter *op);

/* netlink.c: out may be NULL; returns the length of the replies or -errno (-ENOBUFS: they do not fit). */
long tr_netlink_exchange(int fd, const void *messages, size_t length, unsigned char *out, size_t capacity);
int tr_netlink_open(int protocol);
int tr_op_netlink_run(struct tr_run *run, const struct tr_op *op);

/* root.c */
struct tr_digits {
    char text[12];
};
/* A number >= 0; the text is somewhere in *digits. */
const char *tr_digits_of(int number, struct tr_digits *digits);
struct tr_fd_path {
    char text[32];
};
/* "/proc/self/fd/N", for system calls that know only paths. */
const char *tr_fd_path(int fd, struct tr_fd_path *path);
enum tr_make { TR_MAKE_NOTHING, TR_MAKE_DIRECTORY, TR_MAKE_FILE };
int tr_root_open(int root, const char *path, int flags);
int tr_root_make(int root, const char *path, enum tr_make make, unsigned mode, int *made);
int tr_root_parent(int root, const char *path, char *name, size_t capacity);

/* nodes.c */
int tr_op_mkdir_in_root(struct tr_run *run, const struct tr_op_mkdirInRoot *op);
int tr_op_symlink_in_root(struct tr_run *run, const struct tr_op_symlinkInRoot *op);
int tr_op_mknod_run(struct tr_run *run, const struct tr_op_mknod *op);

/* mount.c */
uint64_t tr_mount_attributes(uint64_t flags);
unsigned long tr_mount_classic_flags(uint64_t flags);
int tr_set_attributes(int mount, const char *path, uint64_t flags, int recursive);
int tr_op_root_propagation(const struct tr_op_rootPropagation *op);
int tr_op_mount_run(struct tr_run *run, const struct tr_op_mount *op);
int tr_op_bind_run(struct tr_run *run, const struct tr_op_bind *op);
int tr_make_target(struct tr_run *run, const char *path, enum tr_make make, int *made);
int tr_op_overlay_run(struct tr_run *run, const struct tr_op_overlay *op);
int tr_op_bind_root(struct tr_run *run, const struct tr_op_bindRoot *op);
int tr_op_pivot_root(struct tr_run *run);

/* below.c */
int tr_op_bind_below(struct tr_run *run, const struct tr_op_bindBelow *op);
int tr_op_bind_foreign(struct tr_run *run, const struct tr_op_bindForeign *op);

/* overlay.c */
long tr_fs_option(int fs, const char *option);
int tr_overlay_open(char *const *lower, const char *upper, const char *work, char *const *options);
int tr_overlay_classic(const struct tr_op_overlay *op);

/* protect.c */
void tr_remember_null(struct tr_run *run, int fd);
int tr_op_readonly_root(struct tr_run *run);
int tr_op_mask_path(struct tr_run *run, const char *path);
int tr_op_readonly_path(struct tr_run *run, const char *path);
int tr_op_sysctl_run(struct tr_run *run, const struct tr_op_sysctl *op);

/* terminal.c */
int tr_op_resolver_run(struct tr_run *run);
int tr_op_console_run(struct tr_run *run, const struct tr_op_console *op);

/* creds.c */
int tr_op_rlimit_run(const struct tr_op_rlimit *op);
int tr_op_user_run(struct tr_run *run, const struct tr_op_user *op);
int tr_op_bounding_caps(const struct tr_op_boundingCaps *op);
int tr_op_caps_run(struct tr_run *run, const struct tr_op_caps *op);
int tr_op_no_new_privileges(void);
int tr_op_seccomp_run(struct tr_run *run, const struct tr_op_seccomp *op);

/* process.c */
int tr_op_join(struct tr_run *run, const struct tr_op_joinNamespace *op);
int tr_op_cwd_run(struct tr_run *run, const struct tr_op_cwd *op);
int tr_op_init(struct tr_run *run);
int tr_op_exec_run(struct tr_run *run, const struct tr_op_exec *op);
int tr_arm_parent_death(struct tr_run *run);
int tr_finish(struct tr_run *run);

/* spawn.c: the child's half of the conversation. */
enum tr_sync_kind { TR_SYNC_FAILED = 1, TR_SYNC_CONSOLE, TR_SYNC_RESOLVER, TR_SYNC_MAP_IDS, TR_SYNC_EXECUTES };
int tr_sync_send(struct tr_run *run, enum tr_sync_kind kind, int error, int fd);
int tr_sync_await(struct tr_run *run, unsigned tag);

#endif
