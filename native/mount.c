/*
 * Mounts below the container's root. The new mount API (5.2) makes a mount that is attached nowhere, sets it up, and attaches it to
 * an open directory: no path of the host's name space is ever looked up after the check. Where it is missing, the
 * classic call gets "/proc/self/fd/N", which is the same directory.
 */
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include "interpreter.h"
#include "syscalls.h"

uint64_t tr_mount_attributes(uint64_t flags) {
    uint64_t set = 0;
    if (flags & TR_MOUNT_RO) set |= TR_ATTR_RDONLY;
    if (flags & TR_MOUNT_NOSUID) set |= TR_ATTR_NOSUID;
    if (flags & TR_MOUNT_NODEV) set |= TR_ATTR_NODEV;
    if (flags & TR_MOUNT_NOEXEC) set |= TR_ATTR_NOEXEC;
    if (flags & TR_MOUNT_NODIRATIME) set |= TR_ATTR_NODIRATIME;
    if (flags & TR_MOUNT_NOSYMFOLLOW) set |= TR_ATTR_NOSYMFOLLOW;
    if (flags & TR_MOUNT_NOATIME) set |= TR_ATTR_NOATIME;
    else if (flags & TR_MOUNT_STRICTATIME) set |= TR_ATTR_STRICTATIME;
    return set;
}

unsigned long tr_mount_classic_flags(uint64_t flags) {
    unsigned long set = 0;
    if (flags & TR_MOUNT_RO) set |= MS_RDONLY;
    if (flags & TR_MOUNT_NOSUID) set |= MS_NOSUID;
    if (flags & TR_MOUNT_NODEV) set |= MS_NODEV;
    if (flags & TR_MOUNT_NOEXEC) set |= MS_NOEXEC;
    if (flags & TR_MOUNT_NODIRATIME) set |= MS_NODIRATIME;
    if (flags & TR_MOUNT_NOSYMFOLLOW) set |= TR_MS_NOSYMFOLLOW;
    if (flags & TR_MOUNT_NOATIME) set |= MS_NOATIME;
    if (flags & TR_MOUNT_STRICTATIME) set |= MS_STRICTATIME;
    if (flags & TR_MOUNT_RELATIME) set |= MS_RELATIME;
    return set;
}

#define ATIME_FLAGS (TR_MOUNT_NOATIME | TR_MOUNT_RELATIME | TR_MOUNT_STRICTATIME)

/* A remount replaces all flags: what is set must be said again, and in a user namespace it may not be taken away. */
static int remount(const char *path, unsigned long flags) {
    struct statfs status;
    if (syscall(SYS_statfs, path, &status) < 0) return -errno;
    /* The bits of f_flags (ST_*) up to noexec, and the atime ones, are those of mount(2). */
    const unsigned long inherited = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME;
    unsigned long all = ((unsigned long)status.f_flags & inherited) | flags;
    return (int)sys_mount(NULL, path, NULL, MS_REMOUNT | MS_BIND | all, NULL);
}

/* Adds attributes to an attached or detached mount. `path` leads to it, for kernels before 5.12; NULL: there is none. */
int tr_set_attributes(int mount, const char *path, uint64_t flags, int recursive) {
    struct tr_mount_attr attributes = {.attr_set = tr_mount_attributes(flags)};
    if (flags & ATIME_FLAGS) attributes.attr_clr = TR_ATTR_ATIME;
    long result = sys_mount_setattr(mount, recursive ? TR_AT_RECURSIVE : 0, &attributes);
    if (result != -ENOSYS || path == NULL || recursive) return (int)result;
    return remount(path, tr_mount_classic_flags(flags));
}

static int set_propagation(int mount, uint64_t propagation) {
    struct tr_fd_path path;
    if (propagation == 0) return 0;
    struct tr_mount_attr attributes = {.propagation = propagation & ~(uint64_t)MS_REC};
    long result = sys_mount_setattr(mount, propagation & MS_REC ? TR_AT_RECURSIVE : 0, &attributes);
    if (result != -ENOSYS) return (int)result;
    return (int)sys_mount(NULL, tr_fd_path(mount, &path), NULL, (unsigned long)propagation, NULL);
}

int tr_op_root_propagation(const struct tr_op_rootPropagation *op) {
    return (int)sys_mount(NULL, "/", NULL, (unsigned long)op->propagation, NULL);
}

