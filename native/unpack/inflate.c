/*
 * What a blob is compressed with is read from its first bytes; a media type that lies does no harm. gzip may have many
 * members (pigz, estargz) and zeros after the last; zstd many frames and skippable ones between (zstd:chunked).
 */
#include "unpack.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

/* Windows beyond 128 MiB need `--long=28` and more to make: nobody does, and each layer under way would hold one. */
#define ZSTD_WINDOW_LOG_MAX 27

struct inflater {
    struct source *source;
    enum compression compression;
    const uint8_t *in;
    size_t in_left;
    bool opened, source_ended;
    bool in_frame; /* inside a gzip member or a zstd frame: the end may not come here */
    bool any_frame;
    z_stream zlib;
    ZSTD_DStream *zstd;
};

struct inflater *inflate_open(struct source *source, enum compression compression) {
    struct inflater *inflater = calloc(1, sizeof *inflater);
    if (inflater == NULL) return NULL;
    inflater->source = source;
    inflater->compression = compression;
    return inflater;
}

static int refill(struct inflater *inflater, struct failure *failure) {
    if (inflater->in_left > 0 || inflater->source_ended) return 0;
    if (source_next(inflater->source, &inflater->in, &inflater->in_left, failure) < 0) return -1;
    if (inflater->in_left == 0) inflater->source_ended = true;
    return 0;
}

static bool starts_with(const struct inflater *inflater, const char *magic, size_t length) {
    return inflater->in_left >= length && memcmp(inflater->in, magic, length) == 0;
}

static enum compression sniff(const struct inflater *inflater) {
    if (starts_with(inflater, "\x1f\x8b", 2)) return COMPRESSION_GZIP;
    if (starts_with(inflater, "\x28\xb5\x2f\xfd", 4)) return COMPRESSION_ZSTD;
    /* A skippable frame may come first: 0x184D2A50 to 5F. */
    if (inflater->in_left >= 4 && (inflater->in[0] & 0xf0) == 0x50 && memcmp(inflater->in + 1, "\x2a\x4d\x18", 3) == 0)
        return COMPRESSION_ZSTD;
    return COMPRESSION_NONE;
}

static int open_decoder(struct inflater *inflater, struct failure *failure) {
    inflater->opened = true;
    if (refill(inflater, failure) < 0) return -1;
    enum compression found = sniff(inflater);
    if (found == COMPRESSION_NONE && (starts_with(inflater, "\xfd" "7zXZ", 5) || starts_with(inflater, "BZh", 3)))
        return fail(failure, FAIL_CORRUPT, "compressed with %s, which layers are not", inflater->in[0] == 'B' ? "bzip2" : "xz");
    if (found == COMPRESSION_NONE && inflater->in_left > 0 && inflater->compression > COMPRESSION_NONE)
        found = starts_with(inflater, "\0\0\0\0", 4) || (inflater->in_left >= BLOCK_SIZE) ? COMPRESSION_NONE : inflater->compression;
    inflater->compression = found;
    if (found == COMPRESSION_GZIP && inflateInit2(&inflater->zlib, 15 + 16) != Z_OK)
        return fail(failure, FAIL_IO, "out of memory");
    if (found == COMPRESSION_ZSTD) {
        inflater->zstd = ZSTD_createDStream();
        if (inflater->zstd == NULL) return fail(failure, FAIL_IO, "out of memory");
        ZSTD_DCtx_setParameter(inflater->zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX);
    }
    return 0;
}

/* Between members: another one, zeros to the end, or something that is neither. */
static int next_member(struct inflater *inflater, struct failure *failure) {
    if (inflater->any_frame) {
        while (inflater->in_left > 0 && inflater->in[0] == 0) {
            inflater->in++, inflater->in_left--;
            if (refill(inflater, failure) < 0) return -1;
        }
        if (inflater->in_left == 0) return 0;
        if (inflater->in[0] != 0x1f) return fail(failure, FAIL_CORRUPT, "garbage after the end of the gzip stream");
        inflateReset(&inflater->zlib);
    }
    inflater->in_frame = inflater->any_frame = true;
    return 0;
}

static int fill_gzip(struct inflater *inflater, uint8_t *out, size_t capacity, size_t *produced, struct failure *failure) {
    if (!inflater->in_frame && next_member(inflater, failure) < 0) return -1;
    if (!inflater->in_frame) return 0;
    z_stream *zlib = &inflater->zlib;
    zlib->next_in = (Bytef *)(uintptr_t)inflater->in, zlib->avail_in = (uInt)inflater->in_left;
    zlib->next_out = out + *produced, zlib->avail_out = (uInt)(capacity - *produced);
    int result = inflate(zlib, Z_NO_FLUSH);
    inflater->in = zlib->next_in, inflater->in_left = zlib->avail_in;
    *produced = capacity - zlib->avail_out;
    if (result == Z_STREAM_END) inflater->in_frame = false;
    else if (result == Z_MEM_ERROR) return fail(failure, FAIL_IO, "out of memory");
    else if (result != Z_OK && result != Z_BUF_ERROR)
        return fail(failure, FAIL_CORRUPT, "gzip: %s", zlib->msg == NULL ? "invalid data" : zlib->msg);
    return 0;
}

static int fill_zstd(struct inflater *inflater, uint8_t *out, size_t capacity, size_t *produced, struct failure *failure) {
    ZSTD_inBuffer input = {inflater->in, inflater->in_left, 0};
    ZSTD_outBuffer output = {out, capacity, *produced};
    size_t result = ZSTD_decompressStream(inflater->zstd, &output, &input);
    if (ZSTD_isError(result)) return fail(failure, FAIL_CORRUPT, "zstd: %s", ZSTD_getErrorName(result));
    inflater->in += input.pos, inflater->in_left -= input.pos;
    *produced = output.pos;
    inflater->in_frame = result != 0;
    return 0;
}

static void fill_plain(struct inflater *inflater, uint8_t *out, size_t capacity, size_t *produced) {
    size_t n = capacity - *produced < inflater->in_left ? capacity - *produced : inflater->in_left;
    memcpy(out + *produced, inflater->in, n);
    inflater->in += n, inflater->in_left -= n, *produced += n;
}

int inflate_fill(struct inflater *inflater, uint8_t *out, size_t capacity, size_t *produced, struct failure *failure) {
    *produced = 0;
    if (!inflater->opened && open_decoder(inflater, failure) < 0) return -1;
    while (*produced < capacity) {
        if (refill(inflater, failure) < 0) return -1;
        size_t before_in = inflater->in_left, before_out = *produced;
        if (inflater->in_left == 0 && !inflater->in_frame) return 0;
        int result = 0;
        if (inflater->compression == COMPRESSION_GZIP) result = fill_gzip(inflater, out, capacity, produced, failure);
        else if (inflater->compression == COMPRESSION_ZSTD) result = fill_zstd(inflater, out, capacity, produced, failure);
        else fill_plain(inflater, out, capacity, produced);
        if (result < 0) return -1;
        if (inflater->source_ended && inflater->in_frame && inflater->in_left == before_in && *produced == before_out)
            return fail(failure, FAIL_CORRUPT, "the compressed data ends early");
    }
    return 0;
}

void inflate_close(struct inflater *inflater) {
    if (inflater->compression == COMPRESSION_GZIP && inflater->opened) inflateEnd(&inflater->zlib);
    ZSTD_freeDStream(inflater->zstd);
    free(inflater);
}
