/* What the container may not see or change: masked and read-only paths, the read-only root, and settings below /proc/sys. */
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include "interpreter.h"
#include "syscalls.h"

/*
 * Keeps a device 1:3 for masking. Only what was just made by us, bound from the host, or opened on the host comes here: the
 * container's /dev/null by name might have been swapped for a link to what shall be masked (CVE-2025-31133).
 */
void tr_remember_null(struct tr_run *run, int fd) {
    struct tr_statx status;
    if (run->null_source >= 0 || sys_fstatx(fd, &status) < 0) return;
    if (!S_ISCHR(status.mode) || status.rdev_major != 1 || status.rdev_minor != 3) return;
    long kept = sys_fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (kept >= 0) run->null_source = (int)kept;
}

/* Binds `source` over `target`. A detached mount is attached itself the first time, and cloned from where it is after that. */
static long cover(int source, int *detached, int target) {
    struct tr_fd_path from, to;
    if (*detached) {
        long result = sys_move_mount(source, target);
        if (result >= 0) *detached = 0;
        return result;
    }
    long mount = sys_open_tree(source, "", TR_OPEN_TREE_CLONE | TR_AT_EMPTY_PATH);
    if (mount == -ENOSYS) return sys_mount(tr_fd_path(source, &from), tr_fd_path(target, &to), NULL, MS_BIND, NULL);
    if (mount < 0) return mount;
    long result = sys_move_mount((int)mount, target);
    sys_close((int)mount);
    return result;
}

static int mask_file(struct tr_run *run, int target) {
    struct tr_statx status;
    if (run->null_source < 0) return -ENODEV;
    long result = sys_fstatx(run->null_source, &status);
    if (result < 0) return (int)result;
    if (!S_ISCHR(status.mode) || status.rdev_major != 1 || status.rdev_minor != 3) return -ENODEV;
    return (int)cover(run->null_source, &run->null_detached, target);
}

/* One empty tmpfs serves all masked directories: read-only as a file system and as a mount. */
static long make_empty(void) {
    long fs = sys_fsopen("tmpfs");
    if (fs < 0) return fs;
    long result = sys_fsconfig((int)fs, TR_FSCONFIG_SET_STRING, "source", "tmpfs", 0);
    if (result >= 0) result = sys_fsconfig((int)fs, TR_FSCONFIG_SET_FLAG, "ro", NULL, 0);
    if (result >= 0) result = sys_fsconfig((int)fs, TR_FSCONFIG_SET_STRING, "nr_inodes", "1", 0);
    if (result >= 0) result = sys_fsconfig((int)fs, TR_FSCONFIG_CMD_CREATE, NULL, NULL, 0);
    if (result >= 0) result = sys_fsmount((int)fs, TR_ATTR_RDONLY | TR_ATTR_NOSUID | TR_ATTR_NODEV | TR_ATTR_NOEXEC);
    sys_close((int)fs);
    return result;
}

static int mask_directory(struct tr_run *run, int target) {
    struct tr_fd_path path;
    if (run->empty_mount < 0) {
        long mount = make_empty();
        if (mount < 0)
            return (int)sys_mount("tmpfs", tr_fd_path(target, &path), "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
                                  "nr_inodes=1");
        run->empty_mount = (int)mount;
        run->empty_detached = 1;
    }
    return (int)cover(run->empty_mount, &run->empty_detached, target);
}

int tr_op_mask_path(struct tr_run *run, const char *path) {
    struct tr_statx status;
    int target = tr_root_open(run->root, path, O_PATH);
    if (target == -ENOENT || target == -ENOTDIR) return 0;
    if (target < 0) return target;
    long result = sys_fstatx(target, &status);
    if (result >= 0) result = S_ISDIR(status.mode) ? mask_directory(run, target) : mask_file(run, target);
    sys_close(target);
    return (int)result;
}

static int readonly_classic(struct tr_run *run, const char *path, int target) {
    struct tr_fd_path of_fd;
    long result = sys_mount(tr_fd_path(target, &of_fd), of_fd.text, NULL, MS_BIND | MS_REC, NULL);
    if (result < 0) return (int)result;
    int mount = tr_root_open(run->root, path, O_PATH);
    if (mount < 0) return mount;
    result = tr_set_attributes(mount, tr_fd_path(mount, &of_fd), TR_MOUNT_RO, 0);
    sys_close(mount);
    return (int)result;
}

