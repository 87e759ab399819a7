/*
 * tinyrun-pack: a directory tree to a tar, in one pass.
 *
 *     walk ──> entry ──> header ──> output ──> chunks ──┬── sha256 of the tar (diffID)
 *      │ layer: overlay's marks become `.wh.` files      ├── gzip or zstd, each chunk for itself
 *      └── links: the second name of a file              └── sha256 of the blob, its bytes to a descriptor
 *
 * The tree may be a container's, which runs and changes it meanwhile, by intent in ways that hurt. So the process runs in
 * the unpacker's sandbox: its root is the tree.
 */
#ifndef TR_PACK_H
#define TR_PACK_H

#include <sys/stat.h>

#include "../unpack/unpack.h"

/* ---- output.c: the tar's bytes, hashed and compressed by threads ---- */

/* The unit that is compressed for itself: a gzip member or a zstd frame each. The blob is the same for any number of
   threads. */
#define PACK_CHUNK (1024 * 1024)

struct output;
struct output_options {
    int fd;
    enum compression compression; /* not AUTO */
    int level;                    /* 0: the usual one */
    unsigned threads;
};
struct output *output_open(const struct output_options *options, struct failure *failure);
/* Room for the next bytes, at least one; blocks while all chunks are under way. */
int output_room(struct output *output, uint8_t **at, size_t *length, struct failure *failure);
/* So many bytes of the room are filled. */
void output_filled(struct output *output, size_t length);
int output_write(struct output *output, const void *bytes, size_t length, struct failure *failure);
int output_zeros(struct output *output, uint64_t length, struct failure *failure);
/* Zeros up to the next block. */
int output_pad(struct output *output, struct failure *failure);
/* Waits until all is written. */
int output_finish(struct output *output, struct failure *failure);
/* Of the finished output: bytes, raw_bytes, digest, diff_id. */
void output_totals(struct output *output, struct totals *totals);

/* ---- header.c: ustar headers, and pax records for what they cannot say ---- */

#define MEMBER_XATTRS_MAX (256 * 1024)

struct member {
    char type; /* as in struct entry */
    const char *name, *link;
    uint32_t mode, uid, gid, major, minor;
    uint64_t size; /* of the content that follows */
    struct timespec mtime;
    bool subsecond;
    /* name NUL, length (uint32_t), value; one behind the other */
    const uint8_t *xattrs;
    size_t xattrs_length;
    /* A sparse file: its size as it is read; `size` counts the map and what is not holes. */
    bool sparse;
    uint64_t real_size;
};
int header_write(struct output *output, const struct member *member, struct failure *failure);

/* ---- links.c: files with several names ---- */

struct links {
    struct link *slots;
    size_t count, capacity;
};
/* The name under which the file was packed already, or NULL: then it is remembered as `name`. */
const char *links_find(struct links *links, const struct stat *st, const char *name, struct failure *failure);

/* ---- walk.c and content.c ---- */

struct walk {
    struct output *output;
    struct links links;
    bool layer;        /* the tree is an overlay's upper directory */
    bool user_marks;   /* of one that was mounted with `userxattr` */
    bool subsecond;
    bool has_clamp;
    int64_t clamp;     /* seconds: no mtime is later */
    const char *const *excluded; /* paths, without a slash at either end */
    size_t excluded_count;
    int below; /* the layers below the upper directory, or 0 */
    const char *name;  /* what the top is called; NULL: it has no entry and its entries' names begin with their own */
    bool map_owner;
    uint32_t uid, gid; /* where map_owner: everything's owner */
    uint64_t entries, skipped;
    bool has_root; /* one of the entries is the top's own */
    uint8_t xattrs[MEMBER_XATTRS_MAX];
    size_t xattrs_length;
    char path[PATH_MAX]; /* below the top, for messages and names */
    size_t path_length;
};

/* Packs the tree at `root`, an open directory, whose name is not resolved again. */
int walk_tree(struct walk *walk, int root, struct failure *failure);
/* Packs what `parent` has under `leaf`, which is no directory, as `walk.name`. */
int walk_one(struct walk *walk, int parent, const char *leaf, struct failure *failure);

/* ---- source.c: what a path in the tree means ---- */

struct place {
    int parent;
    char leaf[NAME_MAX + 1]; /* "." for a directory that was followed or has no name */
    struct stat st;
};
/* `path` as the container would take it. Its last part is followed only where it is asked for, or ends in "/" or "/.". */
int source_find(int top, const char *path, bool follow, struct place *place, struct failure *failure);
int source_walk(struct walk *walk, const struct place *place, struct failure *failure);
/* Prints one line of JSON: type, mode, size, and of a link where it leads. */
int source_report(const char *path, bool follow, struct failure *failure);

/* content.c: an open regular file after its header; as many bytes as `size` says, whatever happens to it meanwhile. */
int content_write(struct output *output, int fd, uint64_t size, const char *path, struct failure *failure);

/* A map of so many has at most 700 kB; Go's reader and ours take one MiB. */
#define HOLES_EXTENTS 16384
struct holes {
    struct extent extents[HOLES_EXTENTS]; /* of data */
    size_t count;
    uint64_t data; /* bytes in them */
};
/* Whether the file is worth to be packed as a sparse one. */
bool holes_find(int fd, uint64_t size, struct holes *holes);
/* `size`: the file's, holes included */
uint64_t holes_map_length(const struct holes *holes, uint64_t size);
int holes_write(struct output *output, int fd, const struct holes *holes, uint64_t size, const char *path, struct failure *failure);

/* marks.c: what overlayfs notes in an upper directory */
enum mark { MARK_NONE, MARK_WHITEOUT, MARK_OPAQUE, MARK_MOVED };
bool mark_is_overlay_xattr(const char *name);
enum mark mark_of_xattr(const char *name, const char *value, size_t length, bool is_directory, bool by_user);

#endif
