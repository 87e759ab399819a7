/* Files of the host, and the removal of whole trees. */
#include <string.h>
#include <sys/stat.h>

#include "interpreter.h"
#include "syscalls.h"

int tr_make_directory(const char *path, unsigned mode, int existing) {
    long result = sys_mkdirat(AT_FDCWD, path, mode);
    if (result == -EEXIST && existing) {
        struct tr_statx status;
        result = sys_statx(AT_FDCWD, path, 0, &status);
        if (result == 0 && !S_ISDIR(status.mode)) result = -ENOTDIR;
    }
    return (int)result;
}

/* One write: cgroup and sysctl files take a value whole or not at all. */
int tr_write_file(const char *path, const char *text, int create) {
    int flags = O_WRONLY | O_NOCTTY | (create ? O_CREAT | O_TRUNC : 0);
    long fd = sys_openat(AT_FDCWD, path, flags, 0644);
    if (fd < 0) return (int)fd;
    size_t length = strlen(text);
    long result = sys_write((int)fd, text, length);
    sys_close((int)fd);
    if (result < 0) return (int)result;
    return (size_t)result == length ? 0 : -ENOSPC;
}

int tr_rmdir(const char *path, unsigned patience_ms) {
    /* A dying cgroup is busy until its last task has been reaped; no event tells of it on v1. */
    for (unsigned waited = 0;; waited++) {
        long result = sys_unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
        if (result != -EBUSY || waited >= patience_ms) return (int)result;
        sys_sleep_ms(1);
    }
}

#define LEVELS 48
#define BUFFER 2048

/* One open directory of the path from the tree's top to where the removal is. */
struct level {
    int fd;
    int progress; /* something below was removed in this pass */
    int error;    /* first -errno of this pass */
    long filled, position;
    _Alignas(8) char buffer[BUFFER];
};

struct removal {
    struct level levels[LEVELS];
    int depth;
    int moved;
};

/* A directory below `dir`, never through a link and never onto another mount: what is mounted there is not ours. */
static long open_below(int dir, const char *name) {
    const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
    long fd = sys_openat2(dir, name, (uint64_t)flags, 0, TR_RESOLVE_NO_XDEV | TR_RESOLVE_NO_SYMLINKS | TR_RESOLVE_BENEATH);
    if (fd != -ENOSYS && fd != -EPERM) return fd == -EXDEV ? -EBUSY : fd;
    struct tr_statx of_dir, of_entry;
    fd = sys_openat(dir, name, flags, 0);
    if (fd < 0) return fd;
    if (sys_fstatx(dir, &of_dir) == 0 && sys_fstatx((int)fd, &of_entry) == 0 && of_dir.dev_major == of_entry.dev_major &&
        of_dir.dev_minor == of_entry.dev_minor)
        return fd;
    sys_close((int)fd);
    return -EBUSY;
}

static void push(struct removal *removal, long fd) {
    struct level *level = &removal->levels[removal->depth++];
    level->fd = (int)fd;
    level->progress = level->error = 0;
    level->filled = level->position = 0;
}

/* Where the tree is deeper than our fds: the directory moves up to the top, whose next pass finds it. */
static long move_to_top(struct removal *removal, int dir, const char *name) {
    char target[32] = ".tinyrun-removed-";
    for (int attempt = 0; attempt < 4096; attempt++) {
        struct tr_digits digits;
        strcpy(target + 17, tr_digits_of(removal->moved++, &digits));
        long result = sys_renameat(dir, name, removal->levels[0].fd, target);
        if (result != -EEXIST && result != -ENOTEMPTY && result != -ENOTDIR) return result;
    }
    return -ELOOP;
}

static void remove_entry(struct removal *removal, struct level *level, const struct tr_dirent *entry) {
    const char *name = entry->name;
    if (name[0] == '.' && (name[1] == 0 || (name[1] == '.' && name[2] == 0))) return;
    long result = entry->type == 4 /* DT_DIR */ ? -EISDIR : sys_unlinkat(level->fd, name, 0);
    if (result == -EISDIR) result = sys_unlinkat(level->fd, name, AT_REMOVEDIR);
    if (result == -ENOTEMPTY || result == -EEXIST) {
        if (removal->depth == LEVELS) {
            result = move_to_top(removal, level->fd, name);
        } else {
            long fd = open_below(level->fd, name);
            /* Without root's rights an unreadable directory of our own must be opened up first. */
            if (fd == -EACCES && sys_fchmodat(level->fd, name, 0700) == 0) fd = open_below(level->fd, name);
            if (fd >= 0) {
                push(removal, fd);
                return;
            }
            result = fd;
        }
    }
    if (result == 0 || result == -ENOENT) level->progress = 1;
    else if (level->error == 0) level->error = (int)result;
}

/*
 * Passes over a directory until one finds nothing to do: entries removed while it is read may hide others, and a
 * subdirectory that has been emptied is met again. A pass without progress ends it, so that what cannot be removed cannot
 * keep us here.
 */
static int empty_directory(struct removal *removal) {
    int error = 0;
    while (removal->depth > 0) {
        struct level *level = &removal->levels[removal->depth - 1];
        if (level->position < level->filled) {
            const struct tr_dirent *entry = (const struct tr_dirent *)(const void *)(level->buffer + level->position);
            level->position += entry->length;
            remove_entry(removal, level, entry);
            continue;
        }
        level->position = 0;
        level->filled = sys_getdents(level->fd, level->buffer, sizeof level->buffer);
        if (level->filled > 0) continue;
        if (level->filled < 0 && level->error == 0) level->error = (int)level->filled;
        if (level->filled == 0 && level->progress) {
            level->progress = level->error = 0;
            sys_rewind(level->fd);
            if (removal->depth > 1) removal->levels[removal->depth - 2].progress = 1;
            continue;
        }
        if (level->error < 0) error = level->error;
        sys_close(level->fd);
        removal->depth--;
    }
    return error;
}

static long open_parent(const char *path, const char **name) {
    const char *slash = strrchr(path, '/');
    char parent[TR_PATH_MAX];
    if (slash == NULL || slash[1] == 0) return -EINVAL;
    size_t length = slash == path ? 1 : (size_t)(slash - path);
    if (length >= sizeof parent) return -ENAMETOOLONG;
    memcpy(parent, path, length);
    parent[length] = 0;
    *name = slash + 1;
    return sys_openat(AT_FDCWD, parent, O_PATH | O_DIRECTORY, 0);
}

int tr_remove_tree(const char *path) {
    const char *name;
    struct removal removal;
    long parent = open_parent(path, &name);
    if (parent < 0) return (int)parent;
    long result = sys_unlinkat((int)parent, name, 0);
    if (result == -EISDIR || result == -EPERM) {
        long fd = open_below((int)parent, name);
        result = fd;
        if (fd >= 0) {
            removal.depth = 0;
            removal.moved = 0;
            push(&removal, fd);
            int error = empty_directory(&removal);
            result = sys_unlinkat((int)parent, name, AT_REMOVEDIR);
            /* ENOTEMPTY alone would say nothing about the reason. */
            if (result == -ENOTEMPTY && error < 0) result = error;
        }
    }
    sys_close((int)parent);
    return (int)result;
}
