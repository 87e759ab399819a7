/*
 * Is a layer's directory still what its blob says? Entries are compared with files instead of becoming files, in the same
 * sandbox, and nothing is written. The tree itself resolves the paths, so links in them mean what they meant when it
 * was made. Of two entries for one place the later holds: a difference is noted, and forgotten when a later entry
 * explains it.
 */
#include "verify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#define NOTE(...) damage_note(verifier, verifier->path, NULL, failure, __VA_ARGS__)

static const char *name_of(mode_t type) {
    switch (type & S_IFMT) {
    case S_IFREG: return "a file";
    case S_IFDIR: return "a directory";
    case S_IFLNK: return "a symlink";
    case S_IFCHR: return "a character device";
    case S_IFBLK: return "a block device";
    case S_IFIFO: return "a fifo";
    default: return "a socket";
    }
}

static mode_t type_of(char type) {
    static const mode_t TYPE[] = {['0'] = S_IFREG, ['2'] = S_IFLNK, ['3'] = S_IFCHR, ['4'] = S_IFBLK, ['5'] = S_IFDIR, ['6'] = S_IFIFO};
    return TYPE[(unsigned char)type];
}

/* The directory of a path: the entry before mostly was in the same. */
static int parent_of(struct verifier *verifier, const char *path, const char **leaf) {
    size_t length;
    path_split(path, &length, leaf);
    if (verifier->parent >= 0 && length == verifier->parent_length && memcmp(verifier->parent_path, path, length) == 0)
        return verifier->parent;
    if (verifier->parent >= 0) close(verifier->parent);
    memcpy(verifier->parent_path, path, length);
    verifier->parent_path[length] = 0;
    verifier->parent_length = length;
    verifier->parent = path_open(verifier->root, length == 0 ? "." : verifier->parent_path, O_PATH | O_DIRECTORY);
    return verifier->parent;
}

/* 1: there is nothing. */
static int look(struct verifier *verifier, const char *path, int *parent, const char **leaf, struct stat *st, struct failure *failure) {
    if ((*parent = parent_of(verifier, path, leaf)) >= 0 && fstatat(*parent, *leaf, st, AT_SYMLINK_NOFOLLOW) == 0) return 0;
    if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP) return 1;
    return fail_errno(failure, errno, "stat", path);
}

/* File systems cut off what they cannot store: fractions, and years far from ours. And a layer that was made here may have
   more of a time than its archive, which mostly has whole seconds. */
static bool is_time(const struct timespec *want, const struct timespec *found) {
    if (want->tv_sec < INT32_MIN || want->tv_sec > UINT32_MAX) return true;
    return want->tv_sec == found->tv_sec && (want->tv_nsec == found->tv_nsec || want->tv_nsec == 0 || found->tv_nsec == 0);
}

static bool has_attribute(const struct entry *entry, const char *name) {
    for (size_t i = 0; i < entry->xattr_count; i++)
        if (strcmp(entry->xattrs[i].name, name) == 0) return true;
    return false;
}

/* Not the archive's: attributes of the host's security modules, and overlayfs' own, which a layer has that was the upper
   directory of a build's step. But not those by which a file would show the content of another. */
static bool is_of_the_host(const char *name) {
    static const char *const MARKS[] = {"opaque", "origin", "impure", "nlink", "uuid"};
    static const char *const PREFIXES[] = {"trusted.overlay.", "user.overlay."};
    for (size_t i = 0; i < 2; i++)
        for (size_t j = 0; j < sizeof MARKS / sizeof *MARKS; j++)
            if (strncmp(name, PREFIXES[i], strlen(PREFIXES[i])) == 0 && strcmp(name + strlen(PREFIXES[i]), MARKS[j]) == 0) return true;
    return strncmp(name, "security.", 9) == 0 && strcmp(name, "security.capability") != 0;
}

