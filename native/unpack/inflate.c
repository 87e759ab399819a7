/*
 * What a blob is compressed with is read from its first bytes; a media type that lies does no harm. gzip may have many
 * members (pigz, estargz) and zeros after the last; zstd many frames and skippable ones between (zstd:chunked).
 */
#include "unpack.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "deflate.h"

/* Windows beyond 128 MiB need `--long=28` and more to make: nobody does, and each layer under way would hold one. */
#define ZSTD_WINDOW_LOG_MAX 27

_Static_assert(INPUT_KEPT >= DEFLATE_LEFT_MAX, "what deflate leaves must fit in front of the next input");
_Static_assert(CHUNK_HISTORY >= DEFLATE_WINDOW, "chunks must have the history that deflate needs");

struct inflater {
    enum compression compression;
    bool opened;
    struct input input;
    struct gzip gzip;
    ZSTD_DStream *zstd;
    bool in_frame; /* inside a zstd frame: the end may not come here */
};

struct inflater *inflate_open(struct source *source, enum compression compression) {
    struct inflater *inflater = calloc(1, sizeof *inflater);
    if (inflater == NULL) return NULL;
    inflater->input.source = source;
    inflater->compression = compression;
    return inflater;
}

static bool starts_with(const struct input *input, const char *magic, size_t length) {
    return (size_t)(input->end - input->at) >= length && memcmp(input->at, magic, length) == 0;
}

static enum compression sniff(const struct input *input) {
    if (starts_with(input, "\x1f\x8b", 2)) return COMPRESSION_GZIP;
    if (starts_with(input, "\x28\xb5\x2f\xfd", 4)) return COMPRESSION_ZSTD;
    /* A skippable frame may come first: 0x184D2A50 to 5F. */
    if (input->end - input->at >= 4 && (input->at[0] & 0xf0) == 0x50 && memcmp(input->at + 1, "\x2a\x4d\x18", 3) == 0)
        return COMPRESSION_ZSTD;
    return COMPRESSION_NONE;
}

static int open_decoder(struct inflater *inflater, struct failure *failure) {
    struct input *input = &inflater->input;
    inflater->opened = true;
    if (input_more(input, failure) < 0) return -1;
    if (inflater->compression == COMPRESSION_AUTO) inflater->compression = sniff(input);
    if (inflater->compression == COMPRESSION_NONE && starts_with(input, "BZh", 3))
        return fail(failure, FAIL_CORRUPT, "compressed with bzip2, which layers are not");
    if (inflater->compression == COMPRESSION_NONE && starts_with(input, "\xfd" "7zXZ", 5))
        return fail(failure, FAIL_CORRUPT, "compressed with xz, which layers are not");
    if (inflater->compression == COMPRESSION_GZIP) {
        inflater->gzip.deflate = calloc(1, sizeof *inflater->gzip.deflate);
        if (inflater->gzip.deflate == NULL) return fail(failure, FAIL_IO, "out of memory");
    }
    if (inflater->compression == COMPRESSION_ZSTD) {
        inflater->zstd = ZSTD_createDStream();
        if (inflater->zstd == NULL) return fail(failure, FAIL_IO, "out of memory");
        ZSTD_DCtx_setParameter(inflater->zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX);
    }
    return 0;
}

static int fill_zstd(struct inflater *inflater, uint8_t *out, size_t capacity, size_t *produced, struct failure *failure) {
    struct input *input = &inflater->input;
    ZSTD_outBuffer output = {out, capacity, 0};
    while (output.pos < capacity) {
        if (input->at == input->end && input_more(input, failure) < 0) return -1;
        if (input->at == input->end && !inflater->in_frame) break;
        ZSTD_inBuffer in = {input->at, (size_t)(input->end - input->at), 0};
        size_t before = output.pos, result = ZSTD_decompressStream(inflater->zstd, &output, &in);
        if (ZSTD_isError(result)) return fail(failure, FAIL_CORRUPT, "zstd: %s", ZSTD_getErrorName(result));
        inflater->in_frame = result != 0;
        input->at += in.pos;
        /* At the end there may still be output in its buffers. */
        if (in.size == 0 && inflater->in_frame && output.pos == before) return fail(failure, FAIL_CORRUPT, "the compressed data ends early");
    }
    *produced = output.pos;
    return 0;
}

static int fill_plain(struct inflater *inflater, uint8_t *out, size_t capacity, size_t *produced, struct failure *failure) {
    struct input *input = &inflater->input;
    for (*produced = 0; *produced < capacity;) {
        if (input->at == input->end && input_more(input, failure) < 0) return -1;
        if (input->at == input->end) break;
        size_t n = (size_t)(input->end - input->at);
        if (n > capacity - *produced) n = capacity - *produced;
        memcpy(out + *produced, input->at, n);
        input->at += n, *produced += n;
    }
    return 0;
}

int inflate_fill(struct inflater *inflater, uint8_t *out, size_t capacity, size_t *produced, struct failure *failure) {
    *produced = 0;
    if (!inflater->opened && open_decoder(inflater, failure) < 0) return -1;
    switch (inflater->compression) {
    case COMPRESSION_GZIP:
        return gzip_fill(&inflater->gzip, &inflater->input, out, capacity, produced, failure);
    case COMPRESSION_ZSTD:
        return fill_zstd(inflater, out, capacity, produced, failure);
    default:
        return fill_plain(inflater, out, capacity, produced, failure);
    }
}

void inflate_close(struct inflater *inflater) {
    ZSTD_freeDStream(inflater->zstd);
    free(inflater->gzip.deflate);
    free(inflater);
}
