/*
 * tinyrun-unpack: one layer from a stream of bytes to a directory, in one pass.
 *
 *     stdin ──> source ──> inflate ──> stream ──> tar ──> extract ──> the layer directory
 *                 │ raw sha256            │ sha256 of the tar (diffID)
 *                 └──> blob file          └── a second thread fills chunks ahead where there are processors for it
 *
 * Everything after `source` handles bytes that nobody has verified yet: the digest is known only at the end. So the whole
 * process runs in a sandbox (sandbox.c) whose root is the layer directory.
 */
#ifndef TR_UNPACK_H
#define TR_UNPACK_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

/* The unit of tar, and the unit of what travels between the threads. A chunk is a multiple of a block, and all but the
   last are full: a header never straddles two. Small enough for inflate, sha256 and write to find it in the L2 cache. */
#define BLOCK_SIZE 512
#ifndef CHUNK_SIZE
#define CHUNK_SIZE (256 * 1024)
#endif
/* In front of a chunk lies the end of the one before: deflate copies from it. */
#define CHUNK_HISTORY (32 * 1024)
/* Pax headers, GNU long names, sparse maps: what is held in memory of one entry (the bound that Go's archive/tar has). */
#define SPECIAL_MAX (1024 * 1024)
#define XATTRS_MAX 256
#define EXTENTS_MAX 65536

/* ---- report.c: what went wrong, and the line that says so ---- */

enum failure_kind {
    FAIL_NONE,
    FAIL_DIGEST,      /* the blob is not the one that was asked for */
    FAIL_DIFFID,      /* its content is not the one that the image config names */
    FAIL_SIZE,        /* shorter or longer than the descriptor says */
    FAIL_CORRUPT,     /* gzip or zstd that does not decode, or ends early */
    FAIL_TAR,         /* decodes, but is no valid layer */
    FAIL_UNSAFE,      /* names something outside the layer */
    FAIL_SPACE,       /* the disk or the quota is full */
    FAIL_IO,          /* the host's fault */
    FAIL_NEEDS_LOWER, /* a hard link to a file of a layer below: `path` names it */
};

struct failure {
    enum failure_kind kind;
    int errnum; /* 0: no system call failed */
    char message[1024];
    char path[PATH_MAX];
};

/* Both note the first failure only, and return -1. */
int fail(struct failure *failure, enum failure_kind kind, const char *format, ...) __attribute__((format(printf, 3, 4)));
int fail_errno(struct failure *failure, int errnum, const char *action, const char *object);

struct totals {
    uint64_t entries;
    uint64_t bytes;          /* of the uncompressed tar */
    uint64_t raw_bytes;      /* of the blob */
    uint64_t implicit;       /* directories made because no entry did */
    uint64_t skipped_xattrs; /* refused by the file system or not for an image to set */
    bool opaque_root;        /* the layer hides everything below it: overlayfs has no attribute for that */
    uint64_t damages;        /* found by the verifier */
    char digest[65], diff_id[65];
};

void report_success(const struct totals *totals);
void report_failure(const struct failure *failure);
/* A line of its own, before the report: what is wrong with a layer that was unpacked. */
void report_damage(const char *path, const char *what);

/* ---- source.c: the raw bytes ---- */

#ifndef SOURCE_BUFFER
#define SOURCE_BUFFER (128 * 1024)
#endif
/* What a decoder may leave of its input and find again in front of the next. */
#define INPUT_KEPT 1024

struct source;
struct source_options {
    int blob_fd;           /* -1: bytes are not kept */
    int input_fd;          /* -1: all is in the blob file already */
    uint64_t have;         /* bytes at the start of the blob file that come first */
    uint64_t size;         /* UINT64_MAX: unknown */
    bool follow;           /* the input tells how much the file has, and is not the blob itself */
    const uint8_t *memory; /* instead of any descriptor, for the fuzzer */
    size_t memory_size;
};
struct source *source_open(const struct source_options *options);
/* The next bytes, a full buffer unless the end is nearer; *length 0 at the end. */
int source_next(struct source *source, const uint8_t **data, size_t *length, struct failure *failure);
/* Reads to the end, so that the digest can tell a broken transfer from a broken image. */
int source_drain(struct source *source, struct failure *failure);
uint64_t source_position(const struct source *source);
void source_digest(struct source *source, char hex[65]);
void source_close(struct source *source);

