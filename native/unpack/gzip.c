/* gzip (RFC 1952): a header of optional fields, deflated data, a sum and a length; then maybe another such member. */
#include "unpack.h"

#include <string.h>

#include "deflate.h"

enum { HAS_CRC = 2, HAS_EXTRA = 4, HAS_NAME = 8, HAS_COMMENT = 16, RESERVED = 0xe0 };

/* The next byte, or -1 at the end and after a failure. */
static int next_byte(struct input *input, struct failure *failure) {
    if (input->at == input->end && input_more(input, failure) < 0) return -1;
    return input->at == input->end ? -1 : *input->at++;
}

static int skip_bytes(struct input *input, unsigned count, struct failure *failure) {
    while (count-- > 0)
        if (next_byte(input, failure) < 0) return -1;
    return 0;
}

static int skip_string(struct input *input, struct failure *failure) {
    int byte;
    do byte = next_byte(input, failure);
    while (byte > 0);
    return byte;
}

static int ends_early(struct failure *failure) {
    return fail(failure, FAIL_CORRUPT, "the compressed data ends early");
}

static int read_header(struct input *input, struct failure *failure) {
    uint8_t head[10];
    for (int i = 0; i < 10; i++) {
        int byte = next_byte(input, failure);
        if (byte < 0) return ends_early(failure);
        head[i] = (uint8_t)byte;
    }
    const uint8_t flags = head[3];
    if (head[0] != 0x1f || head[1] != 0x8b) return fail(failure, FAIL_CORRUPT, "garbage after the end of the gzip stream");
    if (head[2] != 8 || (flags & RESERVED) != 0) return fail(failure, FAIL_CORRUPT, "gzip: unknown method or flags");
    if (flags & HAS_EXTRA) {
        int low = next_byte(input, failure), high = next_byte(input, failure);
        if (low < 0 || high < 0 || skip_bytes(input, (unsigned)(high << 8 | low), failure) < 0) return ends_early(failure);
    }
    if ((flags & HAS_NAME) && skip_string(input, failure) < 0) return ends_early(failure);
    if ((flags & HAS_COMMENT) && skip_string(input, failure) < 0) return ends_early(failure);
    if ((flags & HAS_CRC) && skip_bytes(input, 2, failure) < 0) return ends_early(failure);
    return 0;
}

static int read_word(struct input *input, uint32_t *word, struct failure *failure) {
    *word = 0;
    for (int i = 0; i < 4; i++) {
        int byte = next_byte(input, failure);
        if (byte < 0) return ends_early(failure);
        *word |= (uint32_t)byte << (8 * i);
    }
    return 0;
}

static int read_trailer(struct gzip *gzip, struct input *input, struct failure *failure) {
    uint32_t crc, size;
    gzip->in_member = false;
    if (read_word(input, &crc, failure) < 0 || read_word(input, &size, failure) < 0) return -1;
    if (crc != gzip->crc || size != (uint32_t)gzip->produced) return fail(failure, FAIL_CORRUPT, "gzip: the sum or the length does not match");
    return 0;
}

/* 1: a member begins. 0: the end; zeros before it fill up some medium's last block. */
static int begin_member(struct gzip *gzip, struct input *input, struct failure *failure) {
    int byte = next_byte(input, failure);
    while (gzip->any_member && byte == 0) byte = next_byte(input, failure);
    if (failure->kind != FAIL_NONE) return -1;
    if (byte < 0) return 0;
    input->at--;
    if (read_header(input, failure) < 0) return -1;
    deflate_reset(gzip->deflate);
    gzip->in_member = gzip->any_member = true;
    gzip->crc = 0, gzip->produced = 0;
    return 1;
}

static enum deflate_result decode(struct gzip *gzip, struct input *input, uint8_t *base, uint8_t **out, uint8_t *out_end) {
    struct deflate *deflate = gzip->deflate;
    size_t reach = (size_t)(*out - base) + DEFLATE_WINDOW;
    const uint8_t *start = *out, *window = *out - (gzip->produced < reach ? gzip->produced : reach);
    deflate->in = input->at, deflate->in_end = input->end, deflate->in_final = input->final;
    enum deflate_result result = deflate_decode(deflate, window, out, out_end);
    input->at = deflate->in;
    gzip->produced += (uint64_t)(*out - start);
    gzip->crc = crc32_update(gzip->crc, start, (size_t)(*out - start));
    return result;
}

int gzip_fill(struct gzip *gzip, struct input *input, uint8_t *out, size_t capacity, size_t *produced, struct failure *failure) {
    uint8_t *at = out, *end = out + capacity;
    while (at < end) {
        int member = gzip->in_member ? 1 : begin_member(gzip, input, failure);
        if (member < 0) return -1;
        if (member == 0) break;
        switch (decode(gzip, input, out, &at, end)) {
        case DEFLATE_NEEDS_OUTPUT:
            break;
        case DEFLATE_NEEDS_INPUT:
            if (input_more(input, failure) < 0) return -1;
            break;
        case DEFLATE_END:
            if (read_trailer(gzip, input, failure) < 0) return -1;
            break;
        case DEFLATE_INVALID:
            if (input->final && (size_t)(input->end - input->at) <= sizeof(uint64_t)) return ends_early(failure);
            return fail(failure, FAIL_CORRUPT, "gzip: invalid data");
        }
    }
    *produced = (size_t)(at - out);
    return 0;
}
