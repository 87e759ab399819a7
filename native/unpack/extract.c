/*
 * Entries become files. Speed is few system calls: a file of another layer's size costs open, write, futimens and close;
 * chown and chmod only where creating it did not already give what the archive says (umask is 0, the mode goes to open).
 */
#include "extract.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* Owner first: chown takes setuid bits away, and writing takes away both those and capabilities. */
int metadata_apply(struct extractor *extractor, const struct place *place, const struct entry *entry, struct failure *failure) {
    bool foreign = entry->uid != extractor->uid || entry->gid != extractor->gid;
    struct timespec times[2] = {entry->mtime, entry->mtime};
    if (foreign && fchownat(place->parent, place->leaf, entry->uid, entry->gid, AT_SYMLINK_NOFOLLOW) < 0)
        return fail_errno(failure, errno, "chown", place->path);
    if (entry->type != '2' && (entry->mode & 07000) != 0 && fchmodat(place->parent, place->leaf, entry->mode, 0) < 0)
        return fail_errno(failure, errno, "chmod", place->path);
    if (entry->xattr_count > 0 && xattr_apply(extractor, -1, place->path, entry, failure) < 0) return -1;
    if (utimensat(place->parent, place->leaf, times, AT_SYMLINK_NOFOLLOW) < 0)
        return fail_errno(failure, errno, "set the time of", place->path);
    return 0;
}

static int begin_file(struct extractor *extractor, const struct place *place, const struct entry *entry, struct failure *failure) {
    const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    while ((extractor->fd = openat(place->parent, place->leaf, flags, entry->mode)) < 0) {
        if (errno != EEXIST) return fail_errno(failure, errno, "create", place->path);
        if (replace_existing(extractor, place, failure) < 0) return -1;
    }
    extractor->entry = *entry;
    return 0;
}

static int end_file(struct extractor *extractor, struct failure *failure) {
    const struct entry *entry = &extractor->entry;
    int fd = extractor->fd;
    bool foreign = entry->uid != extractor->uid || entry->gid != extractor->gid;
    const struct timespec times[2] = {entry->mtime, entry->mtime};
    if (entry->sparse && ftruncate(fd, (off_t)entry->size) < 0) return fail_errno(failure, errno, "set the size of", extractor->path);
    if (foreign && fchown(fd, entry->uid, entry->gid) < 0) return fail_errno(failure, errno, "chown", extractor->path);
    if (foreign && (entry->mode & 06000) != 0 && fchmod(fd, entry->mode) < 0) return fail_errno(failure, errno, "chmod", extractor->path);
    if (entry->xattr_count > 0 && xattr_apply(extractor, fd, extractor->path, entry, failure) < 0) return -1;
    if (futimens(fd, times) < 0) return fail_errno(failure, errno, "set the time of", extractor->path);
    extractor->fd = -1;
    /* Where the quota is on a server the write fails here. */
    if (close(fd) < 0) return fail_errno(failure, errno, "write", extractor->path);
    return 0;
}

static int make_special(const struct place *place, const struct entry *entry) {
    static const mode_t TYPE[] = {['3'] = S_IFCHR, ['4'] = S_IFBLK, ['6'] = S_IFIFO};
    if (entry->type == '2') return symlinkat(entry->link, place->parent, place->leaf);
    dev_t device = entry->type == '6' ? 0 : makedev(entry->major, entry->minor);
    return mknodat(place->parent, place->leaf, TYPE[(unsigned char)entry->type] | (entry->mode & 0777), device);
}

static int symlink_device_or_fifo(struct extractor *extractor, const struct place *place, const struct entry *entry, struct failure *failure) {
    if (entry->type == '2' && entry->link[0] == 0) return fail(failure, FAIL_TAR, "the symlink \"%.600s\" points to nothing", place->path);
    if (entry->type == '2' && strlen(entry->link) >= PATH_MAX)
        return fail(failure, FAIL_TAR, "the target of the symlink \"%.600s\" is too long", place->path);
    while (make_special(place, entry) < 0) {
        if (errno != EEXIST) return fail_errno(failure, errno, "create", place->path);
        if (replace_existing(extractor, place, failure) < 0) return -1;
    }
    return metadata_apply(extractor, place, entry, failure);
}

