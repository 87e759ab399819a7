/*
 * tinyrun-unpack --layer DIR [--blob FD] [--have N] [--follow 0|1] [--size N] [--digest HEX] [--diff-id HEX] [--lower DIR]...
 *                [--compression auto|gzip|zstd|none] [--opaque-xattr NAME] [--threads 1|2] [--max-bytes N] [--max-entries N]
 * tinyrun-unpack ROOT --into PATH [--owner UID:GID] ...: an archive that is no layer, into a directory (copy.c); for ROOT see
 *                pack/main.c.
 *                [--verify 0|1]
 *
 * With --verify nothing is made: the directory is compared with the blob, and each difference is a line before the report.
 *
 * Exit status 0 and {"ok":true,...} on stdout, or 1 and {"ok":false,"kind":...}: see report.c. The caller removes the
 * directory of a layer that failed; the blob file keeps what came.
 */
#include "unpack.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../syscalls.h"

#define LOWER_MAX 512
/* tar pads with whole records, of 10 KiB to some MiB; more than this after the end is no padding. */
#define TRAILING_MAX (256ull * 1024 * 1024)

struct options {
    const char *layer, *digest, *diff_id, *opaque_xattr;
    const char *lower[LOWER_MAX];
    size_t lower_count;
    int blob_fd;
    struct root root;
    struct copy copy;
    enum compression compression;
    uint64_t have, follow, plain, verify, size, max_bytes, max_entries, threads;
};

static int usage(const char *what, const char *value) {
    struct failure failure = {0};
    fail(&failure, FAIL_IO, "option %.100s: %.100s", what, value == NULL ? "no value" : value);
    report_failure(&failure);
    return 2;
}

static bool is_hex64(const char *text) {
    return strlen(text) == 64 && strspn(text, "0123456789abcdef") == 64;
}

static int parse_compression(const char *value, enum compression *compression) {
    static const char *const NAMES[] = {"auto", "none", "gzip", "zstd"};
    for (int i = 0; i < 4; i++)
        if (strcmp(value, NAMES[i]) == 0) return *compression = (enum compression)i, 0;
    return -1;
}

static int take_option(struct options *options, const char *name, const char *value) {
    uint64_t number = 0;
    const bool is_number = parse_decimal(value, strlen(value), &number) == 0;
    int taken = root_option(&options->root, name, value);
    if (taken != 0) return taken < 0 ? -1 : 0;
    if (strcmp(name, "--layer") == 0) return options->layer = options->root.tree = value, 0;
    if (strcmp(name, "--into") == 0) return options->copy.into = value, 0;
    if (strcmp(name, "--owner") == 0)
        return options->copy.has_owner = true, sscanf(value, "%u:%u", &options->copy.uid, &options->copy.gid) == 2 ? 0 : -1;
    if (strcmp(name, "--opaque-xattr") == 0) return options->opaque_xattr = value, 0;
    if (strcmp(name, "--compression") == 0) return parse_compression(value, &options->compression);
    if (strcmp(name, "--digest") == 0) return options->digest = value, is_hex64(value) ? 0 : -1;
    if (strcmp(name, "--diff-id") == 0) return options->diff_id = value, is_hex64(value) ? 0 : -1;
    if (strcmp(name, "--lower") == 0) {
        if (options->lower_count == LOWER_MAX) return -1;
        options->lower[options->lower_count++] = value;
        return 0;
    }
    if (!is_number) return -1;
    if (strcmp(name, "--blob") == 0) return options->blob_fd = (int)number, number > 2 && number < INT_MAX ? 0 : -1;
    if (strcmp(name, "--have") == 0) return options->have = number, 0;
    if (strcmp(name, "--follow") == 0) return options->follow = number, number <= 1 ? 0 : -1;
    if (strcmp(name, "--verify") == 0) return options->verify = number, number <= 1 ? 0 : -1;
    if (strcmp(name, "--size") == 0) return options->size = number, 0;
    if (strcmp(name, "--plain") == 0) return options->plain = number, number <= 1 ? 0 : -1;
    if (strcmp(name, "--threads") == 0) return options->threads = number, number == 1 || number == 2 ? 0 : -1;
    if (strcmp(name, "--max-bytes") == 0) return options->max_bytes = number, 0;
    if (strcmp(name, "--max-entries") == 0) return options->max_entries = number, 0;
    return -1;
}

/* Whatever else the caller had open. */
static void close_others(int kept) {
    if (kept < 3) {
        sys_close_range(3, ~0u, 0);
        return;
    }
    if (kept > 3) sys_close_range(3, (unsigned)kept - 1, 0);
    sys_close_range((unsigned)kept + 1, ~0u, 0);
}

static bool has_second_processor(void) {
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 1;
}

struct work {
    struct source *source;
    struct inflater *inflater;
    struct stream *stream;
    struct extractor *extractor; /* either of them */
    struct verifier *verifier;
    struct totals totals;
};

