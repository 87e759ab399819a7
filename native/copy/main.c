/*
 * tinyrun-copy copy --upper DIR [--lower DIR]... [--source DIR]...
 *
 *     Makes what the records on stdin say in the empty directory `upper`. `lower` are the layers below it, `source` the layers (or one
 *     directory) that files are copied from, both top first. A record:
 *
 *         u8 type  u32 mode, uid, gid  i64 seconds  u32 nanoseconds  u32 length, dest  u32 length, source
 *
 *     little-endian. Types: B and N where everything after it goes; D directory, F file, L link, C file whose content is `source`,
 *     S device or FIFO.
 *
 * tinyrun-copy list [--digests 1] [--depth N] [--source DIR]...
 *
 *     Lists the paths on stdin, each ended by a NUL: see list.c.
 *
 * Exit status 0, or 1 and "kind NUL errno NUL path" as the last thing on stderr.
 */
#include "copy.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../interpreter.h"
#include "../syscalls.h"

#define LAYERS_MAX 512
#define FIELD_MAX (64u * 1024 * 1024)

struct options {
    const char *upper;
    char *lower[LAYERS_MAX + 1], *source[LAYERS_MAX + 1];
    int lower_count, source_count, depth;
    bool with_digests;
};

int trouble_with(struct trouble *trouble, const char *kind, int errnum, const char *path) {
    trouble->kind = kind;
    trouble->errnum = errnum;
    snprintf(trouble->path, sizeof trouble->path, "%s", path);
    return -1;
}

static int end_with(const struct trouble *trouble) {
    fflush(stdout);
    fprintf(stderr, "%s%c%d%c%s", trouble->kind, 0, trouble->errnum, 0, trouble->path);
    return 1;
}

