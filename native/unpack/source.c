/*
 * The raw bytes of a blob: first those that an earlier download left in the blob file, then standard input, which is
 * written to the blob file on its way. Or the caller writes the file and standard input tells how far it has come: eight
 * bytes, little-endian, each time; then no byte of the blob goes through a pipe. All is hashed: a file that lay on the
 * disk is no more trusted than the network.
 */
#include "unpack.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sha256.h"

struct source {
    struct source_options options;
    uint64_t position; /* bytes delivered */
    bool ended;
    uint8_t news[8]; /* a number of standard input that has not arrived whole */
    size_t news_length;
    struct sha256 hash;
    uint8_t space[INPUT_KEPT + SOURCE_BUFFER]; /* the front is for input_more() */
};

struct source *source_open(const struct source_options *options) {
    struct source *source = calloc(1, sizeof *source);
    if (source == NULL) return NULL;
    source->options = *options;
    sha256_init(&source->hash);
    return source;
}

uint64_t source_position(const struct source *source) {
    return source->position;
}

static int keep(struct source *source, const uint8_t *data, size_t length, uint64_t offset, struct failure *failure) {
    while (length > 0) {
        ssize_t n = pwrite(source->options.blob_fd, data, length, (off_t)offset);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail_errno(failure, errno, "write", "blob");
        data += n, offset += (uint64_t)n, length -= (size_t)n;
    }
    return 0;
}

static uint64_t number_of(const uint8_t bytes[8]) {
    uint64_t number = 0;
    for (int i = 7; i >= 0; i--) number = number << 8 | bytes[i];
    return number;
}

/* Waits until the file has more than the `have` bytes that are known of. False at the end of the news. */
static bool wait_for_more(struct source *source, struct failure *failure) {
    struct source_options *options = &source->options;
    for (uint64_t had = options->have; options->have == had;) {
        ssize_t n = read(options->input_fd, source->news + source->news_length, sizeof source->news - source->news_length);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) fail_errno(failure, errno, "read", "standard input");
        if (n <= 0) return false;
        source->news_length += (size_t)n;
        if (source->news_length < sizeof source->news) continue;
        uint64_t arrived = number_of(source->news);
        source->news_length = 0;
        if (arrived > had) options->have = arrived;
    }
    return true;
}

/* One read from whatever is next in line; 0 at the end. */
static ssize_t read_some(struct source *source, uint8_t *into, size_t room, uint64_t offset, struct failure *failure) {
    const struct source_options *options = &source->options;
    for (;;) {
        ssize_t n;
        if (options->follow && offset == options->have && offset != options->size && !wait_for_more(source, failure))
            return failure->kind == FAIL_NONE ? 0 : -1;
        if (options->have > options->size)
            return fail(failure, FAIL_SIZE, "longer than the %llu bytes of its descriptor", (unsigned long long)options->size);
        if (offset < options->have) {
            uint64_t left = options->have - offset;
            n = pread(options->blob_fd, into, left < room ? (size_t)left : room, (off_t)offset);
            if (n == 0) return fail(failure, FAIL_IO, "the partial blob is shorter than %llu bytes", (unsigned long long)options->have);
            if (n < 0 && errno != EINTR) return fail_errno(failure, errno, "read", "blob");
        } else if (options->memory != NULL) {
            uint64_t left = options->memory_size - offset;
            n = (ssize_t)(left < room ? left : room);
            memcpy(into, options->memory + offset, (size_t)n);
        } else {
            if (options->input_fd < 0 || options->follow) return 0;
            n = read(options->input_fd, into, room);
            if (n < 0 && errno != EINTR) return fail_errno(failure, errno, "read", "standard input");
            if (n > 0 && (uint64_t)n > options->size - offset)
                return fail(failure, FAIL_SIZE, "longer than the %llu bytes of its descriptor", (unsigned long long)options->size);
            if (n > 0 && options->blob_fd >= 0 && keep(source, into, (size_t)n, offset, failure) < 0) return -1;
        }
        if (n >= 0) return n;
    }
}

/* Waits for a full buffer: the decoders like long runs, and the last bytes of a stream come with its end. */
int source_next(struct source *source, const uint8_t **data, size_t *length, struct failure *failure) {
    uint8_t *const buffer = source->space + INPUT_KEPT;
    size_t filled = 0;
    while (!source->ended && filled < SOURCE_BUFFER) {
        ssize_t n = read_some(source, buffer + filled, SOURCE_BUFFER - filled, source->position + filled, failure);
        if (n < 0) return -1;
        if (n == 0) source->ended = true;
        filled += (size_t)n;
    }
    sha256_update(&source->hash, buffer, filled);
    source->position += filled;
    *data = buffer, *length = filled;
    if (source->ended && source->options.size != UINT64_MAX && source->position != source->options.size)
        return fail(failure, FAIL_SIZE, "ended after %llu of %llu bytes", (unsigned long long)source->position,
                    (unsigned long long)source->options.size);
    return 0;
}

int source_drain(struct source *source, struct failure *failure) {
    const uint8_t *data;
    size_t length;
    do {
        if (source_next(source, &data, &length, failure) < 0) return -1;
    } while (length > 0);
    return 0;
}

int input_more(struct input *input, struct failure *failure) {
    const uint8_t *data;
    size_t left = (size_t)(input->end - input->at), length;
    uint8_t *front = input->source->space + INPUT_KEPT - left;
    if (left > 0) memmove(front, input->at, left);
    if (source_next(input->source, &data, &length, failure) < 0) return -1;
    input->at = front;
    input->end = data + length;
    input->final = length < SOURCE_BUFFER;
    return 0;
}

void source_digest(struct source *source, char hex[65]) {
    sha256_hex(&source->hash, hex);
}

void source_close(struct source *source) {
    free(source);
}