/* What of the source has not been decoded yet. */
struct input {
    struct source *source;
    const uint8_t *at, *end;
    bool final; /* nothing comes after `end` */
};
/* Brings more bytes behind those that are left, of which there are at most INPUT_KEPT. */
int input_more(struct input *input, struct failure *failure);

/* ---- gzip.c ---- */

struct deflate;
struct gzip {
    struct deflate *deflate;
    bool in_member, any_member;
    uint32_t crc;
    uint64_t produced; /* by this member */
};
int gzip_fill(struct gzip *gzip, struct input *input, uint8_t *out, size_t capacity, size_t *produced, struct failure *failure);

/* ---- inflate.c: gzip, zstd or nothing ---- */

enum compression { COMPRESSION_AUTO, COMPRESSION_NONE, COMPRESSION_GZIP, COMPRESSION_ZSTD };

struct inflater;
struct inflater *inflate_open(struct source *source, enum compression compression);
/* Fills `out` completely, unless the end comes first. In front of it lie CHUNK_HISTORY bytes: what was produced before. */
int inflate_fill(struct inflater *inflater, uint8_t *out, size_t capacity, size_t *produced, struct failure *failure);
void inflate_close(struct inflater *inflater);

/* ---- stream.c: uncompressed chunks, hashed, maybe made by a second thread ---- */

struct stream;
struct stream *stream_open(struct inflater *inflater, uint64_t max_bytes, bool threaded, struct failure *failure);
/* The thread exists from stream_open on, so that the system call filter holds for both, but reads nothing before this. */
void stream_start(struct stream *stream);
/* The next 512 bytes: 1, or 0 at the end; a partial block at the end is `corrupt`. */
int stream_block(struct stream *stream, const uint8_t **block, struct failure *failure);
/* Between 1 and `want` bytes of content that must be there. */
int stream_data(struct stream *stream, uint64_t want, const uint8_t **data, size_t *length, struct failure *failure);
/* Content that nobody wants. */
int stream_skip(struct stream *stream, uint64_t count, struct failure *failure);
/* What fills the last block after `size` bytes of content; the archive may end before it. */
int stream_pad(struct stream *stream, uint64_t size, struct failure *failure);
/* Takes what follows the archive's end, at most `max` bytes. */
int stream_finish(struct stream *stream, uint64_t max, struct failure *failure);
void stream_totals(struct stream *stream, struct totals *totals);
void stream_close(struct stream *stream);

/* ---- tar.c, pax.c, sparse.c: the archive ---- */

struct xattr {
    const char *name;
    const uint8_t *value;
    size_t length;
};

struct extent {
    uint64_t offset, length;
};

/* One member, with everything that extended headers say about it. Pointers hold until the sink's `end`. */
struct entry {
    char type;        /* '0' file, '1' hard link, '2' symlink, '3' char, '4' block, '5' directory, '6' fifo */
    const char *name; /* as it stands in the archive: not to be trusted */
    const char *link;
    uint32_t mode; /* permission bits with setuid, setgid and sticky */
    uint32_t uid, gid;
    uint64_t size; /* of the file once it is there; files only */
    struct timespec mtime;
    uint32_t major, minor;
    const struct xattr *xattrs;
    size_t xattr_count;
    bool sparse; /* holes between and after the data that comes */
};

struct sink {
    void *context;
    int (*begin)(void *context, const struct entry *entry, struct failure *failure);
    int (*data)(void *context, uint64_t offset, const uint8_t *data, size_t length, struct failure *failure);
    int (*end)(void *context, struct failure *failure);
};

int tar_read(struct stream *stream, const struct sink *sink, uint64_t max_entries, uint64_t *entries,
             struct failure *failure);

/* What pax records say of the next member. Strings live in `text`. */
struct pax {
    char *text; /* SPECIAL_MAX + 1 bytes */
    size_t text_length;
    const char *path, *linkpath;
    bool has_size, has_uid, has_gid, has_mtime;
    uint64_t size;
    uint32_t uid, gid;
    struct timespec mtime;
    struct xattr xattrs[XATTRS_MAX];
    size_t xattr_count;
    /* GNU sparse files: 0.0 lists pairs, 0.1 one map, 1.0 keeps the map in front of the content. */
    const char *sparse_name, *sparse_map;
    bool sparse, sparse_in_data, has_real_size;
    uint64_t real_size;
    struct extent *extents;
    size_t extent_count;
    bool offset_pending;
};

