/* deflate.c and crc32.c: what gzip is made of. */
#ifndef TR_DEFLATE_H
#define TR_DEFLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How far back a match may reach: so many bytes of earlier output must lie in front of where the next go. */
#define DEFLATE_WINDOW 32768
/* A block's header and codes are read in one go, 17 + 19 * 3 + 320 * 14 bits: less input than that is not begun with. */
#define DEFLATE_LOOKAHEAD 600
/* What may be left of the input besides, fetched too early. */
#define DEFLATE_LEFT_MAX (DEFLATE_LOOKAHEAD + 8)

#define LITLEN_BITS 11
#define DISTANCE_BITS 8
#define LITLEN_ENTRIES ((1 << LITLEN_BITS) + 144 * 16)
#define DISTANCE_ENTRIES ((1 << DISTANCE_BITS) + 16 * 128)

enum deflate_result { DEFLATE_NEEDS_INPUT, DEFLATE_NEEDS_OUTPUT, DEFLATE_END, DEFLATE_INVALID };

struct deflate {
    const uint8_t *in, *in_end;
    bool in_final; /* nothing comes after in_end */
    /* The next `count` bits, lowest first. */
    uint64_t bits;
    unsigned count;
    unsigned overrun; /* bytes of zeros that were taken after the end */
    enum { BLOCK_HEADER, BLOCK_STORED, BLOCK_SYMBOLS } state;
    bool last_block, has_fixed_codes;
    uint32_t stored_left;
    uint32_t match_left, match_distance; /* a match that did not fit into the output */
    uint32_t litlen[LITLEN_ENTRIES], distances[DISTANCE_ENTRIES];
};

/* Before the first byte of a stream; `in` and `in_end` stay. */
void deflate_reset(struct deflate *deflate);
/*
 * Decodes into [*out, out_end). `window` is the earliest byte that a match may reach, at most DEFLATE_WINDOW before *out
 * on the first call for a buffer. With DEFLATE_NEEDS_INPUT at most DEFLATE_LEFT_MAX bytes are left at `in`, which come
 * again, in front of the next ones.
 */
enum deflate_result deflate_decode(struct deflate *deflate, const uint8_t *window, uint8_t **out, uint8_t *out_end);

uint32_t crc32_update(uint32_t crc, const uint8_t *data, size_t length);

#endif
