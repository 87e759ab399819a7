/*
 * What lies in a layer and came from no entry. Directories that no entry names are made on the way to one that is named:
 * root's, with mode 0755. Such a one is too many only where what lies in it is.
 */
#include "verify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../syscalls.h"

/* A directory on the way down. Only the lowest is open: depth costs no descriptors. */
struct level {
    int64_t position; /* where its listing goes on */
    size_t length;    /* of its path */
    bool is_seen, has_seen; /* known itself; something in it is */
    bool is_plain;          /* as those that are made by the way */
    bool is_empty;
};

struct walk {
    struct verifier *verifier;
    struct level *levels;
    size_t depth, capacity;
    int directory;
    char *path;
    size_t path_capacity;
};

static int push(struct walk *walk, struct level level, struct failure *failure) {
    if (walk->depth == walk->capacity) {
        size_t capacity = 2 * walk->capacity + 64;
        struct level *levels = realloc(walk->levels, capacity * sizeof *levels);
        if (levels == NULL) return fail(failure, FAIL_IO, "out of memory");
        walk->levels = levels, walk->capacity = capacity;
    }
    walk->levels[walk->depth++] = level;
    return 0;
}

/* The path of an entry of the lowest directory. */
static int name(struct walk *walk, const char *leaf, struct failure *failure) {
    size_t length = walk->levels[walk->depth - 1].length, more = strlen(leaf);
    if (length + more + 2 > walk->path_capacity) {
        size_t capacity = 2 * (length + more) + 256;
        char *path = realloc(walk->path, capacity);
        if (path == NULL) return fail(failure, FAIL_IO, "out of memory");
        walk->path = path, walk->path_capacity = capacity;
    }
    if (length > 0) walk->path[length++] = '/';
    memcpy(walk->path + length, leaf, more + 1);
    return 0;
}

static int extra(struct walk *walk, struct failure *failure) {
    return damage_note(walk->verifier, walk->path, NULL, failure, "is not in the layer");
}

static int go_to(struct walk *walk, const char *leaf, struct failure *failure) {
    int next = openat(walk->directory, leaf, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (next < 0) return fail_errno(failure, errno, "open directory", walk->path);
    close(walk->directory);
    walk->directory = next;
    return 0;
}

static int descend(struct walk *walk, const struct tr_dirent *entry, struct failure *failure) {
    struct stat st;
    walk->levels[walk->depth - 1].position = entry->offset;
    if (go_to(walk, entry->name, failure) < 0) return -1;
    if (fstat(walk->directory, &st) < 0) return fail_errno(failure, errno, "stat", walk->path);
    struct level level = {.length = strlen(walk->path), .is_seen = inodes_have(&walk->verifier->seen, st.st_ino), .is_empty = true};
    level.is_plain = (st.st_mode & 07777) == 0755 && st.st_uid == 0 && st.st_gid == 0;
    return push(walk, level, failure);
}

static int ascend(struct walk *walk, struct failure *failure) {
    struct level left = walk->levels[--walk->depth];
    if (walk->depth == 0) return 0;
    walk->path[left.length] = 0;
    bool expected = left.is_seen || left.has_seen || (left.is_plain && left.is_empty);
    if (!expected && extra(walk, failure) < 0) return -1;
    struct level *level = &walk->levels[walk->depth - 1];
    if (expected) level->has_seen = true;
    if (go_to(walk, "..", failure) < 0) return -1;
    return lseek(walk->directory, level->position, SEEK_SET) < 0 ? fail_errno(failure, errno, "read directory", walk->path) : 0;
}

/* 1: it is a directory, and entered. */
static int look_at(struct walk *walk, const struct tr_dirent *entry, struct failure *failure) {
    struct stat st;
    if (strcmp(entry->name, ".") == 0 || strcmp(entry->name, "..") == 0) return 0;
    if (name(walk, entry->name, failure) < 0) return -1;
    struct level *level = &walk->levels[walk->depth - 1];
    level->is_empty = false;
    if (entry->type != 4 && inodes_have(&walk->verifier->seen, entry->ino)) {
        level->has_seen = true;
        return 0;
    }
    if (fstatat(walk->directory, entry->name, &st, AT_SYMLINK_NOFOLLOW) < 0) return fail_errno(failure, errno, "stat", walk->path);
    if (S_ISDIR(st.st_mode)) return descend(walk, entry, failure) < 0 ? -1 : 1;
    if (!inodes_have(&walk->verifier->seen, st.st_ino)) return extra(walk, failure);
    level->has_seen = true;
    return 0;
}

/* Reads the lowest directory up to its end or its next directory. */
static int step(struct walk *walk, struct failure *failure) {
    char buffer[8192] __attribute__((aligned(8)));
    for (;;) {
        long n = sys_getdents(walk->directory, buffer, sizeof buffer);
        if (n < 0) return fail_errno(failure, (int)-n, "read directory", walk->path);
        if (n == 0) return ascend(walk, failure);
        for (long at = 0; at < n;) {
            const struct tr_dirent *entry = (const void *)(buffer + at);
            at += entry->length;
            int result = look_at(walk, entry, failure);
            if (result != 0) return result < 0 ? -1 : 0;
        }
    }
}

int survey(struct verifier *verifier, struct failure *failure) {
    struct walk walk = {.verifier = verifier, .path_capacity = 256, .path = calloc(1, 256)};
    int result = walk.path == NULL ? fail(failure, FAIL_IO, "out of memory") : push(&walk, (struct level){.is_seen = true}, failure);
    walk.directory = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (walk.directory < 0) result = fail_errno(failure, errno, "open", "layer directory");
    while (result == 0 && walk.depth > 0) result = step(&walk, failure);
    if (walk.directory >= 0) close(walk.directory);
    free(walk.levels);
    free(walk.path);
    return result;
}