void pax_clear(struct pax *pax);
int pax_parse(struct pax *pax, struct failure *failure);
/* A global header changes nothing (see pax.c), but must be well-formed and must not name what would shift the archive. */
int pax_check_global(struct pax *pax, struct failure *failure);
int parse_decimal(const char *text, size_t length, uint64_t *value);

int sparse_from_old_gnu(struct pax *pax, const uint8_t *header, struct stream *stream, struct failure *failure);
int sparse_from_text(struct pax *pax, struct failure *failure);
int sparse_from_data(struct pax *pax, struct stream *stream, uint64_t *remaining, struct failure *failure);
int sparse_check(const struct pax *pax, uint64_t stored, struct failure *failure);
int parse_number(const uint8_t *field, size_t width, int64_t *value);

/* ---- extract.c and its parts: entries become files ---- */

struct lower {
    const int *fds; /* O_PATH directories of the layers below, top first */
    size_t count;
};

/* An archive that is no layer: its files go to a directory that has others, and `.wh.` means nothing. */
struct copy {
    const char *into;     /* below the root */
    bool is_host;         /* links do not lead out of the directory; without -a special rights stay behind */
    bool has_owner;       /* whatever the archive says: not -a */
    uint32_t uid, gid;
};

struct extractor;
/* `copy` NULL: a layer, to the root. */
struct extractor *extract_open(const struct lower *lower, const char *opaque_xattr, const struct copy *copy, struct failure *failure);
/* An archive that is no layer (a build context): whiteouts have no meaning in it. */
void extract_plain(struct extractor *extractor, bool plain);
struct sink extract_sink(struct extractor *extractor);
/* What has to wait for all entries: times, setgid bits and default ACLs of directories. */
int extract_finish(struct extractor *extractor, struct failure *failure);
void extract_totals(const struct extractor *extractor, struct totals *totals);
void extract_close(struct extractor *extractor);

/* ---- root.c: what the sandbox's root is ---- */

#define BINDS_MAX 256

struct bind {
    const char *source, *target;
    bool read_only;
};

/* One of three. */
struct root {
    const char *tree;  /* a directory of the host */
    bool submounts;    /* with what is mounted in it */
    int fd;            /* a container's mount namespace; with `is_mount` a mount that is attached nowhere */
    bool is_mount;
    struct bind binds[BINDS_MAX]; /* attached in that mount */
    size_t bind_count;
};
int root_option(struct root *root, const char *name, const char *value);
bool root_is_complete(const struct root *root);
int root_enter(const struct root *root, bool read_only, struct failure *failure);
int root_open(int directory, const char *path, int flags, uint64_t resolve);
/* ---- verify.c and its parts: entries are compared with the files they once became ---- */

#define DAMAGES_SHOWN 20

struct verifier;
struct verifier *verify_open(struct failure *failure);
struct sink verify_sink(struct verifier *verifier);
/* What is there besides. */
int verify_finish(struct verifier *verifier, struct failure *failure);
/* Reports the first of them. Returns how many there are. */
uint64_t verify_report(const struct verifier *verifier);

/* ---- sandbox.c and seccomp.c ---- */

/* A layer below, read-only, as a directory that nothing leads out of. Before sandbox_enter(). */
int sandbox_open_lower(const char *path, struct failure *failure);
/* What a process may do in its sandbox. */
struct sandbox {
    uint64_t capabilities; /* kept, as bits */
    unsigned long open_files;
    bool read_only;
};
extern const struct sandbox SANDBOX_TO_WRITE, SANDBOX_TO_COPY, SANDBOX_TO_READ;
/* Enters the root, in a mount namespace of its own, and drops every right but those. */
int sandbox_enter(const struct sandbox *sandbox, const struct root *root, struct failure *failure);
/* From here on all threads may only read, write and make files (`read_only`: only read and write): anything else kills the
   process. */
int sandbox_filter(bool read_only, struct failure *failure);

#endif
