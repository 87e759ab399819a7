/*
 * Uncompressed chunks, hashed. With a second processor to spare a thread decodes ahead of the one that makes files, through
 * a ring of a few chunks: of a layer of small files decoding is a third of the work, making files two thirds.
 *
 *     producer                                  consumer
 *     inflate + sha256 into slot[made % SLOTS]
 *     made++            ───────────────────>    reads slot[taken % SLOTS]
 *                       <───────────────────    taken++
 *     .ended / .failure with the last slot
 */
#include "unpack.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "sha256.h"

#define SLOTS 6

struct slot {
    size_t length;
    uint8_t *data;
};

struct stream {
    struct inflater *inflater;
    struct sha256 hash;
    uint64_t total, limit;
    /* The consumer's place in the slot it has. */
    size_t at, length;
    const uint8_t *data;
    uint64_t position;
    bool holding;
    /* Shared; without a thread nobody waits. */
    bool threaded;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    uint64_t made, taken;
    bool parked, started, ended, stop;
    struct failure failure; /* the producer's */
    struct slot slots[SLOTS];
    const struct slot *latest; /* the one that was filled last */
    uint8_t *memory;
};

/* Fills one slot. The last one is short or empty, and `last` is set. */
static int produce(struct stream *stream, struct slot *slot, bool *last, struct failure *failure) {
    if (stream->total > 0) memcpy(slot->data - CHUNK_HISTORY, stream->latest->data + CHUNK_SIZE - CHUNK_HISTORY, CHUNK_HISTORY);
    stream->latest = slot;
    if (inflate_fill(stream->inflater, slot->data, CHUNK_SIZE, &slot->length, failure) < 0) return -1;
    sha256_update(&stream->hash, slot->data, slot->length);
    stream->total += slot->length;
    if (stream->total > stream->limit)
        return fail(failure, FAIL_TAR, "more than %llu bytes uncompressed", (unsigned long long)stream->limit);
    *last = slot->length < CHUNK_SIZE;
    return 0;
}

static void *producer(void *argument) {
    struct stream *stream = argument;
    pthread_mutex_lock(&stream->mutex);
    stream->parked = true;
    pthread_cond_signal(&stream->changed);
    while (!stream->started && !stream->stop) pthread_cond_wait(&stream->changed, &stream->mutex);
    pthread_mutex_unlock(&stream->mutex);
    for (bool last = false; !last;) {
        pthread_mutex_lock(&stream->mutex);
        while (stream->made - stream->taken == SLOTS && !stream->stop) pthread_cond_wait(&stream->changed, &stream->mutex);
        bool stop = stream->stop;
        pthread_mutex_unlock(&stream->mutex);
        if (stop) return NULL;

        int result = produce(stream, &stream->slots[stream->made % SLOTS], &last, &stream->failure);
        pthread_mutex_lock(&stream->mutex);
        if (result == 0) stream->made++;
        else last = true;
        stream->ended = last;
        pthread_cond_signal(&stream->changed);
        pthread_mutex_unlock(&stream->mutex);
    }
    return NULL;
}

struct stream *stream_open(struct inflater *inflater, uint64_t max_bytes, bool threaded, struct failure *failure) {
    struct stream *stream = calloc(1, sizeof *stream);
    size_t slots = threaded ? SLOTS : 1;
    if (stream != NULL) stream->memory = malloc(slots * (CHUNK_HISTORY + CHUNK_SIZE));
    if (stream == NULL || stream->memory == NULL) {
        free(stream);
        fail(failure, FAIL_IO, "out of memory");
        return NULL;
    }
    stream->inflater = inflater;
    stream->limit = max_bytes;
    sha256_init(&stream->hash);
    for (size_t i = 0; i < slots; i++) stream->slots[i].data = stream->memory + i * (CHUNK_HISTORY + CHUNK_SIZE) + CHUNK_HISTORY;
    pthread_mutex_init(&stream->mutex, NULL);
    pthread_cond_init(&stream->changed, NULL);
    /* A thread that does not start is no reason to fail. One that does makes system calls on its first steps that the
       filter to come would kill it for. */
    stream->threaded = threaded && pthread_create(&stream->thread, NULL, producer, stream) == 0;
    pthread_mutex_lock(&stream->mutex);
    while (stream->threaded && !stream->parked) pthread_cond_wait(&stream->changed, &stream->mutex);
    pthread_mutex_unlock(&stream->mutex);
    return stream;
}