static long set_options(int fs, const char *data) {
    char options[TR_PATH_MAX];
    size_t length = strlen(data);
    if (length >= sizeof options) return -ENAMETOOLONG;
    memcpy(options, data, length + 1);
    for (char *option = options; *option != 0;) {
        char *end = strchrnul(option, ',');
        int last = *end == 0;
        *end = 0;
        long result = *option == 0 ? 0 : tr_fs_option(fs, option);
        if (result < 0) return result;
        option = last ? end : end + 1;
    }
    return 0;
}

/* A new mount that is attached nowhere. */
static long new_mount(const struct tr_op_mount *op, const char *data) {
    long fs = sys_fsopen(op->fstype);
    if (fs < 0) return fs;
    long result = op->source[0] == 0 ? 0 : sys_fsconfig((int)fs, TR_FSCONFIG_SET_STRING, "source", op->source, 0);
    if (result >= 0) result = set_options((int)fs, data);
    if (result >= 0) result = sys_fsconfig((int)fs, TR_FSCONFIG_CMD_CREATE, NULL, NULL, 0);
    if (result >= 0) result = sys_fsmount((int)fs, (unsigned)tr_mount_attributes(op->flags));
    sys_close((int)fs);
    return result;
}

/* What was attached at `path` in root just now: the old fd still shows what is below it. */
static int reopen(struct tr_run *run, const char *path) {
    return tr_root_open(run->root, path, O_PATH);
}

static int mount_classic(struct tr_run *run, const struct tr_op_mount *op, const char *data, int target) {
    struct tr_fd_path path;
    const char *source = op->source[0] == 0 ? "none" : op->source;
    long result = sys_mount(source, tr_fd_path(target, &path), op->fstype, tr_mount_classic_flags(op->flags), data);
    if (result < 0 || op->propagation == 0) return (int)result;
    int mount = reopen(run, op->target);
    if (mount < 0) return mount;
    result = set_propagation(mount, op->propagation);
    sys_close(mount);
    return (int)result;
}

/*
 * Opens or makes what will be mounted on. A link of the image that leads into the procfs of the container would have a label or a setting
 * written to a file of somebody else's (CVE-2019-19921); only who names a path in /proc means one.
 */
int tr_make_target(struct tr_run *run, const char *path, enum tr_make make, int *made) {
    struct statfs status;
    int target = tr_root_make(run->root, path, make, 0755, made);
    if (target < 0 || strncmp(path, "/proc/", 6) == 0) return target;
    if (syscall(SYS_fstatfs, target, &status) == 0 && status.f_type != TR_PROC_SUPER_MAGIC) return target;
    sys_close(target);
    return -ELOOP;
}

/*
 * procfs and sysfs go exactly where they were asked to: an image whose /proc is a link or a volume would get its own
 * files written where labels and settings are meant to go (CVE-2019-19921, CVE-2023-27561).
 */
static int mount_target(struct tr_run *run, const struct tr_op_mount *op, int *made) {
    int target = tr_make_target(run, op->target, TR_MAKE_DIRECTORY, made);
    if (target < 0 || *made || (strcmp(op->fstype, "proc") != 0 && strcmp(op->fstype, "sysfs") != 0)) return target;
    int strict = tr_root_open(run->root, op->target, O_PATH | O_NOFOLLOW | O_DIRECTORY);
    sys_close(target);
    return strict;
}

static int has_option(const char *data, const char *key) {
    const char *at = strstr(data, key);
    return at != NULL && (at == data || at[-1] == ',');
}

static void add_option(char *data, const char *key, unsigned value, unsigned base) {
    char digits[12];
    int at = sizeof digits - 1;
    digits[at] = 0;
    do digits[--at] = (char)('0' + value % base);
    while ((value /= base) > 0);
    if (data[0] != 0) strcat(data, ",");
    strcat(strcat(data, key), digits + at);
}

/* A tmpfs over a directory of the image is as open as that was, and no more: `--tmpfs /root` stays 0700. */
static const char *like_target(const struct tr_op_mount *op, int target, char *data, size_t capacity) {
    struct tr_statx status;
    if (strcmp(op->fstype, "tmpfs") != 0 || has_option(op->data, "mode=")) return op->data;
    if (strlen(op->data) + 64 > capacity || sys_fstatx(target, &status) < 0) return op->data;
    strcpy(data, op->data);
    add_option(data, "mode=", status.mode & 07777u, 8);
    if (status.uid != 0 && !has_option(op->data, "uid=")) add_option(data, "uid=", status.uid, 10);
    if (status.gid != 0 && !has_option(op->data, "gid=")) add_option(data, "gid=", status.gid, 10);
    return data;
}

