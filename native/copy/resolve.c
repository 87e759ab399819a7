/* Paths below a root that may be hostile: one component at a time, the kernel never follows a link for us. */
#include "copy.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../syscalls.h"

#define LINKS_MAX 40

int open_below(int root, const char *path, int flags) {
    const uint64_t resolve = TR_RESOLVE_BENEATH | TR_RESOLVE_NO_SYMLINKS | TR_RESOLVE_NO_MAGICLINKS;
    return (int)sys_openat2(root, *path == 0 ? "." : path, (uint64_t)(flags | O_NOFOLLOW), 0, resolve);
}

static void to_parent(char *path) {
    char *slash = strrchr(path, '/');
    if (slash == NULL) *path = 0;
    else *slash = 0;
}

static int append(char *path, const char *name, size_t length) {
    size_t have = strlen(path);
    if (have + length + 2 > PATH_SIZE) return -ENAMETOOLONG;
    if (have > 0) path[have++] = '/';
    memcpy(path + have, name, length);
    path[have + length] = 0;
    return 0;
}

/* The target goes before what is still to be resolved. */
static int follow(int link, char *pending, char *real, size_t at) {
    char target[PATH_SIZE];
    ssize_t length = readlinkat(link, "", target, sizeof target);
    size_t rest = strlen(pending + at);
    if (length < 0) return -errno;
    if (length == 0 || (size_t)length + rest + 2 > PATH_SIZE) return length == 0 ? -ENOENT : -ENAMETOOLONG;
    memmove(pending + length + 1, pending + at, rest + 1);
    memcpy(pending, target, (size_t)length);
    pending[length] = '/';
    if (target[0] == '/') *real = 0;
    else to_parent(real);
    return 0;
}

int resolve_path(int root, const char *path, char real[PATH_SIZE]) {
    char pending[PATH_SIZE];
    int links = 0;
    *real = 0;
    if (strlen(path) >= sizeof pending) return -ENAMETOOLONG;
    strcpy(pending, path);
    for (size_t at = 0;;) {
        at += strspn(pending + at, "/");
        size_t length = strcspn(pending + at, "/");
        if (length == 0) return 0;
        const char *name = pending + at;
        at += length;
        if (length == 1 && name[0] == '.') continue;
        if (length == 2 && name[0] == '.' && name[1] == '.') {
            to_parent(real);
            continue;
        }
        int error = append(real, name, length);
        if (error < 0) return error;
        int fd = root < 0 ? -ENOENT : open_below(root, real, O_PATH);
        if (fd < 0) {
            if (fd == -ENOENT || fd == -ENOTDIR) continue;
            return fd;
        }
        struct tr_statx status;
        error = (int)sys_fstatx(fd, &status);
        if (error == 0 && S_ISLNK(status.mode)) {
            error = ++links > LINKS_MAX ? -ELOOP : follow(fd, pending, real, at);
            at = 0;
        }
        close(fd);
        if (error < 0) return error;
    }
}