void stream_start(struct stream *stream) {
    pthread_mutex_lock(&stream->mutex);
    stream->started = true;
    pthread_cond_signal(&stream->changed);
    pthread_mutex_unlock(&stream->mutex);
}

static int next_inline(struct stream *stream, struct failure *failure) {
    if (stream->ended) return 0;
    bool last = false;
    if (produce(stream, &stream->slots[0], &last, failure) < 0) {
        stream->ended = true;
        return -1;
    }
    stream->ended = last;
    stream->data = stream->slots[0].data;
    stream->at = 0, stream->length = stream->slots[0].length;
    return stream->length > 0;
}

static int next_from_thread(struct stream *stream, struct failure *failure) {
    pthread_mutex_lock(&stream->mutex);
    if (stream->holding) stream->taken++, pthread_cond_signal(&stream->changed);
    while (stream->made == stream->taken && !stream->ended) pthread_cond_wait(&stream->changed, &stream->mutex);
    stream->holding = stream->made != stream->taken;
    pthread_mutex_unlock(&stream->mutex);
    stream->at = stream->length = 0;
    if (!stream->holding) {
        if (stream->failure.kind == FAIL_NONE) return 0;
        *failure = stream->failure;
        return -1;
    }
    const struct slot *slot = &stream->slots[stream->taken % SLOTS];
    stream->data = slot->data, stream->length = slot->length;
    return stream->length > 0;
}

/* 1 with at least a byte to read, 0 at the end. */
static int available(struct stream *stream, struct failure *failure) {
    if (stream->at < stream->length) return 1;
    stream->position += stream->length;
    stream->at = stream->length = 0;
    return stream->threaded ? next_from_thread(stream, failure) : next_inline(stream, failure);
}

int stream_block(struct stream *stream, const uint8_t **block, struct failure *failure) {
    int result = available(stream, failure);
    if (result <= 0) return result;
    if (stream->length - stream->at < BLOCK_SIZE) return fail(failure, FAIL_CORRUPT, "the archive ends inside a header");
    *block = stream->data + stream->at;
    stream->at += BLOCK_SIZE;
    return 1;
}

int stream_data(struct stream *stream, uint64_t want, const uint8_t **data, size_t *length, struct failure *failure) {
    int result = available(stream, failure);
    if (result < 0) return -1;
    if (result == 0) return fail(failure, FAIL_CORRUPT, "the archive ends inside a file");
    size_t left = stream->length - stream->at;
    *length = left < want ? left : (size_t)want;
    *data = stream->data + stream->at;
    stream->at += *length;
    return 0;
}

int stream_skip(struct stream *stream, uint64_t count, struct failure *failure) {
    const uint8_t *data;
    for (size_t length = 0; count > 0; count -= length)
        if (stream_data(stream, count, &data, &length, failure) < 0) return -1;
    return 0;
}

int stream_pad(struct stream *stream, uint64_t size, struct failure *failure) {
    size_t left = (size_t)(-size % BLOCK_SIZE);
    while (left > 0) {
        int result = available(stream, failure);
        if (result <= 0) return result;
        size_t n = stream->length - stream->at < left ? stream->length - stream->at : left;
        stream->at += n, left -= n;
    }
    return 0;
}

int stream_finish(struct stream *stream, uint64_t max, struct failure *failure) {
    for (uint64_t seen = 0;;) {
        int result = available(stream, failure);
        if (result <= 0) return result;
        seen += stream->length - stream->at;
        stream->at = stream->length;
        if (seen > max) return fail(failure, FAIL_TAR, "more than %llu bytes after the end of the archive", (unsigned long long)max);
    }
}

static void join(struct stream *stream) {
    if (!stream->threaded) return;
    pthread_mutex_lock(&stream->mutex);
    stream->stop = true;
    pthread_cond_signal(&stream->changed);
    pthread_mutex_unlock(&stream->mutex);
    pthread_join(stream->thread, NULL);
    stream->threaded = false;
    stream->ended = true;
}

void stream_totals(struct stream *stream, struct totals *totals) {
    join(stream);
    totals->bytes = stream->total;
    sha256_hex(&stream->hash, totals->diff_id);
}

void stream_close(struct stream *stream) {
    join(stream);
    free(stream->memory);
    free(stream);
}