int tr_op_mount_run(struct tr_run *run, const struct tr_op_mount *op) {
    char buffer[TR_PATH_MAX];
    int made;
    if (run->root < 0) return -EINVAL;
    int target = mount_target(run, op, &made);
    if (target < 0) return target;
    const char *data = made ? op->data : like_target(op, target, buffer, sizeof buffer);
    long mount = new_mount(op, data), result;
    if (mount >= 0) {
        result = set_propagation((int)mount, op->propagation);
        if (result >= 0) result = sys_move_mount((int)mount, target);
        sys_close((int)mount);
    } else {
        /* Not only for ENOSYS: some file systems took options through the classic call alone for years. Its errno counts. */
        result = mount_classic(run, op, data, target);
    }
    sys_close(target);
    return (int)result;
}

static int bind_classic(struct tr_run *run, const struct tr_op_bind *op, int target) {
    struct tr_fd_path path;
    long result = sys_mount(op->source, tr_fd_path(target, &path), NULL, MS_BIND | (op->recursive ? MS_REC : 0), NULL);
    if (result < 0) return (int)result;
    int mount = reopen(run, op->target);
    if (mount < 0) return mount;
    if (op->flags != 0) result = tr_set_attributes(mount, tr_fd_path(mount, &path), op->flags, op->recursive_flags != 0);
    if (result >= 0) result = set_propagation(mount, op->propagation);
    sys_close(mount);
    return (int)result;
}

static int bind_new(struct tr_run *run, const struct tr_op_bind *op, int mount, int target) {
    long result = 0;
    if (op->flags != 0) result = tr_set_attributes(mount, NULL, op->flags, op->recursive_flags != 0);
    if (result >= 0) result = set_propagation(mount, op->propagation);
    if (result >= 0) result = sys_move_mount(mount, target);
    if (result >= 0) tr_remember_null(run, mount);
    return (int)result;
}

/*
 * Clones what shall exchange mounts with the host, while it can: where the source is on the mount that the root is made in, that is about
 * to lose its peers, and a clone keeps them.
 */
static int take_sources(struct tr_run *run) {
    const struct tr_ops *list = &run->plan->phase[TR_CHILD];
    for (size_t index = (size_t)run->op_index + 1; index < list->count; index++) {
        const struct tr_op *op = &list->ops[index];
        if (op->code != TR_OP_bind || (op->bind.propagation & (MS_SHARED | MS_SLAVE)) == 0) continue;
        if (run->source_count == TR_SOURCES_MAX) return -E2BIG;
        long fd = sys_open_tree(AT_FDCWD, op->bind.source, TR_OPEN_TREE_CLONE | (op->bind.recursive ? TR_AT_RECURSIVE : 0));
        /* If it is missing, the op itself says so. */
        if (fd >= 0) run->sources[run->source_count++] = (struct tr_source){(int)index, (int)fd};
    }
    return 0;
}

static int taken_source(const struct tr_run *run) {
    for (int at = 0; at < run->source_count; at++)
        if (run->sources[at].op_index == run->op_index) return run->sources[at].fd;
    return -1;
}

int tr_op_bind_run(struct tr_run *run, const struct tr_op_bind *op) {
    struct tr_statx status;
    if (run->root < 0) return -EINVAL;
    long source = sys_openat(AT_FDCWD, op->source, O_PATH, 0);
    if (source < 0) return (int)source;
    long result = sys_fstatx((int)source, &status);
    enum tr_make make = S_ISDIR(status.mode) ? TR_MAKE_DIRECTORY : TR_MAKE_FILE;
    int target = result < 0 ? (int)result : tr_make_target(run, op->target, make, NULL);
    if (target >= 0) {
        unsigned recursive = op->recursive ? TR_AT_RECURSIVE : 0;
        long mount = taken_source(run);
        if (mount < 0) mount = sys_open_tree((int)source, "", TR_OPEN_TREE_CLONE | TR_AT_EMPTY_PATH | recursive);
        result = mount == -ENOSYS ? -ENOSYS : mount < 0 ? mount : bind_new(run, op, (int)mount, target);
        /* Also where mount_setattr is missing (before 5.12). */
        if (result == -ENOSYS) result = bind_classic(run, op, target);
        if (mount >= 0) sys_close((int)mount);
        sys_close(target);
    }
    sys_close((int)source);
    return target < 0 ? target : (int)result;
}

