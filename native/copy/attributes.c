#include "copy.h"

#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#define NAMES_MAX 65536
#define VALUE_MAX 65536

/* Labels are the host's business, and overlay's marks are about another place. */
bool is_copied_attribute(const char *name) {
    return strncmp(name, "user.", 5) == 0 || strcmp(name, "security.capability") == 0 ||
           strncmp(name, "system.posix_acl_", 17) == 0;
}

void copy_attributes(int from, int to) {
    static char names[NAMES_MAX], value[VALUE_MAX];
    ssize_t length = flistxattr(from, names, sizeof names);
    for (ssize_t at = 0; at < length; at += (ssize_t)strlen(names + at) + 1) {
        if (!is_copied_attribute(names + at)) continue;
        ssize_t size = fgetxattr(from, names + at, value, sizeof value);
        /* A file system that cannot keep it is no reason to fail: so does cp. */
        if (size >= 0 && fsetxattr(to, names + at, value, (size_t)size, 0) < 0) continue;
    }
}
