/*
 * Copies: an archive's files into a directory of a container, or out of one into a directory of the host. Nothing that is
 * there is written through: a file is replaced, not opened.
 */
#include "extract.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../syscalls.h"

int copy_open(struct extractor *extractor, struct failure *failure) {
    const char *into = extractor->copy->into;
    while (*into == '/') into++;
    int top = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (top < 0) return fail_errno(failure, errno, "open", "/");
    extractor->root = root_open(top, *into == 0 ? "." : into, O_RDONLY | O_DIRECTORY, TR_RESOLVE_IN_ROOT);
    int error = errno;
    close(top);
    if (extractor->root < 0) return fail_errno(failure, error, "open", extractor->copy->into);
    /* Extended attributes of what cannot be opened are set by path. */
    return fchdir(extractor->root) < 0 ? fail_errno(failure, errno, "enter", extractor->copy->into) : 0;
}

struct entry copy_entry(const struct copy *copy, const struct entry *entry) {
    struct entry made = *entry;
    if (copy->has_owner) made.uid = copy->uid, made.gid = copy->gid;
    /* A program of a container's is not to have root's rights on the host because root has copied it. */
    if (copy->has_owner && copy->is_host) {
        made.xattr_count = 0;
        if (made.type != '5') made.mode &= ~(uint32_t)(S_ISUID | S_ISGID);
    }
    return made;
}

int copy_check(const struct place *place, const struct entry *entry, struct failure *failure) {
    struct stat st;
    if (fstatat(place->parent, place->leaf, &st, AT_SYMLINK_NOFOLLOW) < 0) return 0;
    if (S_ISDIR(st.st_mode) && entry->type != '5')
        return fail(failure, FAIL_TAR, "cannot overwrite directory \"%.400s\" with non-directory \"%.400s\"", place->path, entry->name);
    if (!S_ISDIR(st.st_mode) && entry->type == '5')
        return fail(failure, FAIL_TAR, "cannot overwrite non-directory \"%.400s\" with directory \"%.400s\"", place->path, entry->name);
    return 0;
}