/*
 * Makes the mount that a directory is in private, so that what is mounted there is seen by nobody else, and as pivot_root wants it.
 * By "..", because a part of the path may be a link to another mount.
 */
static int detach_parent(struct tr_run *run, int directory) {
    int at = take_sources(run);
    if (at >= 0) at = (int)sys_fcntl(directory, F_DUPFD_CLOEXEC, 3);
    while (at >= 0) {
        /* EINVAL: not the root of its mount. */
        int result = set_propagation(at, MS_PRIVATE);
        int above = result == -EINVAL ? (int)sys_openat(at, "..", O_PATH | O_DIRECTORY, 0) : result;
        sys_close(at);
        if (result != -EINVAL) return result;
        at = above;
    }
    return at;
}

int tr_op_overlay_run(struct tr_run *run, const struct tr_op_overlay *op) {
    if (op->lower[0] == NULL) return -EINVAL;
    long root = sys_openat(AT_FDCWD, op->target, O_PATH | O_DIRECTORY, 0);
    if (root < 0) return (int)root;
    long result = detach_parent(run, (int)root);
    if (result < 0) {
        sys_close((int)root);
        return (int)result;
    }
    long mount = tr_overlay_open(op->lower, op->upper, op->work, op->options);
    result = mount < 0 ? tr_overlay_classic(op) : sys_move_mount((int)mount, (int)root);
    sys_close((int)root);
    if (result < 0) {
        if (mount >= 0) sys_close((int)mount);
        /* A kernel that knows lowerdir+ has told more exactly what was wrong. */
        return mount < 0 && mount != -ENOSYS && mount != -EINVAL ? (int)mount : (int)result;
    }
    if (mount < 0) mount = sys_openat(AT_FDCWD, op->target, O_PATH | O_DIRECTORY, 0);
    if (mount < 0) return (int)mount;
    run->root = (int)mount;
    return 0;
}

int tr_op_bind_root(struct tr_run *run, const struct tr_op_bindRoot *op) {
    long root = sys_openat(AT_FDCWD, op->source, O_PATH | O_DIRECTORY, 0);
    if (root < 0) return (int)root;
    long result = detach_parent(run, (int)root);
    sys_close((int)root);
    /* Bound onto itself: pivot_root wants a mount point. */
    if (result >= 0) result = sys_mount(op->source, op->source, NULL, MS_BIND | MS_REC, NULL);
    if (result < 0) return (int)result;
    root = sys_openat(AT_FDCWD, op->source, O_PATH | O_DIRECTORY, 0);
    if (root < 0) return (int)root;
    run->root = (int)root;
    return 0;
}

/* The host's /dev/null, from before the pivot, for where the plan makes none of its own: see protect.c. */
static void take_host_null(struct tr_run *run) {
    if (run->null_source >= 0) return;
    long mount = sys_open_tree(AT_FDCWD, "/dev/null", TR_OPEN_TREE_CLONE);
    if (mount < 0) return;
    tr_remember_null(run, (int)mount);
    run->null_detached = run->null_source >= 0;
    sys_close((int)mount);
}

int tr_op_pivot_root(struct tr_run *run) {
    if (run->root < 0) return -EINVAL;
    take_host_null(run);
    long old_root = sys_openat(AT_FDCWD, "/", O_PATH | O_DIRECTORY, 0);
    if (old_root < 0) return (int)old_root;
    long result = sys_fchdir(run->root);
    /* Old and new root may be the same directory: the old one then lies on top and is taken off again. No directory of the image is needed for it. */
    if (result >= 0) result = sys_pivot_root(".", ".");
    /* "." is still the new root for some calls and the old one on top of it for others. */
    if (result >= 0) result = sys_fchdir((int)old_root);
    sys_close((int)old_root);
    /* Or the unmount below would reach the host through shared mounts. */
    if (result >= 0) result = sys_mount(NULL, ".", NULL, MS_SLAVE | MS_REC, NULL);
    if (result >= 0) result = sys_umount(".", MNT_DETACH);
    if (result >= 0) result = sys_chdir("/");
    if (result < 0) return (int)result;
    sys_close(run->root);
    run->root = -1;
    result = sys_openat(AT_FDCWD, "/", O_PATH | O_DIRECTORY, 0);
    if (result < 0) return (int)result;
    run->root = (int)result;
    run->pivoted = 1;
    return 0;
}
