/*
 * Deletions: `.wh.<name>` hides <name> of the layers below, `.wh..wh..opq` all that they have in its directory. Overlayfs
 * says it with a character device 0/0 and with an extended attribute of the directory.
 * https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts
 * "Whiteout files MUST only apply to resources in lower/parent layers": an entry of this layer with that name stays,
 * whichever of the two came first.
 */
#include "extract.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#define PREFIX ".wh."
#define META_PREFIX ".wh..wh." /* aufs' own files, of which only the opaque marker means something */
#define OPAQUE ".wh..wh..opq"

static bool has_prefix(const char *name, const char *prefix) {
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

enum whiteout whiteout_classify(const char *path, struct failure *failure) {
    if (strstr(path, PREFIX) == NULL) return WHITEOUT_NONE;
    const char *name = path;
    for (const char *slash; (slash = strchr(name, '/')) != NULL; name = slash + 1) {
        if (has_prefix(name, META_PREFIX)) return WHITEOUT_SKIP;
        if (has_prefix(name, PREFIX)) {
            fail(failure, FAIL_TAR, "entry \"%.600s\" lies in a whiteout", path);
            return WHITEOUT_SKIP;
        }
    }
    if (strcmp(name, OPAQUE) == 0) return WHITEOUT_OPAQUE;
    if (has_prefix(name, META_PREFIX)) return WHITEOUT_SKIP;
    if (!has_prefix(name, PREFIX)) return WHITEOUT_NONE;
    const char *target = name + strlen(PREFIX);
    if (target[0] == 0) fail(failure, FAIL_TAR, "the whiteout \"%.600s\" names nothing", path);
    if (strcmp(target, ".") == 0 || strcmp(target, "..") == 0)
        fail(failure, FAIL_UNSAFE, "the whiteout \"%.600s\" names a directory it lies in", path);
    return WHITEOUT_ENTRY;
}

int whiteout_make_opaque(struct extractor *extractor, const char *directory, struct failure *failure) {
    /* Overlayfs merges the roots of its layers whatever their attributes say: who mounts them has to know. */
    if (directory[0] == 0) extractor->totals.opaque_root = true;
    const char *path = directory[0] == 0 ? "." : directory;
    if (setxattr(path, extractor->opaque_xattr, "y", 1, 0) < 0) return fail_errno(failure, errno, "make opaque", path);
    return 0;
}

/* `path` ends in the whiteout's name and is cut down to what it hides. */
int whiteout_make(struct extractor *extractor, char *path, struct failure *failure) {
    struct place place;
    struct stat st;
    char *name = strrchr(path, '/');
    name = name == NULL ? path : name + 1;
    memmove(name, name + strlen(PREFIX), strlen(name + strlen(PREFIX)) + 1);
    if (path_place(extractor, path, &place, failure) < 0) return -1;
    extractor->has_whiteouts = true;
    if (mknodat(place.parent, place.leaf, S_IFCHR, 0) == 0) return 0;
    if (errno != EEXIST) return fail_errno(failure, errno, "make whiteout", path);
    if (fstatat(place.parent, place.leaf, &st, AT_SYMLINK_NOFOLLOW) < 0) return fail_errno(failure, errno, "stat", path);
    /* A directory of this layer would be merged with the one that was deleted. */
    return S_ISDIR(st.st_mode) ? whiteout_make_opaque(extractor, path, failure) : 0;
}