static int prepare(struct work *work, const struct options *options, struct failure *failure) {
    static int lower_fds[LOWER_MAX];
    const bool is_copy = options->copy.into != NULL;
    close_others(is_copy ? options->root.fd : options->blob_fd);
    for (size_t i = 0; i < options->lower_count; i++)
        if ((lower_fds[i] = sandbox_open_lower(options->lower[i], failure)) < 0) return -1;
    const struct sandbox *sandbox = options->verify ? &SANDBOX_TO_READ : is_copy ? &SANDBOX_TO_COPY : &SANDBOX_TO_WRITE;
    if (sandbox_enter(sandbox, &options->root, failure) < 0) return -1;
    struct source_options input = {.blob_fd = options->blob_fd, .have = options->have, .size = options->size};
    input.follow = options->follow == 1;
    input.input_fd = options->have == options->size ? -1 : STDIN_FILENO;
    struct lower lower = {lower_fds, options->lower_count};
    bool threaded = options->threads == 0 ? has_second_processor() : options->threads == 2;
    if ((work->source = source_open(&input)) == NULL) return fail(failure, FAIL_IO, "out of memory");
    if ((work->inflater = inflate_open(work->source, options->compression)) == NULL) return fail(failure, FAIL_IO, "out of memory");
    if (options->verify) work->verifier = verify_open(failure);
    else if ((work->extractor = extract_open(&lower, options->opaque_xattr, is_copy ? &options->copy : NULL, failure)) != NULL)
        extract_plain(work->extractor, options->plain == 1);
    if (failure->kind != FAIL_NONE) return -1;
    if ((work->stream = stream_open(work->inflater, options->max_bytes, threaded, failure)) == NULL) return -1;
    if (sandbox_filter(options->verify == 1, failure) < 0) return -1;
    stream_start(work->stream);
    return failure->kind == FAIL_NONE ? 0 : -1;
}

static int unpack(struct work *work, const struct options *options, struct failure *failure) {
    struct sink sink = options->verify ? verify_sink(work->verifier) : extract_sink(work->extractor);
    if (tar_read(work->stream, &sink, options->max_entries, &work->totals.entries, failure) < 0) return -1;
    if (stream_finish(work->stream, TRAILING_MAX, failure) < 0) return -1;
    return options->verify ? verify_finish(work->verifier, failure) : extract_finish(work->extractor, failure);
}

static bool is_of_the_host(enum failure_kind kind) {
    return kind == FAIL_IO || kind == FAIL_SPACE || kind == FAIL_SIZE;
}

/*
 * The blob's digest goes before every other complaint: bytes that were damaged on their way are fetched again, an archive
 * that is bad as its maker wrote it is not. So a failed unpack still reads its input to the end.
 */
static int verify(struct work *work, const struct options *options, struct failure *failure) {
    stream_totals(work->stream, &work->totals);
    struct failure while_draining = {0};
    if (failure->kind != FAIL_NONE && source_drain(work->source, &while_draining) < 0) {
        *failure = while_draining;
        return -1;
    }
    work->totals.raw_bytes = source_position(work->source);
    source_digest(work->source, work->totals.digest);
    if (options->digest != NULL && strcmp(options->digest, work->totals.digest) != 0) {
        *failure = (struct failure){0};
        return fail(failure, FAIL_DIGEST, "its digest is sha256:%s", work->totals.digest);
    }
    if (failure->kind != FAIL_NONE) return -1;
    if (options->diff_id != NULL && strcmp(options->diff_id, work->totals.diff_id) != 0)
        return fail(failure, FAIL_DIFFID, "its content has the digest sha256:%s, expected sha256:%s", work->totals.diff_id, options->diff_id);
    return 0;
}

int main(int argc, char **argv) {
    static struct options options = {.blob_fd = -1, .size = UINT64_MAX, .opaque_xattr = "trusted.overlay.opaque",
                              .max_bytes = 1ull << 40, .max_entries = 10 * 1000 * 1000};
    for (int i = 1; i < argc; i += 2)
        if (i + 1 == argc || take_option(&options, argv[i], argv[i + 1]) < 0) return usage(argv[i], argv[i + 1]);
    if (!root_is_complete(&options.root)) return usage("--layer", NULL);
    if ((options.layer == NULL) == (options.copy.into == NULL)) return usage("--into", NULL);
    options.copy.is_host = options.root.tree != NULL;
    if ((options.have > 0 || options.follow) && (options.blob_fd < 0 || options.have > options.size)) return usage("--have", "no such blob");

    static struct work work;
    static struct failure failure;
    if (prepare(&work, &options, &failure) == 0) unpack(&work, &options, &failure);
    if (!is_of_the_host(failure.kind) && verify(&work, &options, &failure) == 0) {
        if (options.verify) work.totals.damages = verify_report(work.verifier);
        else extract_totals(work.extractor, &work.totals);
        report_success(&work.totals);
        _exit(0);
    }
    report_failure(&failure);
    /* Not exit(): after a full disk the decoder's thread may still wait for input. */
    _exit(1);
}
