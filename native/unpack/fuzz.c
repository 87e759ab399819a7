/*
 * libFuzzer target: `make fuzz`, then `dist/native/<arch>-asan/fuzz-unpack -max_total_time=60`.
 *
 * The first byte chooses: the way of a whole layer, from the blob to the entries, with a sink that checks what a sink may
 * rely on; or deflate against zlib, where both must agree on every byte and every error, with input and output cut into
 * pieces anywhere.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "deflate.h"
#include "unpack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition) ((condition) ? (void)0 : (fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition), abort()))

struct checks {
    bool open;
    struct entry entry;
    uint64_t end;
    uint64_t sum;
};

static void touch(struct checks *checks, const void *bytes, size_t length) {
    for (size_t i = 0; i < length; i++) checks->sum += ((const uint8_t *)bytes)[i];
}

static int check_begin(void *context, const struct entry *entry, struct failure *failure) {
    struct checks *checks = context;
    CHECK(!checks->open && failure->kind == FAIL_NONE);
    CHECK(entry->type >= '0' && entry->type <= '6' && entry->mode <= 07777);
    CHECK(entry->uid != UINT32_MAX && entry->gid != UINT32_MAX && entry->size <= INT64_MAX);
    CHECK(entry->mtime.tv_nsec >= 0 && entry->mtime.tv_nsec < 1000000000);
    touch(checks, entry->name, strlen(entry->name));
    touch(checks, entry->link, strlen(entry->link));
    CHECK(entry->xattr_count <= XATTRS_MAX);
    for (size_t i = 0; i < entry->xattr_count; i++) {
        CHECK(entry->xattrs[i].name[0] != 0);
        touch(checks, entry->xattrs[i].value, entry->xattrs[i].length);
    }
    checks->open = true, checks->entry = *entry, checks->end = 0;
    return 0;
}

static int check_data(void *context, uint64_t offset, const uint8_t *data, size_t length, struct failure *failure) {
    struct checks *checks = context;
    CHECK(checks->open && failure->kind == FAIL_NONE && checks->entry.type == '0' && length > 0);
    CHECK(offset >= checks->end && length <= checks->entry.size && offset <= checks->entry.size - length);
    CHECK(checks->entry.sparse || offset == checks->end);
    checks->end = offset + length;
    touch(checks, data, length);
    return 0;
}

static int check_end(void *context, struct failure *failure) {
    struct checks *checks = context;
    CHECK(checks->open && failure->kind == FAIL_NONE);
    CHECK(checks->entry.type != '0' || checks->entry.sparse || checks->end == checks->entry.size);
    checks->open = false;
    return 0;
}

static void try_layer(const uint8_t *data, size_t size) {
    struct source_options options = {.blob_fd = -1, .input_fd = -1, .size = UINT64_MAX, .memory = data, .memory_size = size};
    struct failure failure = {0};
    struct checks checks = {0};
    struct totals totals = {0};
    struct sink sink = {&checks, check_begin, check_data, check_end};
    struct source *source = source_open(&options);
    struct inflater *inflater = inflate_open(source, COMPRESSION_AUTO);
    struct stream *stream = stream_open(inflater, 64 * 1024 * 1024, false, &failure);
    int result = tar_read(stream, &sink, 100000, &totals.entries, &failure);
    if (result == 0) result = stream_finish(stream, 1024 * 1024, &failure);
    CHECK((result == 0) == (failure.kind == FAIL_NONE));
    CHECK(failure.kind != FAIL_IO && failure.kind != FAIL_UNSAFE);
    stream_close(stream);
    inflate_close(inflater);
    source_close(source);
}

#define OUTPUT (1024 * 1024)

/* With pieces of input of `step` bytes and of output of `room`: 1 the stream's end, 0 cut or invalid or too long. */
static int our_inflate(const uint8_t *data, size_t size, size_t step, size_t room, uint8_t *out, size_t *produced) {
    static struct deflate deflate;
    uint8_t *copy = malloc(size + 1), *at = out;
    memcpy(copy, data, size);
    deflate_reset(&deflate);
    deflate.in = copy, deflate.in_end = copy, deflate.in_final = false;
    enum deflate_result result;
    do {
        uint8_t *end = (size_t)(out + OUTPUT - at) < room ? out + OUTPUT : at + room;
        result = deflate_decode(&deflate, out, &at, end);
        if (result == DEFLATE_NEEDS_OUTPUT && at == out + OUTPUT) break;
        if (result != DEFLATE_NEEDS_INPUT) continue;
        CHECK(!deflate.in_final && deflate.in_end - deflate.in <= DEFLATE_LEFT_MAX);
        size_t left = (size_t)(copy + size - deflate.in_end);
        deflate.in_end += left < step ? left : step;
        deflate.in_final = deflate.in_end == copy + size;
    } while (result == DEFLATE_NEEDS_INPUT || result == DEFLATE_NEEDS_OUTPUT);
    CHECK(deflate.in <= deflate.in_end);
    free(copy);
    *produced = (size_t)(at - out);
    return result == DEFLATE_END;
}

static int zlib_inflate(const uint8_t *data, size_t size, uint8_t *out, size_t *produced) {
    z_stream stream = {.next_in = (Bytef *)(uintptr_t)data, .avail_in = (uInt)size, .next_out = out, .avail_out = OUTPUT};
    CHECK(inflateInit2(&stream, -15) == Z_OK);
    int result = inflate(&stream, Z_FINISH);
    *produced = stream.total_out;
    inflateEnd(&stream);
    return result == Z_STREAM_END;
}

static void try_deflate(const uint8_t *data, size_t size) {
    static uint8_t expected[OUTPUT], found[OUTPUT];
    size_t expected_length, found_length, step = 1 + data[0] * 3u, room = 1 + data[1] * 37u;
    int expected_end = zlib_inflate(data + 2, size - 2, expected, &expected_length);
    int found_end = our_inflate(data + 2, size - 2, step, room, found, &found_length);
    CHECK(expected_end == found_end);
    /* Of a stream that is broken either may have decoded a little more. */
    size_t common = expected_length < found_length ? expected_length : found_length;
    CHECK(!expected_end || expected_length == found_length);
    CHECK(memcmp(expected, found, common) == 0);
    CHECK(crc32_update(0, expected, common) == crc32(0, expected, (uInt)common));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 4) return 0;
    if (data[0] & 1) try_deflate(data + 1, size - 1);
    else try_layer(data + 1, size - 1);
    return 0;
}
