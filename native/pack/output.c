/*
 * A ring of chunks. The walker fills one after the other; threads hash, compress and write them. A thread takes what is
 * there to do: hashing and writing go in order and by one thread at a time, compressing by as many as there are.
 */
#include "pack.h"

#include <errno.h>
#include <libdeflate.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "../unpack/sha256.h"

#define THREADS_MAX 8
#define CHUNKS_MAX (2 * THREADS_MAX + 2)
/* What a gzip or zstd of bytes that do not compress has more than they. */
#define PACKED_MAX (PACK_CHUNK + PACK_CHUNK / 16 + 1024)

struct chunk {
    uint8_t *bytes, *packed;
    size_t length, packed_length;
    bool is_full, is_hashed, is_taken, is_packed;
};

struct output {
    struct output_options options;
    struct chunk chunks[CHUNKS_MAX];
    unsigned count;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    /* Numbers of chunks since the start; the walker fills `filling`. */
    uint64_t filling, hashed, taken, written;
    bool is_hashing, is_writing, is_last;
    unsigned started;
    struct failure failure; /* of a thread */
    struct sha256 tar_hash, blob_hash;
    uint64_t tar_bytes, blob_bytes;
    pthread_t threads[THREADS_MAX];
};

struct packer {
    struct libdeflate_compressor *deflate;
    ZSTD_CCtx *zstd;
};

static struct chunk *chunk_at(struct output *output, uint64_t number) {
    return &output->chunks[number % output->count];
}

static int pack(const struct output *output, struct packer *packer, struct chunk *chunk, struct failure *failure) {
    const struct output_options *options = &output->options;
    if (options->compression == COMPRESSION_NONE) return 0;
    if (options->compression == COMPRESSION_GZIP) {
        if (packer->deflate == NULL) packer->deflate = libdeflate_alloc_compressor(options->level == 0 ? 6 : options->level);
        if (packer->deflate == NULL) return fail(failure, FAIL_IO, "out of memory");
        chunk->packed_length = libdeflate_gzip_compress(packer->deflate, chunk->bytes, chunk->length, chunk->packed, PACKED_MAX);
        return chunk->packed_length > 0 ? 0 : fail(failure, FAIL_IO, "cannot compress");
    }
    if (packer->zstd == NULL && (packer->zstd = ZSTD_createCCtx()) == NULL) return fail(failure, FAIL_IO, "out of memory");
    ZSTD_CCtx_setParameter(packer->zstd, ZSTD_c_compressionLevel, options->level == 0 ? 3 : options->level);
    ZSTD_CCtx_setParameter(packer->zstd, ZSTD_c_checksumFlag, 1);
    size_t length = ZSTD_compress2(packer->zstd, chunk->packed, PACKED_MAX, chunk->bytes, chunk->length);
    if (ZSTD_isError(length)) return fail(failure, FAIL_IO, "cannot compress: %s", ZSTD_getErrorName(length));
    chunk->packed_length = length;
    return 0;
}

static int write_out(struct output *output, const struct chunk *chunk, struct failure *failure) {
    bool plain = output->options.compression == COMPRESSION_NONE;
    const uint8_t *bytes = plain ? chunk->bytes : chunk->packed;
    size_t length = plain ? chunk->length : chunk->packed_length;
    if (!plain) sha256_update(&output->blob_hash, bytes, length);
    output->blob_bytes += length;
    while (length > 0) {
        ssize_t n = write(output->options.fd, bytes, length);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail_errno(failure, errno, "write", "blob");
        bytes += n, length -= (size_t)n;
    }
    return 0;
}

/* One piece of work, done without the mutex; false where there is none. */
static bool work(struct output *output, struct packer *packer) {
    struct failure failure = {0};
    struct chunk *chunk = chunk_at(output, output->written);
    if (!output->is_writing && output->written < output->filling && chunk->is_full && chunk->is_hashed && chunk->is_packed) {
        output->is_writing = true;
        pthread_mutex_unlock(&output->mutex);
        write_out(output, chunk, &failure);
        pthread_mutex_lock(&output->mutex);
        output->is_writing = false;
        chunk->is_full = chunk->is_hashed = chunk->is_taken = chunk->is_packed = false;
        chunk->length = 0;
        output->written++;
    } else if (!output->is_hashing && output->hashed < output->filling) {
        chunk = chunk_at(output, output->hashed);
        output->is_hashing = true;
        pthread_mutex_unlock(&output->mutex);
        sha256_update(&output->tar_hash, chunk->bytes, chunk->length);
        pthread_mutex_lock(&output->mutex);
        output->is_hashing = false;
        output->tar_bytes += chunk->length;
        chunk->is_hashed = true;
        output->hashed++;
    } else if (output->taken < output->filling) {
        chunk = chunk_at(output, output->taken++);
        pthread_mutex_unlock(&output->mutex);
        pack(output, packer, chunk, &failure);
        pthread_mutex_lock(&output->mutex);
        chunk->is_packed = true;
    } else {
        return false;
    }
    if (failure.kind != FAIL_NONE && output->failure.kind == FAIL_NONE) output->failure = failure;
    pthread_cond_broadcast(&output->changed);
    return true;
}

