/*
 * tinyrun-pack ROOT --blob FD [--layer 0|1] [--compression gzip|zstd|none] [--level N] [--clamp SECONDS] [--subsecond 0|1]
 *              [--exclude PATH]... [--threads N] [--path PATH] [--follow 0|1] [--name NAME] [--owner UID:GID] [--alone 0|1]
 *              [--below FD] [--userxattr 0|1]
 * tinyrun-pack ROOT --stat PATH [--follow 0|1]
 *
 * ROOT is one of: --tree DIR; --host DIR, with what is mounted below it; --namespace FD of a container's mount namespace;
 * --mount FD, with [--bind-source DIR --bind-target PATH [--bind-readonly 1]]... on it.
 * `--below`: what the upper directory lay on; see walk.c. `--path`: what there is packed, under `--name`; default: everything. `--alone`: without what is mounted in the container.
 *
 * Exit status 0 and {"ok":true,...} on stdout, or 1 and {"ok":false,"kind":...}: see unpack/report.c for the kinds. The blob
 * is written to the descriptor from where it stands; after a failure it holds any number of its bytes.
 */
#include "pack.h"

#include <fcntl.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../syscalls.h"

#define EXCLUDED_MAX 1024

struct options {
    struct root root;
    const char *path, *stat, *name;
    bool follow, alone, map_owner, user_marks;
    int below;
    unsigned uid, gid;
    const char *excluded[EXCLUDED_MAX];
    size_t excluded_count;
    struct output_options output;
    bool layer, subsecond, has_clamp;
    int64_t clamp;
};

static int usage(const char *what, const char *value) {
    struct failure failure = {0};
    fail(&failure, FAIL_IO, "option %.100s: %.100s", what, value == NULL ? "no value" : value);
    report_failure(&failure);
    return 2;
}

static int take_compression(struct output_options *output, const char *value) {
    output->compression = strcmp(value, "gzip") == 0 ? COMPRESSION_GZIP : strcmp(value, "zstd") == 0 ? COMPRESSION_ZSTD : COMPRESSION_NONE;
    return output->compression != COMPRESSION_NONE || strcmp(value, "none") == 0 ? 0 : -1;
}

static int take_option(struct options *options, const char *name, const char *value) {
    char *end;
    int taken = root_option(&options->root, name, value);
    if (taken != 0) return taken < 0 ? -1 : 0;
    if (strcmp(name, "--path") == 0) return options->path = value, 0;
    if (strcmp(name, "--stat") == 0) return options->stat = value, 0;
    if (strcmp(name, "--name") == 0) return options->name = value, strlen(value) < PATH_MAX ? 0 : -1;
    if (strcmp(name, "--owner") == 0) return options->map_owner = true, sscanf(value, "%u:%u", &options->uid, &options->gid) == 2 ? 0 : -1;
    if (strcmp(name, "--compression") == 0) return take_compression(&options->output, value);
    if (strcmp(name, "--exclude") == 0) {
        if (options->excluded_count == EXCLUDED_MAX) return -1;
        options->excluded[options->excluded_count++] = value;
        return 0;
    }
    errno = 0;
    long long number = strtoll(value, &end, 10);
    if (errno != 0 || end == value || *end != 0) return -1;
    if (strcmp(name, "--clamp") == 0) return options->clamp = number, options->has_clamp = true, 0;
    if (number < 0 || number > INT_MAX) return -1;
    if (strcmp(name, "--blob") == 0) return options->output.fd = (int)number, number > 2 ? 0 : -1;
    if (strcmp(name, "--below") == 0) return options->below = (int)number, number > 2 ? 0 : -1;
    if (strcmp(name, "--level") == 0) return options->output.level = (int)number, number <= 19 ? 0 : -1;
    if (strcmp(name, "--threads") == 0) return options->output.threads = (unsigned)number, number <= 64 ? 0 : -1;
    if (strcmp(name, "--layer") == 0) return options->layer = number == 1, number <= 1 ? 0 : -1;
    if (strcmp(name, "--follow") == 0) return options->follow = number == 1, number <= 1 ? 0 : -1;
    if (strcmp(name, "--alone") == 0) return options->alone = number == 1, number <= 1 ? 0 : -1;
    if (strcmp(name, "--userxattr") == 0) return options->user_marks = number == 1, number <= 1 ? 0 : -1;
    if (strcmp(name, "--subsecond") == 0) return options->subsecond = number == 1, number <= 1 ? 0 : -1;
    return -1;
}

