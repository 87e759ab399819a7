/*
 * A hard link to a file of a layer below: overlayfs would have copied that file up before it linked it, so does this. The
 * lower layers are read through directories that were opened before the pivot.
 */
#include "extract.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#define COPY_SIZE (128 * 1024)

struct found {
    int layer; /* its directory */
    struct stat st;
};

static bool is_opaque(const struct extractor *extractor, int layer, const char *path) {
    char value;
    int fd = path_open(layer, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    bool opaque = fd >= 0 && fgetxattr(fd, extractor->opaque_xattr, &value, 1) == 1 && value == 'y';
    if (fd >= 0) close(fd);
    return opaque;
}

static int stat_in(int layer, const char *path, struct stat *st) {
    int fd = path_open(layer, path, O_PATH | O_NOFOLLOW);
    if (fd < 0) return -1;
    int result = fstat(fd, st);
    close(fd);
    return result;
}

/* Does this layer end the search below it: is a directory on the way to `path` opaque, deleted, or no directory here? */
static bool hides(const struct extractor *extractor, int layer, const char *path) {
    char prefix[PATH_MAX];
    for (const char *slash = path; (slash = strchr(slash, '/')) != NULL; slash++) {
        struct stat st;
        memcpy(prefix, path, (size_t)(slash - path));
        prefix[slash - path] = 0;
        if (stat_in(layer, prefix, &st) < 0) return false;
        if (!S_ISDIR(st.st_mode) || is_opaque(extractor, layer, prefix)) return true;
    }
    return false;
}

/* What the layers below show at `path`. */
static bool find(const struct extractor *extractor, const char *path, struct found *found) {
    for (size_t i = 0; i < extractor->lower.count; i++) {
        found->layer = extractor->lower.fds[i];
        if (stat_in(found->layer, path, &found->st) == 0) return !is_whiteout(&found->st);
        if (hides(extractor, found->layer, path)) return false;
    }
    return false;
}

static int copy_bytes(int from, int to, const char *path, struct failure *failure) {
    static uint8_t buffer[COPY_SIZE];
    for (off_t offset = 0;;) {
        ssize_t n = read(from, buffer, sizeof buffer);
        if (n < 0) return fail_errno(failure, errno, "read", path);
        if (n == 0) return 0;
        for (ssize_t done = 0; done < n;) {
            ssize_t written = pwrite(to, buffer + done, (size_t)(n - done), offset + done);
            if (written < 0) return fail_errno(failure, errno, "write", path);
            done += written;
        }
        offset += n;
    }
}

static int copy_xattrs(struct extractor *extractor, int from, const char *path, struct failure *failure) {
    static char names[64 * 1024];
    static uint8_t value[64 * 1024];
    ssize_t length = flistxattr(from, names, sizeof names);
    for (ssize_t at = 0; at < length; at += (ssize_t)strlen(names + at) + 1) {
        ssize_t size = fgetxattr(from, names + at, value, sizeof value);
        struct xattr xattr = {names + at, value, size < 0 ? 0 : (size_t)size};
        if (size >= 0 && xattr_set(extractor, -1, path, &xattr, failure) < 0) return -1;
    }
    return 0;
}

static struct entry entry_of(const struct stat *st) {
    return (struct entry){.type = S_ISDIR(st->st_mode) ? '5' : S_ISLNK(st->st_mode) ? '2' : '0',
                          .mode = st->st_mode & 07777,
                          .uid = st->st_uid,
                          .gid = st->st_gid,
                          .mtime = st->st_mtim};
}

/* The directories on the way, with the attributes that they have below: this layer's copies are the ones that will be seen. */
static int copy_directories(struct extractor *extractor, const char *path, struct failure *failure) {
    char prefix[PATH_MAX];
    for (const char *slash = path; (slash = strchr(slash, '/')) != NULL; slash++) {
        struct stat st;
        struct found found;
        memcpy(prefix, path, (size_t)(slash - path));
        prefix[slash - path] = 0;
        if (fstatat(extractor->root, prefix, &st, AT_SYMLINK_NOFOLLOW) == 0) continue;
        if (!find(extractor, prefix, &found) || !S_ISDIR(found.st.st_mode)) return 0;
        struct entry entry = entry_of(&found.st);
        struct place place;
        if (path_place(extractor, prefix, &place, failure) < 0 || directory_make(extractor, &place, &entry, failure) < 0) return -1;
        int from = path_open(found.layer, prefix, O_RDONLY | O_DIRECTORY);
        int result = from < 0 ? 0 : copy_xattrs(extractor, from, prefix, failure);
        if (from >= 0) close(from);
        if (result < 0) return -1;
    }
    return 0;
}

/* Attributes last: chown takes capabilities away. */
static int copy_file(struct extractor *extractor, const struct found *found, const struct place *place, struct failure *failure) {
    struct entry entry = entry_of(&found->st);
    int from = path_open(found->layer, place->path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    if (from < 0) return fail_errno(failure, errno, "open", place->path);
    int to = openat(place->parent, place->leaf, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, found->st.st_mode & 07777);
    int result = to < 0 ? fail_errno(failure, errno, "create", place->path) : copy_bytes(from, to, place->path, failure);
    if (to >= 0) close(to);
    if (result == 0) result = metadata_apply(extractor, place, &entry, failure);
    if (result == 0) result = copy_xattrs(extractor, from, place->path, failure);
    close(from);
    return result;
}

static int copy_other(struct extractor *extractor, const struct found *found, const struct place *place, struct failure *failure) {
    char target[PATH_MAX];
    int result;
    if (S_ISLNK(found->st.st_mode)) {
        int link = path_open(found->layer, place->path, O_PATH | O_NOFOLLOW);
        ssize_t n = link < 0 ? -1 : readlinkat(link, "", target, sizeof target - 1);
        if (link >= 0) close(link);
        if (n < 0) return fail_errno(failure, errno, "read link", place->path);
        target[n] = 0;
        result = symlinkat(target, place->parent, place->leaf);
    } else {
        result = mknodat(place->parent, place->leaf, found->st.st_mode, found->st.st_rdev);
    }
    if (result < 0) return fail_errno(failure, errno, "create", place->path);
    struct entry entry = entry_of(&found->st);
    return metadata_apply(extractor, place, &entry, failure);
}

int lower_copy_up(struct extractor *extractor, const char *path, struct failure *failure) {
    struct found found;
    struct place place;
    if (!find(extractor, path, &found) || S_ISDIR(found.st.st_mode)) return 1;
    if (copy_directories(extractor, path, failure) < 0 || path_place(extractor, path, &place, failure) < 0) return -1;
    return S_ISREG(found.st.st_mode) ? copy_file(extractor, &found, &place, failure) : copy_other(extractor, &found, &place, failure);
}