static int compare_attributes(struct verifier *verifier, const struct entry *entry, struct failure *failure) {
    static char names[64 * 1024], value[64 * 1024];
    const char *path = verifier->path[0] == 0 ? "." : verifier->path;
    for (size_t i = 0; i < entry->xattr_count; i++) {
        const struct xattr *want = &entry->xattrs[i];
        if (xattr_is_refused(want->name)) continue;
        ssize_t n = lgetxattr(path, want->name, value, sizeof value);
        /* Not for this file system, this kind of file or this user namespace: it was passed over when the layer was made. */
        if (n < 0 && (errno == EOPNOTSUPP || errno == EPERM || (entry->type != '0' && entry->type != '5'))) continue;
        if (n < 0 && errno == ENODATA) {
            if (NOTE("lacks the attribute %.100s", want->name) < 0) return -1;
        } else if (n < 0 || (size_t)n != want->length || memcmp(value, want->value, want->length) != 0) {
            if (NOTE("has another value of the attribute %.100s", want->name) < 0) return -1;
        }
    }
    ssize_t length = llistxattr(path, names, sizeof names);
    for (ssize_t at = 0; at < length; at += (ssize_t)strlen(names + at) + 1)
        if (!is_of_the_host(names + at) && !has_attribute(entry, names + at) && NOTE("has the attribute %.100s", names + at) < 0) return -1;
    return 0;
}

static int compare_metadata(struct verifier *verifier, const struct entry *entry, const struct stat *st, struct failure *failure) {
    /* An ACL takes the place of the group's bits. */
    mode_t bits = has_attribute(entry, "system.posix_acl_access") ? 07707 : 07777;
    if (entry->type != '2' && (st->st_mode & bits) != (entry->mode & bits))
        return NOTE("has the mode %04o, expected %04o", (unsigned)(st->st_mode & 07777), entry->mode);
    if (st->st_uid != entry->uid || st->st_gid != entry->gid)
        return NOTE("belongs to %u:%u, expected %u:%u", st->st_uid, st->st_gid, entry->uid, entry->gid);
    if ((entry->type == '3' || entry->type == '4') && st->st_rdev != makedev(entry->major, entry->minor))
        return NOTE("is the device %u:%u, expected %u:%u", major(st->st_rdev), minor(st->st_rdev), entry->major, entry->minor);
    if (!is_time(&entry->mtime, &st->st_mtim))
        return NOTE("was changed at %lld, expected %lld", (long long)st->st_mtim.tv_sec, (long long)entry->mtime.tv_sec);
    return compare_attributes(verifier, entry, failure);
}

static int compare_symlink(struct verifier *verifier, int parent, const char *leaf, const struct entry *entry, struct failure *failure) {
    char target[PATH_MAX + 1];
    ssize_t n = readlinkat(parent, leaf, target, sizeof target);
    if (n < 0) return fail_errno(failure, errno, "read link", verifier->path);
    if ((size_t)n == strlen(entry->link) && memcmp(target, entry->link, (size_t)n) == 0) return 0;
    return NOTE("points to \"%.*s\", expected \"%.100s\"", (int)(n < 100 ? n : 100), target, entry->link);
}

