/* Shared by the parts of the extractor: extract.c, path.c, directory.c, replace.c, whiteout.c, xattr.c, lower.c, copy.c. */
#ifndef TR_EXTRACT_H
#define TR_EXTRACT_H

#include <sys/stat.h>

#include "unpack.h"

#define PARENT_SLOTS 64

/* A directory that was looked up, kept open: archives stay in one directory for a while and come back to those above. */
struct parent {
    int fd;
    size_t length;
    char path[PATH_MAX];
};

/* Records of directories, one behind the other: `struct late`, the path with its NUL, the ACL. */
struct late_list {
    char *bytes;
    size_t length, capacity;
};

struct extractor {
    int root;
    uid_t uid; /* what a new file gets by itself */
    gid_t gid;
    const struct copy *copy; /* NULL: a layer */
    struct lower lower;
    const char *opaque_xattr;
    struct parent *parents; /* by hash of the path */
    bool parents_stale;     /* a directory or a symlink went away: paths may mean something else now */
    bool replaced;
    bool has_whiteouts;
    bool plain; /* not a layer: names that begin with .wh. are names */
    struct late_list late;
    struct totals totals;
    /* The file that is being written. */
    int fd;
    struct entry entry;
    char path[PATH_MAX];
};

/* Where an entry goes. */
struct place {
    int parent;
    const char *leaf; /* the last part of `path`; empty for the root itself */
    const char *path;
};

/* path.c */
int path_normalise(const char *name, char path[PATH_MAX], struct failure *failure);
/* Opens the directory of `path`'s last component, making what is missing. */
int path_place(struct extractor *extractor, const char *path, struct place *place, struct failure *failure);
/* The directory at `path`, or -1 and errno. *owned: the caller closes it. */
int path_find_directory(struct extractor *extractor, const char *path, size_t length, bool *owned);
int path_open(int root, const char *path, int flags);
void path_split(const char *path, size_t *parent_length, const char **leaf);

/* directory.c */
int directory_make(struct extractor *extractor, const struct place *place, const struct entry *entry, struct failure *failure);
int directory_root(struct extractor *extractor, const struct entry *entry, struct failure *failure);
int directory_finish_all(struct extractor *extractor, struct failure *failure);

/* replace.c: what is there already */
bool is_whiteout(const struct stat *st);
int replace_existing(struct extractor *extractor, const struct place *place, struct failure *failure);

/* whiteout.c */
enum whiteout { WHITEOUT_NONE, WHITEOUT_ENTRY, WHITEOUT_OPAQUE, WHITEOUT_SKIP };
enum whiteout whiteout_classify(const char *path, struct failure *failure);
int whiteout_make(struct extractor *extractor, char *path, struct failure *failure);
int whiteout_make_opaque(struct extractor *extractor, const char *directory, struct failure *failure);

/* xattr.c; `fd` -1: by path, the last component not followed */
int xattr_apply(struct extractor *extractor, int fd, const char *path, const struct entry *entry, struct failure *failure);
bool xattr_is_late(const struct xattr *xattr);
int xattr_set(struct extractor *extractor, int fd, const char *path, const struct xattr *xattr, struct failure *failure);

/* lower.c: 0 where `path` is now in this layer, copied up; 1 where no layer below has it */
int lower_copy_up(struct extractor *extractor, const char *path, struct failure *failure);

/* copy.c */
int copy_open(struct extractor *extractor, struct failure *failure);
/* The entry as it is to be made. */
struct entry copy_entry(const struct copy *copy, const struct entry *entry);
/* Docker's rule: a directory does not take the place of a file, nor a file that of a directory. */
int copy_check(const struct place *place, const struct entry *entry, struct failure *failure);

/* extract.c */
int metadata_apply(struct extractor *extractor, const struct place *place, const struct entry *entry, struct failure *failure);

#endif
