/*
 * What becomes the root of the sandbox: a directory of the host, or a container's files as it sees them. Either way the
 * process ends up in a mount namespace of its own in which nothing else is mounted.
 */
#include "unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../syscalls.h"

static int enter_namespaces(struct failure *failure) {
    if (unshare(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET) == 0) return 0;
    if (errno != EPERM) return fail_errno(failure, errno, "unshare", "namespaces");
    failure->errnum = EPERM;
    return fail(failure, FAIL_IO, "cannot make a mount namespace: not root");
}

/* pivot_root is impossible where the root is the initramfs: there the mount is moved over it, as switch_root does. */
static int pivot(void) {
    if (syscall(SYS_pivot_root, ".", ".") == 0) return umount2(".", MNT_DETACH);
    if (errno != EINVAL) return -1;
    return mount(".", "/", NULL, MS_MOVE, NULL) < 0 ? -1 : chroot(".");
}

/* Every mount there is: devices and set-user-id programs are packed or made here, never used. Linux 5.12. */
static void restrict_all(bool read_only) {
    struct tr_mount_attr attributes = {.attr_set = TR_ATTR_NOSUID | TR_ATTR_NODEV | TR_ATTR_NOEXEC | (read_only ? TR_ATTR_RDONLY : 0)};
    int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root >= 0) sys_mount_setattr(root, TR_AT_RECURSIVE, &attributes);
    if (root >= 0) close(root);
}

static int enter_tree(const struct root *root, bool read_only, struct failure *failure) {
    const char *tree = root->tree;
    if (strcmp(tree, "/") == 0) return 0; /* here it is */
    if (mount(tree, tree, NULL, MS_BIND | (root->submounts ? MS_REC : 0), NULL) < 0) return fail_errno(failure, errno, "bind", tree);
    if (chdir(tree) < 0) return fail_errno(failure, errno, "enter", tree);
    const unsigned long flags = MS_BIND | MS_REMOUNT | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | (read_only ? MS_RDONLY : 0);
    /* EPERM: in a user namespace, where the mount's atime flag is locked; devices and set-user-id are dead there anyway. A
       read-only one of the host's stays so. */
    if (!root->submounts && mount(NULL, ".", NULL, flags, NULL) < 0 && errno != EPERM) return fail_errno(failure, errno, "remount", tree);
    return pivot() < 0 ? fail_errno(failure, errno, "pivot_root", tree) : 0;
}

/* A mount that Node made and that is attached nowhere yet. */
static int enter_mount(const struct root *root, struct failure *failure) {
    int top = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (top < 0) return fail_errno(failure, errno, "open", "/");
    long result = sys_move_mount(root->fd, top);
    close(top);
    if (result < 0) return fail_errno(failure, (int)-result, "mount", "the container's files");
    if (fchdir(root->fd) < 0) return fail_errno(failure, errno, "enter", "the container's files");
    return pivot() < 0 ? fail_errno(failure, errno, "pivot_root", "the container's files") : 0;
}

/*
 * The place to mount on is found with the container's own links, below its root, and held by a descriptor until the mount
 * is made: links that change meanwhile move nothing (CVE-2026-42306). A missing place is not made (CVE-2026-41568): only a
 * container that was never started lacks it.
 */
static int attach(const struct bind *bind, int source, struct failure *failure) {
    struct stat from, to;
    struct tr_mount_attr attributes = {.attr_set = bind->read_only ? TR_ATTR_RDONLY : 0};
    long target = sys_openat2(AT_FDCWD, bind->target, O_PATH, 0, TR_RESOLVE_IN_ROOT | TR_RESOLVE_NO_MAGICLINKS);
    if (target < 0) return 0;
    long result = 0;
    if (fstat(source, &from) == 0 && fstat((int)target, &to) == 0 && S_ISDIR(from.st_mode) == S_ISDIR(to.st_mode)) {
        if (bind->read_only) result = sys_mount_setattr(source, TR_AT_RECURSIVE, &attributes);
        if (result >= 0) result = sys_move_mount(source, (int)target);
    }
    close((int)target);
    return result < 0 ? fail_errno(failure, (int)-result, "mount", bind->target) : 0;
}

/* Sources are opened while the host's files are still in sight. One that is gone is not there for the container either. */
static int enter_with_binds(const struct root *root, struct failure *failure) {
    static int sources[BINDS_MAX];
    for (size_t i = 0; i < root->bind_count; i++)
        sources[i] = (int)sys_open_tree(AT_FDCWD, root->binds[i].source, TR_OPEN_TREE_CLONE | TR_AT_RECURSIVE);
    if (enter_mount(root, failure) < 0 || chdir("/") < 0) return -1;
    for (size_t i = 0; i < root->bind_count; i++) {
        if (sources[i] < 0) continue;
        if (attach(&root->binds[i], sources[i], failure) < 0) return -1;
        close(sources[i]);
    }
    return 0;
}

int root_enter(const struct root *root, bool read_only, struct failure *failure) {
    bool is_container = root->tree == NULL && !root->is_mount;
    if (is_container && setns(root->fd, CLONE_NEWNS) < 0) return fail_errno(failure, errno, "enter", "the container's mount namespace");
    /* In a container's namespace this makes a copy of it: what is changed here changes nothing there. */
    if (enter_namespaces(failure) < 0) return -1;
    /* Or the mounts below would appear outside. */
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) return fail_errno(failure, errno, "make private", "/");
    if (root->tree != NULL && enter_tree(root, read_only, failure) < 0) return -1;
    if (root->is_mount && enter_with_binds(root, failure) < 0) return -1;
    if (chdir("/") < 0) return fail_errno(failure, errno, "enter", "/");
    restrict_all(read_only);
    return 0;
}

/* 1: taken; 0: not one of these; -1: wrong. */
int root_option(struct root *root, const char *name, const char *value) {
    struct bind *last = root->bind_count == 0 ? NULL : &root->binds[root->bind_count - 1];
    if (strcmp(name, "--tree") == 0) return root->tree = value, 1;
    if (strcmp(name, "--host") == 0) return root->tree = value, root->submounts = true, 1;
    if (strcmp(name, "--bind-source") == 0) {
        if (root->bind_count == BINDS_MAX) return -1;
        root->binds[root->bind_count++].source = value;
        return 1;
    }
    if (strcmp(name, "--bind-target") == 0 && last != NULL) return last->target = value, 1;
    if (strcmp(name, "--bind-readonly") == 0 && last != NULL) return last->read_only = strcmp(value, "1") == 0, 1;
    bool is_mount = strcmp(name, "--mount") == 0;
    if (!is_mount && strcmp(name, "--namespace") != 0) return 0;
    root->is_mount = is_mount;
    root->fd = atoi(value);
    return root->fd > 2 ? 1 : -1;
}

/* Whether it says what the root is. */
bool root_is_complete(const struct root *root) {
    for (size_t i = 0; i < root->bind_count; i++)
        if (root->binds[i].target == NULL || root->binds[i].target[0] != '/') return false;
    return (root->tree != NULL) != (root->fd > 2);
}

/* Below the root of the process, which nothing leads out of; /proc/<pid>/fd and the like would. Before 5.6: that root alone. */
int root_open(int directory, const char *path, int flags, uint64_t resolve) {
    long fd = sys_openat2(directory, path, (uint64_t)flags, 0, resolve | TR_RESOLVE_NO_MAGICLINKS);
    if (fd == -ENOSYS) return openat(directory, path, flags | O_CLOEXEC);
    if (fd < 0) return errno = (int)-fd, -1;
    return (int)fd;
}
