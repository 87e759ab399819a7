/* Directories, links and device nodes that the container finds in its root. */
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "interpreter.h"
#include "syscalls.h"

int tr_op_mkdir_in_root(struct tr_run *run, const struct tr_op_mkdirInRoot *op) {
    int made;
    int fd = tr_root_make(run->root, op->path, TR_MAKE_DIRECTORY, (unsigned)op->mode, &made);
    if (fd < 0) return fd;
    struct tr_statx status;
    long result = sys_fstatx(fd, &status);
    if (result == 0 && !S_ISDIR(status.mode)) result = -ENOTDIR;
    /* What the image has stays as the image has it. */
    if (result == 0 && made && (op->uid != 0 || op->gid != 0))
        result = sys_fchownat(fd, "", (unsigned)op->uid, (unsigned)op->gid, TR_AT_EMPTY_PATH);
    sys_close(fd);
    return (int)result;
}

int tr_op_symlink_in_root(struct tr_run *run, const struct tr_op_symlinkInRoot *op) {
    char name[256];
    int parent = tr_root_parent(run->root, op->path, name, sizeof name);
    if (parent < 0) return parent;
    long result = sys_symlinkat(op->target, parent, name);
    sys_close(parent);
    /* The image's own link or file wins, as with Docker's /dev/fd and the like. */
    return result == -EEXIST ? 0 : (int)result;
}

static int is_device(const struct tr_statx *status, const struct tr_op_mknod *op) {
    if ((status->mode & S_IFMT) != op->type) return 0;
    return op->type == S_IFIFO || (status->rdev_major == op->major && status->rdev_minor == op->minor);
}

int tr_op_mknod_run(struct tr_run *run, const struct tr_op_mknod *op) {
    char name[256];
    struct tr_statx status;
    int parent = tr_root_parent(run->root, op->path, name, sizeof name);
    if (parent < 0) return parent;
    mode_t mask = umask(0);
    unsigned mode = (unsigned)(op->type & S_IFMT) | ((unsigned)op->mode & 07777);
    long result = sys_mknodat(parent, name, mode, makedev(op->major, op->minor));
    umask(mask);
    int existed = result == -EEXIST;
    long fd = result == 0 || existed ? sys_openat(parent, name, O_PATH | O_NOFOLLOW, 0) : result;
    sys_close(parent);
    if (fd < 0) return (int)fd;
    result = sys_fstatx((int)fd, &status);
    if (result == 0 && !is_device(&status, op)) result = -EEXIST;
    if (result == 0 && (status.uid != op->uid || status.gid != op->gid))
        result = sys_fchownat((int)fd, "", (unsigned)op->uid, (unsigned)op->gid, TR_AT_EMPTY_PATH);
    if (result == 0 && !existed) tr_remember_null(run, (int)fd);
    sys_close((int)fd);
    return (int)result;
}
