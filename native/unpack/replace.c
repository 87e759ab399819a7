/*
 * What an earlier entry of the same layer left in a place: the later entry wins. Only a directory over a directory merges
 * (directory.c); anything else goes first.
 */
#include "extract.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "../syscalls.h"

bool is_whiteout(const struct stat *st) {
    return S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0);
}

/* Empties one directory but for subdirectories with content; the first of those is entered: its fd, or -1 where there is none. */
static int empty(int directory, int *failed) {
    char buffer[8192] __attribute__((aligned(8)));
    *failed = 0;
    if (lseek(directory, 0, SEEK_SET) < 0) return *failed = errno, -1;
    for (;;) {
        long n = sys_getdents(directory, buffer, sizeof buffer);
        if (n < 0) *failed = (int)-n;
        if (n <= 0) return -1;
        for (long at = 0; at < n;) {
            const struct tr_dirent *entry = (const void *)(buffer + at);
            at += entry->length;
            if (strcmp(entry->name, ".") == 0 || strcmp(entry->name, "..") == 0) continue;
            if (unlinkat(directory, entry->name, 0) == 0) continue;
            if (errno == EISDIR && unlinkat(directory, entry->name, AT_REMOVEDIR) == 0) continue;
            if (errno != ENOTEMPTY && errno != EEXIST) return *failed = errno, -1;
            int child = openat(directory, entry->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            if (child < 0) *failed = errno;
            return child;
        }
    }
}

/*
 * Depth costs no descriptors and no stack: a directory that has been emptied is left by "..", and its parent is read again
 * from the start, where nothing is left of what came before. No one else is in here who could move things meanwhile.
 */
static int remove_tree(int parent, const char *leaf) {
    int directory = openat(parent, leaf, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), failed = 0;
    if (directory < 0) return -1;
    for (unsigned depth = 0;;) {
        int next = empty(directory, &failed);
        if (next >= 0) depth++;
        else if (failed != 0 || depth == 0) break;
        else depth--, next = openat(directory, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (next < 0) failed = errno;
        if (next < 0) break;
        close(directory);
        directory = next;
    }
    close(directory);
    if (failed != 0) return errno = failed, -1;
    return unlinkat(parent, leaf, AT_REMOVEDIR);
}

int replace_existing(struct extractor *extractor, const struct place *place, struct failure *failure) {
    extractor->replaced = extractor->parents_stale = true;
    if (unlinkat(place->parent, place->leaf, 0) == 0) return 0;
    if (errno == EISDIR && unlinkat(place->parent, place->leaf, AT_REMOVEDIR) == 0) return 0;
    if ((errno == ENOTEMPTY || errno == EEXIST) && remove_tree(place->parent, place->leaf) == 0) return 0;
    return fail_errno(failure, errno, "replace", place->path);
}