static int begin_file(struct verifier *verifier, int parent, const char *leaf, const struct stat *st, struct failure *failure) {
    const struct entry *entry = &verifier->entry;
    if ((uint64_t)st->st_size != entry->size)
        return NOTE("has %lld bytes, expected %llu", (long long)st->st_size, (unsigned long long)entry->size);
    verifier->fd = openat(parent, leaf, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (verifier->fd < 0) return NOTE("cannot be opened: %s", strerror(errno));
    verifier->differs = false;
    verifier->compared = 0;
    return 0;
}

static int hard_link(struct verifier *verifier, const struct entry *entry, struct failure *failure) {
    char target[PATH_MAX];
    const char *leaf;
    struct stat st, other;
    int parent;
    if (path_normalise(entry->link, target, failure) < 0) return -1;
    int result = look(verifier, target, &parent, &leaf, &other, failure);
    if (result < 0) return -1;
    bool has_target = result == 0;
    if ((result = look(verifier, verifier->path, &parent, &leaf, &st, failure)) < 0) return -1;
    /* The target may be a copy from a layer below, which no entry names. */
    if (has_target && inodes_add(&verifier->seen, other.st_ino, failure) < 0) return -1;
    if (result == 1) return damage_note(verifier, verifier->path, target, failure, "is missing");
    if (inodes_add(&verifier->seen, st.st_ino, failure) < 0) return -1;
    if (has_target && st.st_dev == other.st_dev && st.st_ino == other.st_ino) return 0;
    return damage_note(verifier, verifier->path, target, failure, "is no hard link to \"%.100s\"", target);
}

static int ordinary(struct verifier *verifier, const struct entry *entry, struct failure *failure) {
    int parent;
    const char *leaf;
    struct stat st;
    int result = look(verifier, verifier->path[0] == 0 ? "." : verifier->path, &parent, &leaf, &st, failure);
    if (result != 0) return result < 0 ? -1 : NOTE("is missing");
    if (inodes_add(&verifier->seen, st.st_ino, failure) < 0) return -1;
    if ((st.st_mode & S_IFMT) != type_of(entry->type))
        return NOTE("is %s, expected %s", name_of(st.st_mode), name_of(type_of(entry->type)));
    if (compare_metadata(verifier, entry, &st, failure) < 0) return -1;
    if (entry->type == '2') return compare_symlink(verifier, parent, leaf, entry, failure);
    verifier->entry = *entry;
    return entry->type == '0' ? begin_file(verifier, parent, leaf, &st, failure) : 0;
}

/* `path` names what the layer deletes; an entry of this layer may stand there, or a directory that hides the deleted one. */
static int deleted(struct verifier *verifier, struct failure *failure) {
    int parent;
    const char *leaf;
    struct stat st;
    int result = look(verifier, verifier->path, &parent, &leaf, &st, failure);
    if (result != 0) return result < 0 ? -1 : NOTE("is not deleted any more");
    return is_whiteout(&st) ? inodes_add(&verifier->seen, st.st_ino, failure) : 0;
}

/* The marker may stand behind a symlink. */
static int opaque(struct verifier *verifier, struct failure *failure) {
    static const char *const NAMES[] = {"trusted.overlay.opaque", "user.overlay.opaque"};
    struct stat st;
    char value;
    bool hides = false;
    int fd = path_open(verifier->root, verifier->path[0] == 0 ? "." : verifier->path, O_RDONLY | O_DIRECTORY);
    if (fd < 0) return NOTE("is missing");
    if (fstat(fd, &st) < 0) fail_errno(failure, errno, "stat", verifier->path);
    for (int i = 0; i < 2; i++) hides = hides || (fgetxattr(fd, NAMES[i], &value, 1) == 1 && value == 'y');
    close(fd);
    if (failure->kind != FAIL_NONE || inodes_add(&verifier->seen, st.st_ino, failure) < 0) return -1;
    return hides ? 0 : NOTE("does not hide what is below it any more");
}

static uint64_t hash_of(const char *path) {
    uint64_t hash = 14695981039346656037ull;
    for (; *path != 0; path++) hash = (hash ^ (uint8_t)*path) * 1099511628211ull;
    return hash | 1;
}

/* A link that a later entry replaces took entries to places that nothing in the tree tells any more. */
static int watch_links(struct verifier *verifier, char type, struct failure *failure) {
    if (verifier->links.count == 0 && type != '2') return 0;
    uint64_t hash = hash_of(verifier->path);
    if (inodes_have(&verifier->links, hash)) verifier->rewired = true;
    return type == '2' ? inodes_add(&verifier->links, hash, failure) : 0;
}

static int begin(void *context, const struct entry *entry, struct failure *failure) {
    struct verifier *verifier = context;
    verifier->fd = -1;
    if (path_normalise(entry->name, verifier->path, failure) < 0) return -1;
    enum whiteout whiteout = whiteout_classify(verifier->path, failure);
    if (failure->kind != FAIL_NONE) return -1;
    if (whiteout == WHITEOUT_SKIP) return 0;
    char *slash = strrchr(verifier->path, '/'), *name = slash == NULL ? verifier->path : slash + 1;
    if (whiteout == WHITEOUT_OPAQUE) {
        *(slash == NULL ? name : slash) = 0;
        return opaque(verifier, failure);
    }
    if (whiteout == WHITEOUT_ENTRY) {
        memmove(name, name + 4, strlen(name + 4) + 1); /* .wh. */
        return deleted(verifier, failure);
    }
    if (watch_links(verifier, entry->type, failure) < 0) return -1;
    if (verifier->damage_count > 0) damage_forget(verifier, verifier->path, entry->type == '5');
    return entry->type == '1' ? hard_link(verifier, entry, failure) : ordinary(verifier, entry, failure);
}

static int differs(struct verifier *verifier, struct failure *failure) {
    verifier->differs = true;
    return NOTE("has another content");
}

static bool is_all(const uint8_t *bytes, size_t length, uint8_t value) {
    return length == 0 || (bytes[0] == value && memcmp(bytes, bytes + 1, length - 1) == 0);
}

static int read_piece(struct verifier *verifier, uint8_t *into, size_t length, uint64_t offset, struct failure *failure) {
    for (size_t done = 0; done < length;) {
        ssize_t n = pread(verifier->fd, into + done, length - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            verifier->differs = true;
            return NOTE("cannot be read: %s", n == 0 ? "it ends early" : strerror(errno));
        }
        done += (size_t)n;
    }
    return failure->kind == FAIL_NONE ? 0 : -1;
}

static uint8_t piece[256 * 1024];

/* A hole reads as zeros, however large it is: only what is stored in it is looked at. */
static int compare_hole(struct verifier *verifier, uint64_t from, uint64_t to, struct failure *failure) {
    while (from < to && !verifier->differs) {
        off_t stored = lseek(verifier->fd, (off_t)from, SEEK_DATA);
        if (stored < 0 && errno != ENXIO) stored = (off_t)from;
        if (stored < 0 || (uint64_t)stored >= to) return 0;
        from = (uint64_t)stored;
        size_t length = to - from < sizeof piece ? (size_t)(to - from) : sizeof piece;
        if (read_piece(verifier, piece, length, from, failure) < 0) return -1;
        if (!verifier->differs && !is_all(piece, length, 0)) return differs(verifier, failure);
        from += length;
    }
    return 0;
}

static int data(void *context, uint64_t offset, const uint8_t *bytes, size_t length, struct failure *failure) {
    struct verifier *verifier = context;
    if (verifier->fd < 0 || verifier->differs) return 0;
    if (offset > verifier->compared && compare_hole(verifier, verifier->compared, offset, failure) < 0) return -1;
    while (length > 0 && !verifier->differs) {
        size_t n = length < sizeof piece ? length : sizeof piece;
        if (read_piece(verifier, piece, n, offset, failure) < 0) return -1;
        if (!verifier->differs && memcmp(piece, bytes, n) != 0) return differs(verifier, failure);
        bytes += n, offset += n, length -= n;
    }
    verifier->compared = offset;
    return 0;
}

static int end(void *context, struct failure *failure) {
    struct verifier *verifier = context;
    if (verifier->fd < 0) return 0;
    int result = verifier->differs ? 0 : compare_hole(verifier, verifier->compared, verifier->entry.size, failure);
    close(verifier->fd);
    verifier->fd = -1;
    return result;
}

struct sink verify_sink(struct verifier *verifier) {
    return (struct sink){.context = verifier, .begin = begin, .data = data, .end = end};
}

struct verifier *verify_open(struct failure *failure) {
    struct verifier *verifier = calloc(1, sizeof *verifier);
    if (verifier == NULL) {
        fail(failure, FAIL_IO, "out of memory");
        return NULL;
    }
    verifier->parent = verifier->fd = -1;
    verifier->root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (verifier->root >= 0) return verifier;
    fail_errno(failure, errno, "open", "layer directory");
    free(verifier);
    return NULL;
}

int verify_finish(struct verifier *verifier, struct failure *failure) {
    return verifier->rewired ? 0 : survey(verifier, failure);
}

uint64_t verify_report(const struct verifier *verifier) {
    for (size_t i = 0; i < verifier->damage_count && i < DAMAGES_SHOWN; i++)
        report_damage(verifier->damages[i].path, verifier->damages[i].what);
    return verifier->damage_count + verifier->uncounted;
}