/* Several layers as one tree that is attached nowhere; without lowerdir+ (before 6.5) in a mount namespace of our own. */
static int open_layers(char **layers, int count) {
    static char *no_options[] = {NULL};
    if (count == 0) return -1;
    if (count == 1) return open(layers[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int fd = tr_overlay_open(layers, NULL, NULL, NULL);
    if (fd < 0 && (fd == -ENOSYS || fd == -EINVAL)) {
        struct tr_op_overlay op = {layers, NULL, NULL, no_options, layers[0]};
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) return -1;
        fd = tr_overlay_classic(&op);
        if (fd == 0) fd = open(layers[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    if (fd < 0) return -1;
    /* fsmount's descriptor is no directory to be read from. */
    int readable = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    close(fd);
    return readable;
}

static int read_number(int size, uint64_t *value) {
    unsigned char bytes[8];
    *value = 0;
    if (fread(bytes, 1, (size_t)size, stdin) != (size_t)size) return -1;
    for (int i = size - 1; i >= 0; i--) *value = *value << 8 | bytes[i];
    return 0;
}

static int read_field(char **field, size_t *room, size_t *length) {
    uint64_t size;
    if (read_number(4, &size) < 0 || size > FIELD_MAX) return -1;
    if (size + 1 > *room) {
        char *larger = realloc(*field, size + 1);
        if (larger == NULL) return -1;
        *field = larger;
        *room = size + 1;
    }
    if (fread(*field, 1, size, stdin) != size) return -1;
    (*field)[size] = 0;
    *length = size;
    return 0;
}

/* 1: a record, 0: the end. */
static int read_record(struct record *record, size_t rooms[2]) {
    uint64_t mode, uid, gid, seconds, nanoseconds;
    size_t length;
    int type = getchar();
    if (type == EOF) return 0;
    record->type = (char)type;
    if (read_number(4, &mode) < 0 || read_number(4, &uid) < 0 || read_number(4, &gid) < 0 || read_number(8, &seconds) < 0 ||
        read_number(4, &nanoseconds) < 0 || read_field(&record->dest, &rooms[0], &length) < 0 ||
        read_field(&record->source, &rooms[1], &record->source_length) < 0)
        return -1;
    /* A NUL would make another path of it. */
    if (strlen(record->dest) != length || (type != 'C' && strlen(record->source) != record->source_length)) return -1;
    record->mode = (uint32_t)mode;
    record->uid = (uint32_t)uid;
    record->gid = (uint32_t)gid;
    record->mtime = (struct moment){(int64_t)seconds, (uint32_t)nanoseconds};
    return 1;
}

static int copy(struct options *options, struct trouble *trouble) {
    struct record record = {0};
    size_t rooms[2] = {0, 0};
    int upper = open(options->upper, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (upper < 0) return trouble_with(trouble, "write", errno, options->upper);
    int lower = open_layers(options->lower, options->lower_count);
    if (lower < 0 && options->lower_count > 0) return trouble_with(trouble, "layers", errno, options->lower[0]);
    int source = open_layers(options->source, options->source_count);
    if (source < 0 && options->source_count > 0) return trouble_with(trouble, "layers", errno, options->source[0]);
    struct copier *copier = copier_open(upper, lower, source);
    if (copier == NULL) return trouble_with(trouble, "write", ENOMEM, options->upper);
    int more;
    while ((more = read_record(&record, rooms)) > 0)
        if (copier_take(copier, &record, trouble) < 0) return -1;
    if (more < 0) return trouble_with(trouble, "protocol", EPROTO, "");
    if (copier_finish(copier, trouble) < 0) return -1;
    printf("%llu %llu", (unsigned long long)copier_files(copier), (unsigned long long)copier_bytes(copier));
    return 0;
}

static int list(struct options *options, struct trouble *trouble) {
    char path[PATH_SIZE];
    size_t length = 0;
    int root = open_layers(options->source, options->source_count);
    if (root < 0) return trouble_with(trouble, "layers", errno, options->source_count > 0 ? options->source[0] : "");
    for (int byte; (byte = getchar()) != EOF;) {
        if (length == sizeof path) return trouble_with(trouble, "read", ENAMETOOLONG, "");
        path[length++] = (char)byte;
        if (byte != 0) continue;
        if (list_tree(root, path, options->with_digests, options->depth, stdout, trouble) < 0) return -1;
        length = 0;
    }
    return 0;
}

static int take_option(struct options *options, const char *name, char *value) {
    if (strcmp(name, "--upper") == 0) return options->upper = value, 0;
    if (strcmp(name, "--digests") == 0) return options->with_digests = *value == '1', 0;
    if (strcmp(name, "--depth") == 0) return options->depth = atoi(value), 0;
    if (strcmp(name, "--lower") == 0 && options->lower_count < LAYERS_MAX) return options->lower[options->lower_count++] = value, 0;
    if (strcmp(name, "--source") == 0 && options->source_count < LAYERS_MAX) return options->source[options->source_count++] = value, 0;
    return -1;
}

int main(int argc, char **argv) {
    static struct options options = {.depth = -1};
    static struct trouble trouble;
    for (int i = 2; i < argc; i += 2) {
        if (i + 1 < argc && take_option(&options, argv[i], argv[i + 1]) == 0) continue;
        trouble_with(&trouble, "usage", EINVAL, argv[i]);
        return end_with(&trouble);
    }
    umask(0);
    signal(SIGXFSZ, SIG_IGN);
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    static char input[1 << 16], output[1 << 16];
    setvbuf(stdin, input, _IOFBF, sizeof input);
    setvbuf(stdout, output, _IOFBF, sizeof output);
    int result = -1;
    if (argc > 1 && strcmp(argv[1], "copy") == 0 && options.upper != NULL) result = copy(&options, &trouble);
    else if (argc > 1 && strcmp(argv[1], "list") == 0) result = list(&options, &trouble);
    else trouble_with(&trouble, "usage", EINVAL, "");
    if (result == 0 && fflush(stdout) == 0) return 0;
    if (result == 0) trouble_with(&trouble, "write", errno, "standard output");
    return end_with(&trouble);
}