int tr_op_readonly_path(struct tr_run *run, const char *path) {
    int target = tr_root_open(run->root, path, O_PATH);
    if (target == -ENOENT || target == -ENOTDIR) return 0;
    if (target < 0) return target;
    /* A mount as a whole, such as a tmpfs of ours, needs none on top; what is mounted in it is asked for on its own. EINVAL: it is none. */
    if (tr_set_attributes(target, NULL, TR_MOUNT_RO, 0) == 0) {
        sys_close(target);
        return 0;
    }
    long mount = sys_open_tree(target, "", TR_OPEN_TREE_CLONE | TR_AT_EMPTY_PATH | TR_AT_RECURSIVE), result = mount;
    if (mount >= 0) {
        result = tr_set_attributes((int)mount, NULL, TR_MOUNT_RO, 1);
        if (result >= 0) result = sys_move_mount((int)mount, target);
        sys_close((int)mount);
    }
    if (result == -ENOSYS) result = readonly_classic(run, path, target);
    sys_close(target);
    return (int)result;
}

int tr_op_readonly_root(struct tr_run *run) {
    struct tr_fd_path path;
    if (run->root < 0) return -EINVAL;
    return tr_set_attributes(run->root, run->pivoted ? "/" : tr_fd_path(run->root, &path), TR_MOUNT_RO, 0);
}

/* A procfs that nobody else can reach, so nothing can be mounted over the file that is written (CVE-2025-52881). */
static long open_proc(void) {
    long fs = sys_fsopen("proc");
    if (fs < 0) return fs;
    long result = sys_fsconfig((int)fs, TR_FSCONFIG_CMD_CREATE, NULL, NULL, 0);
    if (result >= 0) result = sys_fsmount((int)fs, TR_ATTR_NOSUID | TR_ATTR_NODEV | TR_ATTR_NOEXEC);
    sys_close((int)fs);
    return result;
}

/* Kernels before 5.2, or where a user namespace may not mount procfs: the one at /proc, if the file is really on a procfs. */
static long open_setting_classic(const char *path) {
    struct statfs status;
    char full[300] = "/proc/";
    strcat(full, path);
    long fd = sys_openat(AT_FDCWD, full, O_WRONLY | O_NOFOLLOW | O_NOCTTY, 0);
    if (fd < 0) return fd;
    if (syscall(SYS_fstatfs, fd, &status) == 0 && status.f_type == TR_PROC_SUPER_MAGIC) return fd;
    sys_close((int)fd);
    return -EXDEV;
}

static long open_setting(struct tr_run *run, const char *path) {
    if (run->proc_mount < 0) run->proc_mount = (int)open_proc();
    if (run->proc_mount < 0) return open_setting_classic(path);
    const uint64_t resolve =
        TR_RESOLVE_BENEATH | TR_RESOLVE_NO_SYMLINKS | TR_RESOLVE_NO_MAGICLINKS | TR_RESOLVE_NO_XDEV;
    long fd = sys_openat2(run->proc_mount, path, O_WRONLY | O_NOCTTY, 0, resolve);
    return fd == -ENOSYS ? open_setting_classic(path) : fd;
}

int tr_op_sysctl_run(struct tr_run *run, const struct tr_op_sysctl *op) {
    char path[256] = "sys/";
    if (strlen(op->key) + 5 > sizeof path) return -ENAMETOOLONG;
    /* The key is data of the user's: "../sysrq-trigger" is not below /proc/sys. */
    if (op->key[0] == '/' || strstr(op->key, "..") != NULL) return -EINVAL;
    strcat(path, op->key);
    long fd = open_setting(run, path);
    if (fd < 0) return (int)fd;
    size_t length = strlen(op->value);
    long result = sys_write((int)fd, op->value, length);
    sys_close((int)fd);
    if (result < 0) return (int)result;
    return (size_t)result == length ? 0 : -EINVAL;
}
