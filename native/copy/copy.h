/* tinyrun-copy: what COPY and ADD of a build do to files. main.c has the protocol. */
#ifndef TR_COPY_H
#define TR_COPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#define PATH_SIZE 4096

/* Why it ended: a word for TypeScript, which has the sentence, with errno and the path in question. */
struct trouble {
    const char *kind;
    int errnum;
    char path[PATH_SIZE];
};

/* Fills in the trouble; returns -1. */
int trouble_with(struct trouble *trouble, const char *kind, int errnum, const char *path);

struct moment {
    int64_t seconds;
    uint32_t nanoseconds;
};

/* One thing to be made, in the order of the input: see main.c. */
struct record {
    char type;
    uint32_t mode, uid, gid;
    struct moment mtime;
    char *dest;   /* below the base; empty: what the base record named */
    char *source; /* path below the source's root, target of a link, or content */
    size_t source_length;
};

/* Of uid and gid: as the source has them. */
#define KEEP UINT32_MAX

struct copier;
/* upper: a new empty directory; lower: what is below it, -1: nothing; source: -1 where nothing is copied from files. */
struct copier *copier_open(int upper, int lower, int source);
int copier_take(struct copier *copier, const struct record *record, struct trouble *trouble);
/* Sets the times of all directories. */
int copier_finish(struct copier *copier, struct trouble *trouble);
uint64_t copier_files(const struct copier *copier);
uint64_t copier_bytes(const struct copier *copier);

/*
 * What a path means below a root that may be hostile, every link followed as if the root were "/": without links, without a leading slash,
 * "" for the root. What is missing stays as written. Returns 0 or -errno.
 */
int resolve_path(int root, const char *path, char real[PATH_SIZE]);

/* Opens a path that holds no links, below a root; ELOOP where one is in it. Returns the fd or -errno. */
int open_below(int root, const char *path, int flags);

struct twin {
    uint64_t device, inode;
    char *path;
};
struct twins {
    struct twin *slots;
    size_t count, room;
};
/* *known: the path under which the file was copied already; NULL: it is remembered as `path` now. Returns 0 or -errno. */
int twins_find(struct twins *twins, uint64_t device, uint64_t inode, const char *path, const char **known);

/* Extended attributes that belong to a file's content: capabilities, ACLs, the user's own. */
bool is_copied_attribute(const char *name);
void copy_attributes(int from, int to);

/* Lists what is below a path of the source: see list.c. */
int list_tree(int root, const char *path, bool with_digests, int depth, FILE *out, struct trouble *trouble);

#endif
