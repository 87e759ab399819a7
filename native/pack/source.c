/*
 * What a path means in the tree. Links are the tree's: they are followed below its root, by the kernel, in one call, and
 * what was found is held by a descriptor. No link of /proc is followed, which would lead to what this process has open.
 */
#include "pack.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../syscalls.h"

#define LINKS_MAX 40 /* as the kernel's */

/* "/a/b/c" is "/a/b" and "c"; false where there is no name at the end: "/", "..", "a/", "a/." */
static bool split(const char *path, char directory[PATH_MAX], char leaf[NAME_MAX + 1]) {
    const char *slash = strrchr(path, '/');
    const char *name = slash == NULL ? path : slash + 1;
    if (name[0] == 0 || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strlen(name) > NAME_MAX) return false;
    strcpy(leaf, name);
    size_t length = (size_t)(name - path);
    if (length == 0) strcpy(directory, ".");
    else memcpy(directory, path, length), directory[length] = 0;
    return true;
}

static int open_in(int top, const char *path, int flags) {
    while (*path == '/') path++;
    return root_open(top, *path == 0 ? "." : path, flags, TR_RESOLVE_IN_ROOT);
}

/* Follows the last link by hand, to know the name at its end. `end` is that name, also where nothing is there. */
static int find_followed(int top, const char *path, struct place *place, char end[PATH_MAX], struct failure *failure) {
    char next[PATH_MAX], directory[PATH_MAX];
    if (strlen(path) >= PATH_MAX) return fail_errno(failure, ENAMETOOLONG, "open", path);
    strcpy(end, path);
    for (int links = 0; split(end, directory, place->leaf); links++) {
        if (links == LINKS_MAX) return fail_errno(failure, ELOOP, "open", path);
        place->parent = open_in(top, directory, O_PATH | O_DIRECTORY);
        if (place->parent < 0) return fail_errno(failure, errno, "open", path);
        if (fstatat(place->parent, place->leaf, &place->st, AT_SYMLINK_NOFOLLOW) < 0) return fail_errno(failure, errno, "open", path);
        if (!S_ISLNK(place->st.st_mode)) return 0;
        ssize_t n = readlinkat(place->parent, place->leaf, next, sizeof next - 1);
        if (n < 0) return fail_errno(failure, errno, "open", path);
        next[n] = 0;
        close(place->parent);
        size_t prefix = next[0] == '/' ? 0 : strlen(directory);
        if (prefix + 1 + (size_t)n + 1 > PATH_MAX) return fail_errno(failure, ENAMETOOLONG, "open", path);
        if (prefix > 0) memcpy(end, directory, prefix), end[prefix++] = '/';
        memcpy(end + prefix, next, (size_t)n + 1);
    }
    /* "/", or ends in "/", "/." or "..": a directory, whose links the kernel follows. */
    place->parent = open_in(top, end, O_PATH | O_DIRECTORY);
    strcpy(place->leaf, ".");
    if (place->parent < 0 || fstat(place->parent, &place->st) < 0) return fail_errno(failure, errno, "open", path);
    return 0;
}

int source_find(int top, const char *path, bool follow, struct place *place, struct failure *failure) {
    char directory[PATH_MAX], end[PATH_MAX];
    if (strlen(path) >= PATH_MAX) return fail_errno(failure, ENAMETOOLONG, "open", path);
    bool has_name = split(path, directory, place->leaf);
    if (!has_name || follow) return find_followed(top, path, place, end, failure);
    place->parent = open_in(top, directory, O_PATH | O_DIRECTORY);
    if (place->parent < 0) return fail_errno(failure, errno, "open", path);
    if (fstatat(place->parent, place->leaf, &place->st, AT_SYMLINK_NOFOLLOW) < 0) return fail_errno(failure, errno, "open", path);
    return 0;
}

int source_walk(struct walk *walk, const struct place *place, struct failure *failure) {
    int fd = openat(place->parent, place->leaf, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0) return walk_tree(walk, fd, failure);
    if (S_ISDIR(place->st.st_mode)) return fail_errno(failure, errno, "open", place->leaf);
    return walk_one(walk, place->parent, place->leaf, failure);
}

static const char *type_of(const struct stat *st) {
    return S_ISDIR(st->st_mode) ? "directory" : S_ISREG(st->st_mode) ? "file" : S_ISLNK(st->st_mode) ? "symlink" : "other";
}

int source_report(const char *path, bool follow, struct failure *failure) {
    static char end[PATH_MAX], line[2 * PATH_MAX + 256];
    struct place place, at_end;
    struct failure nowhere = {0};
    int top = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (top < 0) return fail_errno(failure, errno, "open", "/");
    if (source_find(top, path, follow, &place, failure) < 0) return -1;
    bool is_link = S_ISLNK(place.st.st_mode);
    bool leads = is_link && find_followed(top, path, &at_end, end, &nowhere) == 0;
    int length = snprintf(line, sizeof line, "{\"ok\":true,\"type\":\"%s\",\"mode\":%u,\"size\":%llu,\"end\":\"%s\",\"endPath\":\"", type_of(&place.st),
                          (unsigned)(place.st.st_mode & 07777), (unsigned long long)place.st.st_size,
                          !is_link ? type_of(&place.st) : leads ? type_of(&at_end.st) : "missing");
    /* In hexadecimal: names are bytes. */
    for (const unsigned char *c = (const unsigned char *)end; *c != 0; c++) length += sprintf(line + length, "%02x", *c);
    length += sprintf(line + length, "\"}\n");
    while (write(STDOUT_FILENO, line, (size_t)length) < 0 && errno == EINTR) continue;
    return 0;
}