static bool is_same(const struct place *place, int target_parent, const char *target_leaf) {
    struct stat a, b;
    return fstatat(place->parent, place->leaf, &a, AT_SYMLINK_NOFOLLOW) == 0 &&
           fstatat(target_parent, target_leaf, &b, AT_SYMLINK_NOFOLLOW) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* linkat, replacing what is there; 0 or errno. A link to itself (also by another way) is there already. */
static int link_over(struct extractor *extractor, const struct place *place, int parent, const char *leaf, struct failure *failure) {
    while (linkat(parent, leaf, place->parent, place->leaf, 0) < 0) {
        if (errno != EEXIST) return errno;
        if (is_same(place, parent, leaf)) return 0;
        if (replace_existing(extractor, place, failure) < 0) return EEXIST;
    }
    return 0;
}

/* 1: the target is not in this layer. */
static int link_to(struct extractor *extractor, const struct place *place, const char *target, struct failure *failure) {
    size_t length;
    const char *leaf;
    struct stat st;
    bool owned;
    path_split(target, &length, &leaf);
    int parent = path_find_directory(extractor, target, length, &owned);
    if (parent < 0 && (errno == ENOENT || errno == ENOTDIR)) return 1;
    if (parent < 0) return fail_errno(failure, errno, "open the directory of", target);
    bool deleted = extractor->has_whiteouts && fstatat(parent, leaf, &st, AT_SYMLINK_NOFOLLOW) == 0 && is_whiteout(&st);
    int error = deleted ? 0 : link_over(extractor, place, parent, leaf, failure);
    if (owned) close(parent);
    if (deleted) return fail(failure, FAIL_TAR, "\"%.400s\" is a hard link to \"%.400s\", which this layer deletes", place->path, target);
    if (error == ENOENT) return 1;
    if (error == EPERM) return fail(failure, FAIL_TAR, "\"%.400s\" is a hard link to \"%.400s\", which is a directory", place->path, target);
    return error == 0 ? 0 : fail_errno(failure, error, "link", place->path);
}

static int hard_link(struct extractor *extractor, const struct place *place, const struct entry *entry, struct failure *failure) {
    char target[PATH_MAX];
    if (path_normalise(entry->link, target, failure) < 0) return -1;
    if (target[0] == 0) return fail(failure, FAIL_TAR, "\"%.600s\" is a hard link to the root", place->path);
    int result = link_to(extractor, place, target, failure);
    if (result <= 0) return result;
    result = lower_copy_up(extractor, target, failure);
    if (result == 0) result = link_to(extractor, place, target, failure);
    if (result <= 0) return result;
    memcpy(failure->path, target, sizeof target);
    return fail(failure, FAIL_NEEDS_LOWER, "\"%.400s\" is a hard link to \"%.400s\", which this layer does not have", place->path, target);
}

static int make(struct extractor *extractor, const struct place *place, const struct entry *entry, struct failure *failure) {
    switch (entry->type) {
    case '0':
        return begin_file(extractor, place, entry, failure);
    case '1':
        return hard_link(extractor, place, entry, failure);
    case '5':
        return directory_make(extractor, place, entry, failure);
    default:
        return symlink_device_or_fifo(extractor, place, entry, failure);
    }
}

static int begin_copy(struct extractor *extractor, const struct entry *from, struct failure *failure) {
    struct place place;
    const struct entry entry = copy_entry(extractor->copy, from);
    if (extractor->path[0] == 0) return 0; /* the directory itself, which is there */
    if (path_place(extractor, extractor->path, &place, failure) < 0) return -1;
    if (copy_check(&place, &entry, failure) < 0) return -1;
    return make(extractor, &place, &entry, failure);
}

static int begin(void *context, const struct entry *entry, struct failure *failure) {
    struct extractor *extractor = context;
    struct place place;
    extractor->fd = -1;
    if (path_normalise(entry->name, extractor->path, failure) < 0) return -1;
    if (extractor->copy != NULL) return begin_copy(extractor, entry, failure);
    if (extractor->path[0] == 0) return directory_root(extractor, entry, failure);
    enum whiteout whiteout = extractor->plain ? WHITEOUT_NONE : whiteout_classify(extractor->path, failure);
    if (failure->kind != FAIL_NONE) return -1;
    if (whiteout == WHITEOUT_SKIP) return 0;
    if (whiteout == WHITEOUT_ENTRY) return whiteout_make(extractor, extractor->path, failure);
    if (path_place(extractor, extractor->path, &place, failure) < 0) return -1;
    if (whiteout == WHITEOUT_OPAQUE) {
        /* The marker's name goes, with the slash before it. */
        extractor->path[place.leaf == extractor->path ? 0 : place.leaf - extractor->path - 1] = 0;
        return whiteout_make_opaque(extractor, extractor->path, failure);
    }
    return make(extractor, &place, entry, failure);
}

static int data(void *context, uint64_t offset, const uint8_t *bytes, size_t length, struct failure *failure) {
    struct extractor *extractor = context;
    if (extractor->fd < 0) return 0; /* content of a marker */
    while (length > 0) {
        ssize_t n = pwrite(extractor->fd, bytes, length, (off_t)offset);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail_errno(failure, errno, "write", extractor->path);
        bytes += n, offset += (uint64_t)n, length -= (size_t)n;
    }
    return 0;
}

static int end(void *context, struct failure *failure) {
    struct extractor *extractor = context;
    return extractor->fd < 0 ? 0 : end_file(extractor, failure);
}

struct sink extract_sink(struct extractor *extractor) {
    return (struct sink){.context = extractor, .begin = begin, .data = data, .end = end};
}

/* A layer that has no entry for its root. */
static int open_layer(struct extractor *extractor, struct failure *failure) {
    extractor->root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (extractor->root >= 0 && fchown(extractor->root, 0, 0) == 0 && fchmod(extractor->root, 0755) == 0) return 0;
    return fail_errno(failure, errno, "prepare", "layer directory");
}

struct extractor *extract_open(const struct lower *lower, const char *opaque_xattr, const struct copy *copy, struct failure *failure) {
    struct extractor *extractor = calloc(1, sizeof *extractor);
    if (extractor != NULL) extractor->parents = calloc(PARENT_SLOTS, sizeof *extractor->parents);
    if (extractor == NULL || extractor->parents == NULL) {
        free(extractor);
        fail(failure, FAIL_IO, "out of memory");
        return NULL;
    }
    for (int i = 0; i < PARENT_SLOTS; i++) extractor->parents[i].fd = -1;
    extractor->lower = *lower;
    extractor->opaque_xattr = opaque_xattr;
    extractor->uid = geteuid(), extractor->gid = getegid();
    extractor->fd = -1;
    extractor->copy = copy;
    if (copy == NULL) open_layer(extractor, failure);
    else copy_open(extractor, failure);
    return extractor;
}

void extract_plain(struct extractor *extractor, bool plain) {
    extractor->plain = plain;
}

int extract_finish(struct extractor *extractor, struct failure *failure) {
    return directory_finish_all(extractor, failure);
}

void extract_totals(const struct extractor *extractor, struct totals *totals) {
    totals->implicit = extractor->totals.implicit;
    totals->skipped_xattrs = extractor->totals.skipped_xattrs;
    totals->opaque_root = extractor->totals.opaque_root;
}

void extract_close(struct extractor *extractor) {
    for (int i = 0; i < PARENT_SLOTS; i++)
        if (extractor->parents[i].fd >= 0) close(extractor->parents[i].fd);
    if (extractor->root >= 0) close(extractor->root);
    free(extractor->late.bytes);
    free(extractor->parents);
    free(extractor);
}
