/*
 * What overlayfs notes in an upper directory, by attributes of trusted.* or, mounted by a user without rights, of user.*.
 * https://docs.kernel.org/filesystems/overlayfs.html#whiteouts-and-opaque-directories
 */
#include "pack.h"

#include <string.h>

static const char *after(const char *name, const char *prefix) {
    size_t length = strlen(prefix);
    return strncmp(name, prefix, length) == 0 ? name + length : NULL;
}

bool mark_is_overlay_xattr(const char *name) {
    return after(name, "trusted.overlay.") != NULL || after(name, "user.overlay.") != NULL;
}

/* Where overlay uses trusted.*, anybody in the container may have set user.*: it means nothing then. */
enum mark mark_of_xattr(const char *name, const char *value, size_t length, bool is_directory, bool by_user) {
    const char *mark = after(name, by_user ? "user.overlay." : "trusted.overlay.");
    if (mark == NULL) return MARK_NONE;
    /* "x" only says that whiteouts of the second kind lie in here. */
    if (is_directory && strcmp(mark, "opaque") == 0) return length == 1 && value[0] == 'y' ? MARK_OPAQUE : MARK_NONE;
    /* Linux 6.7: a whiteout where device nodes cannot be made. */
    if (!is_directory && strcmp(mark, "whiteout") == 0) return MARK_WHITEOUT;
    /* The content lies in a layer below, under another name or the same. */
    if (strcmp(mark, "redirect") == 0 || strcmp(mark, "metacopy") == 0) return MARK_MOVED;
    return MARK_NONE;
}
