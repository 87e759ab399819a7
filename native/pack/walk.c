/*
 * The tree, depth first, the entries of a directory in the order of their bytes. Nothing is followed: each directory is
 * opened from the one above it. What vanishes while it is looked at is left out; what changes is packed as it was found.
 */
#include "pack.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "../syscalls.h"

#define OPAQUE_MARKER ".wh..wh..opq"
#define WHITEOUT_PREFIX ".wh."

struct names {
    char *bytes; /* one behind the other, each with its NUL */
    size_t length, capacity;
    char **sorted;
    size_t count;
};

struct directory {
    struct walk *walk;
    struct directory *above;
    int fd;
    struct stat st;
    bool is_written;
    bool has_excluded;
    bool has_opaque;
    /* The attributes are read when the directory is opened, and written with its entry, which may come later. */
    uint8_t *xattrs;
    size_t xattrs_length;
};

static bool is_gone(int error) {
    return error == ENOENT || error == ENOTDIR || error == ELOOP || error == ESTALE || error == ENXIO;
}

static int compare(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int keep_name(struct names *names, const char *name, struct failure *failure) {
    size_t length = strlen(name) + 1;
    if (names->capacity - names->length < length) {
        size_t capacity = 2 * names->capacity + 4096;
        char *bytes = realloc(names->bytes, capacity);
        if (bytes == NULL) return fail(failure, FAIL_IO, "out of memory");
        names->bytes = bytes, names->capacity = capacity;
    }
    memcpy(names->bytes + names->length, name, length);
    names->length += length;
    names->count++;
    return 0;
}

static int read_names(int fd, struct names *names, const char *path, struct failure *failure) {
    static char buffer[64 * 1024] __attribute__((aligned(8)));
    for (;;) {
        long n = sys_getdents(fd, buffer, sizeof buffer);
        if (n == 0 || n == -ENOENT) break; /* removed meanwhile */
        if (n < 0) return fail_errno(failure, (int)-n, "read the directory", path);
        for (long at = 0; at < n;) {
            const struct tr_dirent *entry = (const void *)(buffer + at);
            at += entry->length;
            if (strcmp(entry->name, ".") == 0 || strcmp(entry->name, "..") == 0) continue;
            if (keep_name(names, entry->name, failure) < 0) return -1;
        }
    }
    names->sorted = malloc((names->count + 1) * sizeof *names->sorted);
    if (names->sorted == NULL) return fail(failure, FAIL_IO, "out of memory");
    char *at = names->bytes;
    for (size_t i = 0; i < names->count; i++, at += strlen(at) + 1) names->sorted[i] = at;
    qsort(names->sorted, names->count, sizeof *names->sorted, compare);
    return 0;
}

/* ---- the path, which grows and shrinks with the walk ---- */

static int path_push(struct walk *walk, const char *name, struct failure *failure) {
    size_t length = strlen(name), slash = walk->path_length > 0;
    if (walk->path_length + slash + length + 2 > sizeof walk->path)
        return fail(failure, FAIL_TAR, "\"%.200s...\": the path is too long for a tar", walk->path);
    if (slash) walk->path[walk->path_length++] = '/';
    memcpy(walk->path + walk->path_length, name, length + 1);
    walk->path_length += length;
    return 0;
}

static void path_cut(struct walk *walk, size_t length) {
    walk->path[walk->path_length = length] = 0;
}

/* The name in the tar. */
static const char *name_of(const struct walk *walk, const char *path, bool is_directory, char name[2 * PATH_MAX]) {
    size_t length = 0;
    if (walk->name != NULL) {
        length = strlen(walk->name);
        memcpy(name, walk->name, length);
        if (path[0] != 0) name[length++] = '/';
    }
    size_t rest = strlen(path);
    memcpy(name + length, path, rest);
    length += rest;
    if (is_directory) name[length++] = '/';
    name[length] = 0;
    return name;
}

/* ---- attributes ---- */

/* Not for others to see: what overlayfs and the host's security modules note, and what no tar can carry to another host. */
static bool is_private(const char *name) {
    if (mark_is_overlay_xattr(name)) return true;
    if (strncmp(name, "security.", 9) == 0) return strcmp(name, "security.capability") != 0;
    return strncmp(name, "system.", 7) == 0 && strncmp(name, "system.posix_acl_", 17) != 0;
}

/* With `fd` -1 of `leaf` in the current directory. */
static int read_xattrs(struct walk *walk, int fd, const char *leaf, bool is_directory, enum mark *mark, struct failure *failure) {
    static char names[64 * 1024 + 1], value[64 * 1024];
    walk->xattrs_length = 0;
    *mark = MARK_NONE;
    ssize_t length = fd >= 0 ? flistxattr(fd, names, sizeof names - 1) : llistxattr(leaf, names, sizeof names - 1);
    if (length <= 0) return 0; /* a file system without */
    names[length] = 0;
    for (const char *name = names; name < names + length; name += strlen(name) + 1) {
        bool is_mark = walk->layer && mark_is_overlay_xattr(name);
        if (!is_mark && is_private(name)) continue;
        ssize_t n = fd >= 0 ? fgetxattr(fd, name, value, sizeof value) : lgetxattr(leaf, name, value, sizeof value);
        if (n < 0) continue; /* removed meanwhile */
        if (is_mark) {
            enum mark found = mark_of_xattr(name, value, (size_t)n, is_directory, walk->user_marks);
            if (found > *mark) *mark = found;
            continue;
        }
        size_t name_length = strlen(name) + 1;
        uint32_t value_length = (uint32_t)n;
        if (walk->xattrs_length + name_length + sizeof value_length + value_length > sizeof walk->xattrs)
            return fail(failure, FAIL_TAR, "\"%.600s\" has too many extended attributes", walk->path);
        uint8_t *at = walk->xattrs + walk->xattrs_length;
        memcpy(at, name, name_length);
        memcpy(at + name_length, &value_length, sizeof value_length);
        memcpy(at + name_length + sizeof value_length, value, value_length);
        walk->xattrs_length += name_length + sizeof value_length + value_length;
    }
    if (*mark == MARK_MOVED)
        return fail(failure, FAIL_TAR, "\"%.600s\" was moved by overlay itself: its content lies in a layer below", walk->path);
    return 0;
}

static struct member member_of(const struct walk *walk, const struct stat *st, char type) {
    struct member member = {.type = type, .mode = st->st_mode & 07777, .uid = st->st_uid, .gid = st->st_gid, .mtime = st->st_mtim};
    if (walk->map_owner) member.uid = walk->uid, member.gid = walk->gid;
    if (walk->has_clamp && member.mtime.tv_sec >= walk->clamp) member.mtime = (struct timespec){.tv_sec = walk->clamp};
    member.subsecond = walk->subsecond;
    member.xattrs = walk->xattrs, member.xattrs_length = walk->xattrs_length;
    return member;
}

/* ---- entries ---- */

static int write_directory(struct directory *directory, size_t path_length, struct failure *failure);

/* Before the first entry in it. */
static int write_above(struct directory *directory, struct failure *failure) {
    if (directory == NULL || directory->is_written) return 0;
    const char *path = directory->walk->path, *slash = strrchr(path, '/');
    return write_directory(directory, slash == NULL ? 0 : (size_t)(slash - path), failure);
}

static int write_member(struct walk *walk, struct member *member, const char *path, struct failure *failure) {
    static char name[2 * PATH_MAX];
    member->name = name_of(walk, path, member->type == '5', name);
    walk->entries++;
    return header_write(walk->output, member, failure);
}

/* `.wh.` in front of the last part of the path. */
static int write_marker(struct walk *walk, const struct stat *st, const char *directory, const char *prefix, const char *leaf, struct failure *failure) {
    char path[PATH_MAX + 16];
    struct member member = member_of(walk, st, '0');
    int length = snprintf(path, sizeof path, "%s%s%s%s", directory, directory[0] == 0 ? "" : "/", prefix, leaf);
    if (length < 0 || (size_t)length >= PATH_MAX) return fail(failure, FAIL_TAR, "\"%.200s...\": the path is too long for a tar", path);
    member.mode = 0600, member.uid = member.gid = 0, member.xattrs_length = 0;
    return write_member(walk, &member, path, failure);
}

/* The path of this directory is the first `path_length` bytes of the one that the walk is at. */
static int write_directory(struct directory *directory, size_t path_length, struct failure *failure) {
    struct walk *walk = directory->walk;
    if (directory->is_written) return 0;
    char *slash = path_length == 0 ? NULL : memrchr(walk->path, '/', path_length);
    if (directory->above != NULL && write_directory(directory->above, slash == NULL ? 0 : (size_t)(slash - walk->path), failure) < 0) return -1;
    directory->is_written = true;
    const struct stat *st = &directory->st;
    bool is_root = path_length == 0 && walk->name == NULL;
    /* The engine makes an upper directory like this: nothing to say of it. */
    bool is_plain = !walk->layer || ((st->st_mode & 07777) == 0755 && st->st_uid == 0 && st->st_gid == 0);
    if (is_root && is_plain) return 0;
    struct member member = member_of(walk, st, '5');
    member.xattrs = directory->xattrs, member.xattrs_length = directory->xattrs_length;
    const char cut = walk->path[path_length];
    walk->path[path_length] = 0;
    int result = write_member(walk, &member, is_root ? "." : walk->path, failure);
    if (result == 0 && directory->has_opaque) result = write_marker(walk, st, walk->path, "", OPAQUE_MARKER, failure);
    walk->path[path_length] = cut;
    if (is_root) walk->has_root = true;
    return result;
}

/* In the directory of the path, which is `above`. */
static int write_whiteout(struct walk *walk, struct directory *above, const struct stat *st, const char *leaf, struct failure *failure) {
    if (write_above(above, failure) < 0) return -1;
    char *slash = strrchr(walk->path, '/');
    if (slash != NULL) *slash = 0;
    int result = write_marker(walk, st, slash == NULL ? "" : walk->path, WHITEOUT_PREFIX, leaf, failure);
    if (slash != NULL) *slash = '/';
    return result;
}

static int write_file(struct walk *walk, struct directory *above, int fd, const struct stat *st, struct failure *failure) {
    static struct holes holes;
    struct member member = member_of(walk, st, '0');
    const char *first = st->st_nlink > 1 ? links_find(&walk->links, st, walk->path, failure) : NULL;
    if (failure->kind != FAIL_NONE || write_above(above, failure) < 0) return -1;
    if (first != NULL) {
        char target[2 * PATH_MAX];
        member.type = '1', member.link = name_of(walk, first, false, target), member.xattrs_length = 0;
        return write_member(walk, &member, walk->path, failure);
    }
    member.size = (uint64_t)st->st_size;
    bool may_have_holes = (uint64_t)st->st_blocks * 512 < member.size && member.size >= 1024 * 1024;
    if (may_have_holes && holes_find(fd, member.size, &holes)) {
        member.sparse = true, member.real_size = member.size;
        member.size = holes.data + holes_map_length(&holes, member.real_size);
        if (write_member(walk, &member, walk->path, failure) < 0) return -1;
        return holes_write(walk->output, fd, &holes, member.real_size, walk->path, failure);
    }
    if (write_member(walk, &member, walk->path, failure) < 0) return -1;
    return content_write(walk->output, fd, member.size, walk->path, failure);
}

static int take_file(struct walk *walk, struct directory *above, int parent, const char *leaf, struct failure *failure) {
    struct stat st;
    enum mark mark;
    /* Not to wait for the other end, should it be a FIFO by now. */
    const int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    int fd = openat(parent, leaf, flags);
    if (fd < 0) return is_gone(errno) ? 0 : fail_errno(failure, errno, "open", walk->path);
    int result = fstat(fd, &st) < 0 ? fail_errno(failure, errno, "stat", walk->path) : 0;
    if (result == 0 && S_ISREG(st.st_mode)) {
        result = read_xattrs(walk, fd, NULL, false, &mark, failure);
        bool is_whiteout = mark == MARK_WHITEOUT && st.st_size == 0;
        if (result == 0) result = is_whiteout ? write_whiteout(walk, above, &st, leaf, failure) : write_file(walk, above, fd, &st, failure);
    }
    close(fd);
    return result;
}

static int take_special(struct walk *walk, struct directory *above, int parent, const char *leaf, const struct stat *st, struct failure *failure) {
    char link[PATH_MAX], target[2 * PATH_MAX];
    enum mark mark;
    struct member member = member_of(walk, st, S_ISLNK(st->st_mode) ? '2' : S_ISCHR(st->st_mode) ? '3' : S_ISBLK(st->st_mode) ? '4' : '6');
    member.xattrs_length = 0;
    if (S_ISLNK(st->st_mode)) {
        ssize_t length = readlinkat(parent, leaf, link, sizeof link - 1);
        if (length < 0) return is_gone(errno) || errno == EINVAL ? 0 : fail_errno(failure, errno, "read the link", walk->path);
        link[length] = 0;
        member.link = link, member.mode = 0777;
    } else {
        member.major = major(st->st_rdev), member.minor = minor(st->st_rdev);
        if (fchdir(parent) < 0) return fail_errno(failure, errno, "enter the directory of", walk->path);
        if (read_xattrs(walk, -1, leaf, false, &mark, failure) < 0) return -1;
        member.xattrs_length = walk->xattrs_length;
    }
    if (write_above(above, failure) < 0) return -1;
    const char *first = st->st_nlink > 1 ? links_find(&walk->links, st, walk->path, failure) : NULL;
    if (failure->kind != FAIL_NONE) return -1;
    if (first != NULL) member.type = '1', member.link = name_of(walk, first, false, target), member.xattrs_length = 0;
    return write_member(walk, &member, walk->path, failure);
}

static int take_directory(struct walk *walk, struct directory *above, int fd, struct failure *failure);

static bool is_excluded(const struct walk *walk) {
    for (size_t i = 0; i < walk->excluded_count; i++)
        if (strcmp(walk->excluded[i], walk->path) == 0) return true;
    return false;
}

static int take(struct walk *walk, struct directory *above, int parent, const char *leaf, struct failure *failure) {
    struct stat st;
    if (is_excluded(walk)) return above->has_excluded = true, 0;
    if (fstatat(parent, leaf, &st, AT_SYMLINK_NOFOLLOW) < 0) return is_gone(errno) ? 0 : fail_errno(failure, errno, "stat", walk->path);
    if (S_ISDIR(st.st_mode)) {
        int fd = openat(parent, leaf, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0) return is_gone(errno) ? 0 : fail_errno(failure, errno, "open", walk->path);
        return take_directory(walk, above, fd, failure);
    }
    if (walk->layer && S_ISCHR(st.st_mode) && st.st_rdev == makedev(0, 0)) return write_whiteout(walk, above, &st, leaf, failure);
    if (walk->layer && strncmp(leaf, WHITEOUT_PREFIX, strlen(WHITEOUT_PREFIX)) == 0)
        return fail(failure, FAIL_TAR, "\"%.600s\" cannot be in a layer: there this name means a deletion", walk->path);
    /* A socket is its process's. */
    if (S_ISSOCK(st.st_mode)) return walk->skipped++, 0;
    return S_ISREG(st.st_mode) ? take_file(walk, above, parent, leaf, failure) : take_special(walk, above, parent, leaf, &st, failure);
}

/*
 * Of a directory in which there are only places to mount on: it was made for those, or, where the layers below have it, copied
 * up for those. Then only another owner or mode is a change.
 */
static bool differs_from_below(const struct directory *directory) {
    const struct walk *walk = directory->walk;
    struct stat below;
    if (walk->below == 0) return false;
    int fd = root_open(walk->below, walk->path_length == 0 ? "." : walk->path, O_PATH | O_NOFOLLOW, TR_RESOLVE_BENEATH | TR_RESOLVE_NO_SYMLINKS);
    if (fd < 0) return false;
    bool is_known = fstat(fd, &below) == 0 && S_ISDIR(below.st_mode);
    close(fd);
    const struct stat *st = &directory->st;
    return is_known && walk->path_length > 0 && (st->st_mode != below.st_mode || st->st_uid != below.st_uid || st->st_gid != below.st_gid);
}

/* Closes `fd`. */
static int take_directory(struct walk *walk, struct directory *above, int fd, struct failure *failure) {
    struct directory directory = {.walk = walk, .above = above, .fd = fd};
    struct names names = {0};
    enum mark mark = MARK_NONE;
    size_t length = walk->path_length;
    int result = fstat(fd, &directory.st) < 0 ? fail_errno(failure, errno, "stat", walk->path) : 0;
    if (result == 0) result = read_xattrs(walk, fd, NULL, true, &mark, failure);
    if (result == 0 && walk->xattrs_length > 0) {
        if ((directory.xattrs = malloc(walk->xattrs_length)) == NULL) result = fail(failure, FAIL_IO, "out of memory");
        else memcpy(directory.xattrs, walk->xattrs, directory.xattrs_length = walk->xattrs_length);
    }
    directory.has_opaque = mark == MARK_OPAQUE;
    if (result == 0) result = read_names(fd, &names, walk->path, failure);
    for (size_t i = 0; result == 0 && i < names.count; i++) {
        result = path_push(walk, names.sorted[i], failure);
        if (result == 0) result = take(walk, &directory, fd, names.sorted[i], failure);
        path_cut(walk, length);
    }
    bool is_wanted = !directory.has_excluded || directory.has_opaque || differs_from_below(&directory);
    if (result == 0 && is_wanted) result = write_directory(&directory, length, failure);
    if (above != NULL && !directory.is_written) above->has_excluded = true;
    free(directory.xattrs);
    free(names.bytes);
    free(names.sorted);
    close(fd);
    return result;
}

int walk_tree(struct walk *walk, int root, struct failure *failure) {
    return take_directory(walk, NULL, root, failure);
}

int walk_one(struct walk *walk, int parent, const char *leaf, struct failure *failure) {
    struct directory nothing = {.walk = walk, .is_written = true};
    const char *name = walk->name == NULL ? leaf : walk->name;
    walk->name = NULL;
    return path_push(walk, name, failure) < 0 ? -1 : take(walk, &nothing, parent, leaf, failure);
}
