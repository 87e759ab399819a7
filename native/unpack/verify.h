/* Shared by the parts of the verifier: verify.c, damage.c, survey.c. */
#ifndef TR_VERIFY_H
#define TR_VERIFY_H

#include <sys/stat.h>

#include "extract.h"

/* What an entry says and its file does not, until a later entry for the same place says otherwise. */
struct damage {
    char *path;
    char *target; /* of a hard link: a later entry there explains the difference, too */
    char *what;
};

/* More of them than this in one layer: the rest is only counted. */
#define DAMAGES_KEPT 1000

/* A set of numbers: open addressing, 0 is an empty place. */
struct inodes {
    uint64_t *numbers;
    size_t count, capacity;
};

struct verifier {
    int root;
    struct damage damages[DAMAGES_KEPT];
    size_t damage_count;
    uint64_t uncounted;
    struct inodes seen;
    struct inodes links; /* hashes of the paths of symlinks */
    bool rewired;        /* one of them was replaced */
    /* The directory of the entry before. */
    int parent;
    size_t parent_length;
    char parent_path[PATH_MAX];
    /* The file whose content is compared; -1 where there is none. */
    int fd;
    bool differs;
    uint64_t compared;
    struct entry entry;
    char path[PATH_MAX];
};

/* damage.c */
int damage_note(struct verifier *verifier, const char *path, const char *target, struct failure *failure, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
/* A new entry takes the place of what earlier ones put there. */
void damage_forget(struct verifier *verifier, const char *path, bool is_directory);
int inodes_add(struct inodes *set, uint64_t number, struct failure *failure);
bool inodes_have(const struct inodes *set, uint64_t number);

/* survey.c: notes what lies in the layer and came from no entry */
int survey(struct verifier *verifier, struct failure *failure);

/* xattr.c */
bool xattr_is_refused(const char *name);

#endif