static void *run(void *context) {
    struct output *output = context;
    struct packer packer = {0};
    pthread_mutex_lock(&output->mutex);
    output->started++;
    pthread_cond_broadcast(&output->changed);
    for (;;) {
        if (output->failure.kind != FAIL_NONE) break;
        if (output->is_last && output->written == output->filling) break;
        if (!work(output, &packer)) pthread_cond_wait(&output->changed, &output->mutex);
    }
    pthread_cond_broadcast(&output->changed);
    pthread_mutex_unlock(&output->mutex);
    libdeflate_free_compressor(packer.deflate);
    ZSTD_freeCCtx(packer.zstd);
    return NULL;
}

static bool allocate(struct output *output) {
    for (unsigned i = 0; i < output->count; i++) {
        output->chunks[i].bytes = malloc(PACK_CHUNK);
        if (output->chunks[i].bytes == NULL) return false;
        if (output->options.compression != COMPRESSION_NONE && (output->chunks[i].packed = malloc(PACKED_MAX)) == NULL) return false;
    }
    return true;
}

struct output *output_open(const struct output_options *options, struct failure *failure) {
    struct output *output = calloc(1, sizeof *output);
    if (output == NULL) return fail(failure, FAIL_IO, "out of memory"), NULL;
    output->options = *options;
    if (output->options.threads > THREADS_MAX) output->options.threads = THREADS_MAX;
    output->count = 2 * output->options.threads + 2;
    pthread_mutex_init(&output->mutex, NULL);
    pthread_cond_init(&output->changed, NULL);
    sha256_init(&output->tar_hash);
    sha256_init(&output->blob_hash);
    if (!allocate(output)) return fail(failure, FAIL_IO, "out of memory"), NULL;
    for (unsigned i = 0; i < output->options.threads; i++) {
        int error = pthread_create(&output->threads[i], NULL, run, output);
        if (error != 0) return fail_errno(failure, error, "start", "thread"), NULL;
    }
    /* A thread's start takes system calls that the filter does not know. */
    pthread_mutex_lock(&output->mutex);
    while (output->started < output->options.threads) pthread_cond_wait(&output->changed, &output->mutex);
    pthread_mutex_unlock(&output->mutex);
    return output;
}

static int failed(struct output *output, struct failure *failure) {
    if (output->failure.kind == FAIL_NONE) return 0;
    if (failure->kind == FAIL_NONE) *failure = output->failure;
    return -1;
}

/* Hands the chunk over that is being filled. */
static int hand_over(struct output *output, struct failure *failure) {
    pthread_mutex_lock(&output->mutex);
    chunk_at(output, output->filling)->is_full = true;
    output->filling++;
    pthread_cond_broadcast(&output->changed);
    while (output->filling - output->written >= output->count && output->failure.kind == FAIL_NONE)
        pthread_cond_wait(&output->changed, &output->mutex);
    int result = failed(output, failure);
    pthread_mutex_unlock(&output->mutex);
    return result;
}

int output_room(struct output *output, uint8_t **at, size_t *length, struct failure *failure) {
    struct chunk *chunk = chunk_at(output, output->filling);
    if (chunk->length == PACK_CHUNK) {
        if (hand_over(output, failure) < 0) return -1;
        chunk = chunk_at(output, output->filling);
    }
    *at = chunk->bytes + chunk->length;
    *length = PACK_CHUNK - chunk->length;
    return 0;
}

void output_filled(struct output *output, size_t length) {
    chunk_at(output, output->filling)->length += length;
}

int output_write(struct output *output, const void *bytes, size_t length, struct failure *failure) {
    for (const uint8_t *from = bytes; length > 0;) {
        uint8_t *room;
        size_t space;
        if (output_room(output, &room, &space, failure) < 0) return -1;
        if (space > length) space = length;
        memcpy(room, from, space);
        output_filled(output, space);
        from += space, length -= space;
    }
    return 0;
}

int output_zeros(struct output *output, uint64_t length, struct failure *failure) {
    while (length > 0) {
        uint8_t *room;
        size_t space;
        if (output_room(output, &room, &space, failure) < 0) return -1;
        if (space > length) space = (size_t)length;
        memset(room, 0, space);
        output_filled(output, space);
        length -= space;
    }
    return 0;
}

/* Chunks are multiples of a block. */
int output_pad(struct output *output, struct failure *failure) {
    size_t over = chunk_at(output, output->filling)->length % BLOCK_SIZE;
    return over == 0 ? 0 : output_zeros(output, BLOCK_SIZE - over, failure);
}

int output_finish(struct output *output, struct failure *failure) {
    int result = output_zeros(output, 2 * BLOCK_SIZE, failure); /* the end of a tar */
    if (result == 0) result = hand_over(output, failure);
    pthread_mutex_lock(&output->mutex);
    output->is_last = true;
    pthread_cond_broadcast(&output->changed);
    pthread_mutex_unlock(&output->mutex);
    if (result < 0) return -1; /* whoever waits for a descriptor is not waited for */
    for (unsigned i = 0; i < output->options.threads; i++) pthread_join(output->threads[i], NULL);
    return failed(output, failure);
}

void output_totals(struct output *output, struct totals *totals) {
    totals->bytes = output->tar_bytes;
    totals->raw_bytes = output->blob_bytes;
    sha256_hex(&output->tar_hash, totals->diff_id);
    if (output->options.compression == COMPRESSION_NONE) memcpy(totals->digest, totals->diff_id, sizeof totals->digest);
    else sha256_hex(&output->blob_hash, totals->digest);
}
