/*
 * Names in an archive become places below the root. The process is pivoted into the layer, so nothing else can be reached;
 * on top of that the directory part is resolved with RESOLVE_IN_ROOT and the last component is never followed.
 */
#include "extract.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../syscalls.h"

#define LINKS_MAX 40 /* as the kernel's */

/* "./usr//bin/" is "usr/bin" and "/" is "". A name with ".." is refused, not interpreted: no honest layer has one. */
int path_normalise(const char *name, char path[PATH_MAX], struct failure *failure) {
    size_t length = 0;
    for (const char *at = name; *at != 0;) {
        size_t n = strcspn(at, "/");
        bool skip = n == 0 || (n == 1 && at[0] == '.');
        if (n == 2 && at[0] == '.' && at[1] == '.') return fail(failure, FAIL_UNSAFE, "entry \"%.600s\" leaves the layer", name);
        if (n > NAME_MAX || length + n + 2 > PATH_MAX) return fail(failure, FAIL_TAR, "the name \"%.600s\" is too long", name);
        if (!skip) {
            if (length > 0) path[length++] = '/';
            memcpy(path + length, at, n);
            length += n;
        }
        at += n;
        if (*at == '/') at++;
    }
    path[length] = 0;
    return 0;
}

void path_split(const char *path, size_t *parent_length, const char **leaf) {
    const char *slash = strrchr(path, '/');
    *parent_length = slash == NULL ? 0 : (size_t)(slash - path);
    *leaf = slash == NULL ? path : slash + 1;
}

/* Below `root` whatever links say. */
int path_open(int root, const char *path, int flags) {
    return root_open(root, path, flags, TR_RESOLVE_IN_ROOT);
}

static struct parent *slot_of(struct extractor *extractor, const char *path, size_t length) {
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < length; i++) hash = (hash ^ (uint8_t)path[i]) * 16777619u;
    return &extractor->parents[(hash ^ hash >> 16) % PARENT_SLOTS];
}

static void forget_all(struct extractor *extractor) {
    for (int i = 0; i < PARENT_SLOTS; i++) {
        if (extractor->parents[i].fd >= 0) close(extractor->parents[i].fd);
        extractor->parents[i].fd = -1;
    }
    extractor->parents_stale = false;
}

/* A path that is being resolved by hand: `done` holds real directories only, `rest` what is still to come. */
struct walk {
    char done[PATH_MAX], rest[2 * PATH_MAX];
    size_t done_length;
    int links;
};

static int push(struct walk *walk, const char *name, size_t length) {
    size_t slash = walk->done_length > 0;
    if (length > NAME_MAX || walk->done_length + slash + length + 1 > sizeof walk->done) return errno = ENAMETOOLONG, -1;
    if (slash) walk->done[walk->done_length++] = '/';
    memcpy(walk->done + walk->done_length, name, length);
    walk->done_length += length;
    walk->done[walk->done_length] = 0;
    return 0;
}

static void pop(struct walk *walk) {
    const char *slash = strrchr(walk->done, '/');
    walk->done_length = slash == NULL ? 0 : (size_t)(slash - walk->done);
    walk->done[walk->done_length] = 0;
}

static int follow(struct extractor *extractor, struct walk *walk) {
    char target[2 * PATH_MAX];
    ssize_t n = readlinkat(extractor->root, walk->done, target, PATH_MAX);
    if (n < 0) return -1;
    /* A copy makes no directories where a dangling link leads. */
    if (extractor->copy != NULL || ++walk->links > LINKS_MAX) return errno = ELOOP, -1;
    size_t rest = strlen(walk->rest);
    if ((size_t)n + 1 + rest + 1 > sizeof walk->rest) return errno = ENAMETOOLONG, -1;
    memmove(walk->rest + n + 1, walk->rest, rest + 1);
    memcpy(walk->rest, target, (size_t)n);
    walk->rest[n] = '/';
    pop(walk);
    if (target[0] == '/') walk->done_length = 0, walk->done[0] = 0;
    return 0;
}