static unsigned processors(void) {
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

static void report(const struct walk *walk, const struct totals *totals) {
    bool empty = walk->entries == (walk->has_root ? 1 : 0);
    char line[512];
    int length = snprintf(line, sizeof line, "{\"ok\":true,\"files\":%llu,\"bytes\":%llu,\"size\":%llu,\"skipped\":%llu,\"empty\":%s,\"digest\":\"%s\",\"diffId\":\"%s\"}\n",
                          (unsigned long long)walk->entries, (unsigned long long)totals->bytes, (unsigned long long)totals->raw_bytes,
                          (unsigned long long)walk->skipped, empty ? "true" : "false", totals->digest, totals->diff_id);
    while (write(STDOUT_FILENO, line, (size_t)length) < 0 && errno == EINTR) continue;
}

/* All but these, of which each may be missing. */
static void close_others(const int *kept, size_t count) {
    for (int from = 3;;) {
        int next = INT_MAX;
        for (size_t i = 0; i < count; i++)
            if (kept[i] >= from && kept[i] < next) next = kept[i];
        if (next > from) sys_close_range((unsigned)from, next == INT_MAX ? ~0u : (unsigned)next - 1, 0);
        if (next == INT_MAX) return;
        from = next + 1;
    }
}

/* The container's root as it is below everything that is mounted in it. */
static int open_top(bool alone, struct failure *failure) {
    int top = alone ? (int)sys_open_tree(AT_FDCWD, "/", TR_OPEN_TREE_CLONE) : open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (top < 0) fail_errno(failure, alone ? -top : errno, "open", "/");
    return top;
}

static int pack_path(struct walk *walk, const struct options *options, int top, struct failure *failure) {
    struct place place;
    int fd;
    if (options->path == NULL) {
        if ((fd = openat(top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0) return fail_errno(failure, errno, "open", "/");
        return walk_tree(walk, fd, failure);
    }
    if (source_find(top, options->path, options->follow, &place, failure) < 0) return -1;
    return source_walk(walk, &place, failure);
}

static int pack(struct walk *walk, const struct options *options, struct totals *totals, struct failure *failure) {
    int top = open_top(options->alone, failure);
    if (top < 0 || (walk->output = output_open(&options->output, failure)) == NULL) return -1;
    if (sandbox_filter(true, failure) < 0) return -1;
    if (pack_path(walk, options, top, failure) < 0 || output_finish(walk->output, failure) < 0) return -1;
    output_totals(walk->output, totals);
    return 0;
}

static int run(const struct options *options, struct walk *walk, struct failure *failure) {
    struct totals totals = {0};
    const int kept[] = {options->output.fd, options->root.fd, options->below};
    close_others(kept, sizeof kept / sizeof *kept);
    if (sandbox_enter(&SANDBOX_TO_READ, &options->root, failure) < 0) return -1;
    if (options->stat != NULL) return source_report(options->stat, options->follow, failure);
    if (pack(walk, options, &totals, failure) < 0) return -1;
    report(walk, &totals);
    return 0;
}

int main(int argc, char **argv) {
    static struct options options = {.output = {.fd = -1, .compression = COMPRESSION_GZIP}};
    for (int i = 1; i < argc; i += 2)
        if (i + 1 == argc || take_option(&options, argv[i], argv[i + 1]) < 0) return usage(argv[i], argv[i + 1]);
    if (!root_is_complete(&options.root)) return usage("--tree", NULL);
    if (options.output.fd < 0 && options.stat == NULL) return usage("--blob", NULL);
    if (options.output.level > 12 && options.output.compression == COMPRESSION_GZIP) return usage("--level", "gzip has 1 to 12");
    if (options.output.threads == 0) options.output.threads = processors();

    static struct walk walk;
    static struct failure failure;
    walk.layer = options.layer, walk.user_marks = options.user_marks, walk.subsecond = options.subsecond;
    walk.has_clamp = options.has_clamp, walk.clamp = options.clamp;
    walk.excluded = options.excluded, walk.excluded_count = options.excluded_count;
    walk.name = options.name;
    walk.below = options.below;
    walk.map_owner = options.map_owner, walk.uid = options.uid, walk.gid = options.gid;
    if (run(&options, &walk, &failure) < 0) {
        report_failure(&failure);
        _exit(1);
    }
    _exit(0);
}
