/*
 * Directories are made at once and finished at the end, because what lies in them changes them and they change it: entries
 * move their mtime, a setgid bit or a default ACL would be inherited by every file made inside.
 */
#include "extract.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define INHERITED (S_ISUID | S_ISGID)

/* Followed by the path, its NUL, the ACL, and zeros to a multiple of 8. */
struct late {
    struct timespec mtime;
    uint32_t mode;
    uint32_t path_length;
    uint32_t acl_length;
    bool has_mode, has_acl;
};

static size_t size_of(const struct late *late) {
    return (sizeof *late + late->path_length + 1 + late->acl_length + 7) & ~(size_t)7;
}

static int remember(struct extractor *extractor, const char *path, const struct entry *entry, bool with_mode, struct failure *failure) {
    struct late_list *list = &extractor->late;
    struct late late = {.mtime = entry->mtime, .mode = entry->mode, .path_length = (uint32_t)strlen(path), .has_mode = with_mode};
    const struct xattr *acl = NULL;
    for (size_t i = 0; i < entry->xattr_count; i++)
        if (xattr_is_late(&entry->xattrs[i])) acl = &entry->xattrs[i];
    if (acl != NULL) late.has_acl = true, late.acl_length = (uint32_t)acl->length;
    size_t size = size_of(&late);
    if (list->capacity - list->length < size) {
        size_t capacity = 2 * (list->capacity + size) + 64 * 1024;
        char *bytes = realloc(list->bytes, capacity);
        if (bytes == NULL) return fail(failure, FAIL_IO, "out of memory");
        list->bytes = bytes, list->capacity = capacity;
    }
    char *at = list->bytes + list->length;
    memset(at, 0, size);
    memcpy(at, &late, sizeof late);
    memcpy(at + sizeof late, path, late.path_length);
    if (acl != NULL) memcpy(at + sizeof late + late.path_length + 1, acl->value, acl->length);
    list->length += size;
    return 0;
}

static int finish(struct extractor *extractor, const struct late *late, struct failure *failure) {
    const char *path = (const char *)(late + 1);
    struct timespec times[2] = {late->mtime, late->mtime};
    struct stat st;
    /* Later entries may have put something else there, which has its own times. */
    if (extractor->replaced && (fstatat(extractor->root, path, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode))) return 0;
    if (late->has_mode && fchmodat(extractor->root, path, late->mode, 0) < 0) return fail_errno(failure, errno, "chmod", path);
    struct xattr acl = {"system.posix_acl_default", (const uint8_t *)path + late->path_length + 1, late->acl_length};
    if (late->has_acl && xattr_set(extractor, -1, path, &acl, failure) < 0) return -1;
    if (utimensat(extractor->root, path, times, AT_SYMLINK_NOFOLLOW) < 0) return fail_errno(failure, errno, "set the time of", path);
    return 0;
}

/* In the order of the archive, so that of two entries for one directory the later holds. The time of a directory does not
   depend on those of its children: any order of depth is right. */
int directory_finish_all(struct extractor *extractor, struct failure *failure) {
    struct late_list *list = &extractor->late;
    for (size_t at = 0; at < list->length;) {
        const struct late *late = (const struct late *)(list->bytes + at);
        if (finish(extractor, late, failure) < 0) return -1;
        at += size_of(late);
    }
    return 0;
}

/* A directory over a directory takes the attributes of the later entry and keeps what is inside. */
static int merge(struct extractor *extractor, const struct place *place, const struct entry *entry, struct failure *failure) {
    if (fchownat(extractor->root, place->path, entry->uid, entry->gid, AT_SYMLINK_NOFOLLOW) < 0)
        return fail_errno(failure, errno, "chown", place->path);
    if (fchmodat(place->parent, place->leaf, entry->mode & ~INHERITED & 07777, 0) < 0)
        return fail_errno(failure, errno, "chmod", place->path);
    if (xattr_apply(extractor, -1, place->path, entry, failure) < 0) return -1;
    return remember(extractor, place->path, entry, true, failure);
}

int directory_make(struct extractor *extractor, const struct place *place, const struct entry *entry, struct failure *failure) {
    struct stat st;
    bool opaque = false;
    /* mkdir takes permission bits and the sticky bit only. */
    while (mkdirat(place->parent, place->leaf, entry->mode & 01777) < 0) {
        if (errno != EEXIST) return fail_errno(failure, errno, "make directory", place->path);
        if (fstatat(place->parent, place->leaf, &st, AT_SYMLINK_NOFOLLOW) < 0) return fail_errno(failure, errno, "stat", place->path);
        if (S_ISDIR(st.st_mode)) return merge(extractor, place, entry, failure);
        /* What was here hid the directory of the layers below: so must this. */
        opaque = true;
        if (replace_existing(extractor, place, failure) < 0) return -1;
    }
    bool foreign = entry->uid != extractor->uid || entry->gid != extractor->gid;
    if (foreign && fchownat(place->parent, place->leaf, entry->uid, entry->gid, AT_SYMLINK_NOFOLLOW) < 0)
        return fail_errno(failure, errno, "chown", place->path);
    if (opaque && whiteout_make_opaque(extractor, place->path, failure) < 0) return -1;
    if (entry->xattr_count > 0 && xattr_apply(extractor, -1, place->path, entry, failure) < 0) return -1;
    return remember(extractor, place->path, entry, (entry->mode & INHERITED) != 0, failure);
}

/* The entry "./": the layer's root itself, which is there. */
int directory_root(struct extractor *extractor, const struct entry *entry, struct failure *failure) {
    if (entry->type != '5') return fail(failure, FAIL_TAR, "the entry for the root is not a directory");
    struct place place = {.parent = extractor->root, .leaf = ".", .path = "."};
    return merge(extractor, &place, entry, failure);
}