/* What `done` names must become a directory. A whiteout in that place hides the directory of the layers below: the new one
   must hide it as well. */
static int enter(struct extractor *extractor, struct walk *walk, struct failure *failure) {
    struct stat st;
    int root = extractor->root;
    bool missing = fstatat(root, walk->done, &st, AT_SYMLINK_NOFOLLOW) < 0;
    if (missing && errno != ENOENT) return -1;
    if (!missing && S_ISDIR(st.st_mode)) return 0;
    if (!missing && S_ISLNK(st.st_mode)) return follow(extractor, walk);
    if (!missing && !is_whiteout(&st)) return errno = ENOTDIR, -1;
    if (!missing && unlinkat(root, walk->done, 0) < 0) return -1;
    if (mkdirat(root, walk->done, 0755) < 0) return -1;
    extractor->totals.implicit++;
    return missing ? 0 : whiteout_make_opaque(extractor, walk->done, failure);
}

/* Makes the directories of a path that are missing, root's with mode 0755, also where a link points to nothing yet
   (`lib -> usr/lib` and then `lib/x`). */
static int make_directories(struct extractor *extractor, const char *path, size_t length, struct failure *failure) {
    struct walk walk = {.done_length = 0};
    memcpy(walk.rest, path, length);
    while (walk.rest[0] != 0) {
        char name[2 * PATH_MAX];
        size_t n = strcspn(walk.rest, "/"), skip = n + (walk.rest[n] == '/');
        memcpy(name, walk.rest, n);
        memmove(walk.rest, walk.rest + skip, strlen(walk.rest + skip) + 1);
        if (n == 0 || (n == 1 && name[0] == '.')) continue;
        if (n == 2 && name[0] == '.' && name[1] == '.') {
            pop(&walk);
            continue;
        }
        if (push(&walk, name, n) < 0 || enter(extractor, &walk, failure) < 0) return fail_errno(failure, errno, "make directory", path);
    }
    return 0;
}

/* A copy's directory lies in a root of its own: in a container links lead where they lead there, on the host not out of
   the directory. */
static int open_directory(struct extractor *extractor, const char *path) {
    const struct copy *copy = extractor->copy;
    uint64_t resolve = copy == NULL ? TR_RESOLVE_IN_ROOT : copy->is_host ? TR_RESOLVE_BENEATH : 0;
    return root_open(extractor->root, path, O_PATH | O_DIRECTORY, resolve);
}

int path_find_directory(struct extractor *extractor, const char *path, size_t length, bool *owned) {
    char name[PATH_MAX];
    *owned = false;
    if (length == 0) return extractor->root;
    if (extractor->parents_stale) forget_all(extractor);
    const struct parent *slot = slot_of(extractor, path, length);
    if (slot->fd >= 0 && slot->length == length && memcmp(slot->path, path, length) == 0) return slot->fd;
    memcpy(name, path, length);
    name[length] = 0;
    *owned = true;
    return open_directory(extractor, name);
}

int path_place(struct extractor *extractor, const char *path, struct place *place, struct failure *failure) {
    size_t length;
    place->path = path;
    path_split(path, &length, &place->leaf);
    bool owned;
    place->parent = path_find_directory(extractor, path, length, &owned);
    if (!owned) return 0;
    struct parent *slot = slot_of(extractor, path, length);
    char name[PATH_MAX];
    memcpy(name, path, length);
    name[length] = 0;
    if (place->parent < 0 && (errno == ENOENT || errno == ENOTDIR)) {
        if (make_directories(extractor, name, length, failure) < 0) return -1;
        place->parent = open_directory(extractor, name);
    }
    if (place->parent < 0) return fail_errno(failure, errno, "open directory", name);
    if (slot->fd >= 0) close(slot->fd);
    slot->fd = place->parent;
    slot->length = length;
    memcpy(slot->path, path, length);
    return 0;
}
