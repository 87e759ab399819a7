/*
 * A part of other layers, or of a directory that others may change, in the container's root: `RUN --mount` of a build. Its
 * path is resolved with them as the root, and what it names is taken by the descriptor that this gives.
 */
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "interpreter.h"
#include "syscalls.h"

/* One layer that nobody writes to is a directory; others become a mount on `stage`, which is taken off in the end. */
static int open_layers(const struct tr_op_bindBelow *op, int *staged) {
    static char *options[] = {"volatile", NULL};
    static char *no_options[] = {NULL};
    *staged = 0;
    if (op->layers[0] == NULL) return -EINVAL;
    if (op->layers[1] == NULL && op->upper == NULL) return (int)sys_openat(AT_FDCWD, op->layers[0], O_PATH | O_DIRECTORY, 0);
    struct tr_op_overlay overlay = {op->layers, op->upper, op->work, op->upper == NULL ? no_options : options, op->stage};
    int stage = (int)sys_openat(AT_FDCWD, op->stage, O_PATH | O_DIRECTORY, 0);
    if (stage < 0) return stage;
    long mount = tr_overlay_open(op->layers, op->upper, op->work, overlay.options);
    long result = mount < 0 ? tr_overlay_classic(&overlay) : sys_move_mount((int)mount, stage);
    sys_close(stage);
    if (result < 0) {
        if (mount >= 0) sys_close((int)mount);
        return (int)result;
    }
    *staged = 1;
    return mount >= 0 ? (int)mount : (int)sys_openat(AT_FDCWD, op->stage, O_PATH | O_DIRECTORY, 0);
}

static int bind_fd(struct tr_run *run, const struct tr_op_bindBelow *op, int source, int target) {
    struct tr_fd_path of_source, of_target;
    long mount = sys_open_tree(source, "", TR_OPEN_TREE_CLONE | TR_AT_EMPTY_PATH);
    if (mount == -ENOSYS) {
        long result = sys_mount(tr_fd_path(source, &of_source), tr_fd_path(target, &of_target), NULL, MS_BIND, NULL);
        if (result < 0) return (int)result;
        mount = tr_root_open(run->root, op->target, O_PATH);
        if (mount < 0) return (int)mount;
        result = tr_set_attributes((int)mount, tr_fd_path((int)mount, &of_source), op->flags, 0);
        sys_close((int)mount);
        return (int)result;
    }
    if (mount < 0) return (int)mount;
    long result = op->flags == 0 ? 0 : tr_set_attributes((int)mount, NULL, op->flags, 0);
    if (result >= 0) result = sys_move_mount((int)mount, target);
    /* Before 5.12 flags are set where it is attached. */
    if (result == -ENOSYS && (result = sys_move_mount((int)mount, target)) >= 0)
        result = tr_set_attributes((int)mount, tr_fd_path((int)mount, &of_source), op->flags, 0);
    sys_close((int)mount);
    return (int)result;
}

int tr_op_bind_below(struct tr_run *run, const struct tr_op_bindBelow *op) {
    struct tr_statx status;
    int staged;
    if (run->root < 0) return -EINVAL;
    int layers = open_layers(op, &staged);
    if (layers < 0) return layers;
    int source = tr_root_open(layers, op->path, O_PATH);
    long result = source < 0 ? source : sys_fstatx(source, &status);
    /* A device or socket of a foreign image is nothing to be mounted. */
    if (result >= 0 && !S_ISDIR(status.mode) && !S_ISREG(status.mode)) result = -EINVAL;
    if (result >= 0) {
        int target = tr_make_target(run, op->target, S_ISDIR(status.mode) ? TR_MAKE_DIRECTORY : TR_MAKE_FILE, NULL);
        result = target < 0 ? target : bind_fd(run, op, source, target);
        if (target >= 0) sys_close(target);
    }
    if (source >= 0) sys_close(source);
    sys_close(layers);
    if (staged) sys_umount(op->stage, MNT_DETACH);
    return (int)result;
}

/*
 * A mount of another container, as `--ipc container:` shares its /dev/shm. Its path is resolved inside of that container's mount
 * namespace, with its root, so no link of its leads anywhere else; the mount comes back by a descriptor.
 */
int tr_op_bind_foreign(struct tr_run *run, const struct tr_op_bindForeign *op) {
    if (run->root < 0) return -EINVAL;
    long own = sys_openat(AT_FDCWD, "/proc/self/ns/mnt", O_RDONLY, 0);
    long other = own < 0 ? own : sys_openat(AT_FDCWD, op->name_space, O_RDONLY, 0);
    long mount = other < 0 ? other : sys_setns((int)other, CLONE_NEWNS);
    if (mount >= 0) {
        mount = sys_open_tree(AT_FDCWD, op->source, TR_OPEN_TREE_CLONE);
        /* Without the way back nothing of the rest of the plan would be done where it should. */
        long back = sys_setns((int)own, CLONE_NEWNS);
        if (back < 0) return (int)back;
    }
    if (other >= 0) sys_close((int)other);
    if (own >= 0) sys_close((int)own);
    if (mount < 0) return (int)mount;
    int target = tr_make_target(run, op->target, TR_MAKE_DIRECTORY, NULL);
    long result = target < 0 ? target : sys_move_mount((int)mount, target);
    if (target >= 0) sys_close(target);
    sys_close((int)mount);
    return (int)result;
}
