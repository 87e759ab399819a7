/* Extended attributes: capabilities, ACLs, and whatever users keep there. */
#include "verify.h"

#include <errno.h>
#include <string.h>
#include <sys/vfs.h>
#include <sys/xattr.h>

/*
 * Not for an image to say: what overlayfs believes about its own layers (with redirect and metacopy a layer could show
 * files it does not have), and what security modules of the host believe about a file.
 */
bool xattr_is_refused(const char *name) {
    static const char *const PREFIXES[] = {"trusted.overlay.", "user.overlay.", "system.nfs4_acl", "system.richacl"};
    for (size_t i = 0; i < sizeof PREFIXES / sizeof *PREFIXES; i++)
        if (strncmp(name, PREFIXES[i], strlen(PREFIXES[i])) == 0) return true;
    return strncmp(name, "security.", 9) == 0 && strcmp(name, "security.capability") != 0;
}

/* New files would inherit it, and lose the mode that the archive gives them. */
bool xattr_is_late(const struct xattr *xattr) {
    return strcmp(xattr->name, "system.posix_acl_default") == 0;
}

/* Ext4 also says ENOSPC where one value is too large for an inode's block. */
static bool disk_is_full(const struct extractor *extractor) {
    struct statfs fs;
    return fstatfs(extractor->root, &fs) == 0 && fs.f_bavail < 64;
}

int xattr_set(struct extractor *extractor, int fd, const char *path, const struct xattr *xattr, struct failure *failure) {
    if (xattr_is_refused(xattr->name)) {
        extractor->totals.skipped_xattrs++;
        return 0;
    }
    int result = fd >= 0 ? fsetxattr(fd, xattr->name, xattr->value, xattr->length, 0)
                         : lsetxattr(path[0] == 0 ? "." : path, xattr->name, xattr->value, xattr->length, 0);
    if (result == 0) return 0;
    /* As Docker: a file system without attributes, user.* on a symlink, or a user namespace that may not set this one. */
    if (errno == EOPNOTSUPP || errno == EPERM) {
        extractor->totals.skipped_xattrs++;
        return 0;
    }
    int error = errno;
    /* EACCES: a default ACL for what is no directory. */
    bool archive = error == EINVAL || error == EACCES || error == ERANGE || error == E2BIG || (error == ENOSPC && !disk_is_full(extractor));
    if (!archive) return fail_errno(failure, error, "set an extended attribute of", path);
    return fail(failure, FAIL_TAR, "extended attribute \"%.100s\" of \"%.600s\": %s", xattr->name, path,
                error == ENOSPC ? "too large for the file system" : strerror(error));
}

int xattr_apply(struct extractor *extractor, int fd, const char *path, const struct entry *entry, struct failure *failure) {
    for (size_t i = 0; i < entry->xattr_count; i++) {
        if (entry->type == '5' && xattr_is_late(&entry->xattrs[i])) continue;
        if (xattr_set(extractor, fd, path, &entry->xattrs[i], failure) < 0) return -1;
    }
    return 0;
}
