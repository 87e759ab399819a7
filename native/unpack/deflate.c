/*
 * Deflate (RFC 1951), for speed: two and a half times zlib's. What makes it fast is known from libdeflate and ISA-L: a bit
 * buffer of 64 bits that is filled without a branch, tables whose entries say everything about a symbol, three literals
 * per fill, matches copied sixteen bytes at a time. Written anew because those two decode whole buffers only, or come as a
 * shared library, and a layer is a stream.
 *
 * Bounds: the fast loop runs only where FAST_INPUT bytes can be read and FAST_OUTPUT be written whatever is in them; the
 * rest is decoded a symbol at a time.
 */
#include "deflate.h"

#include <string.h>

#include "huffman.h"

/* Input: two fills of eight bytes. Output: three literals, a match of 258, and what copying in words writes too much. */
#define FAST_INPUT 32
#define FAST_OUTPUT (3 + 258 + 32)

static void refill(struct deflate *deflate) {
    while (deflate->count <= 56) {
        if (deflate->in < deflate->in_end) deflate->bits |= (uint64_t)*deflate->in++ << deflate->count;
        else if (deflate->in_final) deflate->overrun++;
        else return;
        deflate->count += 8;
    }
}

static unsigned take(struct deflate *deflate, unsigned count) {
    unsigned value = (unsigned)(deflate->bits & ((1ull << count) - 1));
    deflate->bits >>= count;
    deflate->count -= count;
    return value;
}

/* Whole bytes that were fetched too early. False where there were none to fetch: the stream is cut. */
static bool give_back(struct deflate *deflate) {
    unsigned bytes = deflate->count / 8;
    if (deflate->overrun > bytes) return false;
    deflate->in -= bytes - deflate->overrun;
    deflate->count %= 8;
    deflate->overrun = 0, deflate->bits &= (1u << deflate->count) - 1;
    return true;
}

/* The input will lie elsewhere when it comes again: what was fetched could not be given back then. */
static enum deflate_result need_input(struct deflate *deflate) {
    give_back(deflate);
    return DEFLATE_NEEDS_INPUT;
}

/* The lengths of both codes, themselves in a code: 0 to 15, or a repetition. */
static bool read_lengths(struct deflate *deflate, uint8_t *lengths, unsigned total) {
    static const uint8_t ORDER[PRECODE_SYMBOLS] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
    uint8_t precode[PRECODE_SYMBOLS] = {0}, symbol_of[1 << PRECODE_BITS];
    unsigned count = take(deflate, 4) + 4;
    for (unsigned i = 0; i < count; i++) {
        refill(deflate);
        precode[ORDER[i]] = (uint8_t)take(deflate, 3);
    }
    if (!huffman_precode(symbol_of, precode)) return false;
    for (unsigned at = 0; at < total;) {
        refill(deflate);
        unsigned symbol = symbol_of[deflate->bits & ((1 << PRECODE_BITS) - 1)];
        take(deflate, precode[symbol]);
        if (symbol < 16) {
            lengths[at++] = (uint8_t)symbol;
            continue;
        }
        if (symbol == 16 && at == 0) return false;
        uint8_t value = symbol == 16 ? lengths[at - 1] : 0;
        unsigned times = symbol == 16 ? 3 + take(deflate, 2) : symbol == 17 ? 3 + take(deflate, 3) : 11 + take(deflate, 7);
        if (times > total - at) return false;
        memset(lengths + at, value, times);
        at += times;
    }
    return true;
}

static bool read_dynamic_codes(struct deflate *deflate) {
    uint8_t lengths[LITLEN_SYMBOLS + DISTANCE_SYMBOLS];
    unsigned literals = take(deflate, 5) + 257, distances = take(deflate, 5) + 1;
    if (literals > 286 || distances > 30 || !read_lengths(deflate, lengths, literals + distances)) return false;
    deflate->has_fixed_codes = false;
    /* Without an end the block would have none. */
    return lengths[256] != 0 && huffman_table(deflate->litlen, LITLEN_BITS, lengths, literals, false) &&
           huffman_table(deflate->distances, DISTANCE_BITS, lengths + literals, distances, true);
}

static bool make_fixed_codes(struct deflate *deflate) {
    uint8_t lengths[LITLEN_SYMBOLS];
    if (deflate->has_fixed_codes) return true;
    for (unsigned i = 0; i < LITLEN_SYMBOLS; i++) lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
    bool built = huffman_table(deflate->litlen, LITLEN_BITS, lengths, LITLEN_SYMBOLS, false);
    memset(lengths, 5, DISTANCE_SYMBOLS);
    deflate->has_fixed_codes = built && huffman_table(deflate->distances, DISTANCE_BITS, lengths, DISTANCE_SYMBOLS, true);
    return deflate->has_fixed_codes;
}

static bool read_block_header(struct deflate *deflate) {
    refill(deflate);
    deflate->last_block = take(deflate, 1);
    unsigned type = take(deflate, 2);
    deflate->state = BLOCK_SYMBOLS;
    if (type == 1) return make_fixed_codes(deflate);
    if (type == 2) return read_dynamic_codes(deflate);
    if (type == 3) return false;
    take(deflate, deflate->count % 8);
    refill(deflate);
    unsigned length = take(deflate, 16), complement = take(deflate, 16);
    deflate->state = BLOCK_STORED;
    deflate->stored_left = length;
    return (length ^ complement) == 0xffff && give_back(deflate);
}

/* True where the block is at its end. */
static bool copy_stored(struct deflate *deflate, uint8_t **out, const uint8_t *out_end) {
    size_t n = deflate->stored_left;
    if (n > (size_t)(deflate->in_end - deflate->in)) n = (size_t)(deflate->in_end - deflate->in);
    if (n > (size_t)(out_end - *out)) n = (size_t)(out_end - *out);
    memcpy(*out, deflate->in, n);
    deflate->in += n, *out += n, deflate->stored_left -= (uint32_t)n;
    return deflate->stored_left == 0;
}

/* Byte by byte, as source and target may overlap, and as far as there is room. */
static void copy_match(struct deflate *deflate, uint8_t **out, const uint8_t *out_end) {
    const uint8_t *from = *out - deflate->match_distance;
    while (deflate->match_left > 0 && *out < out_end) *(*out)++ = *from++, deflate->match_left--;
}

/* One symbol, near the end of input or output: 1 go on, 0 end of block, -1 invalid. */
static int decode_one(struct deflate *deflate, const uint8_t *window, uint8_t **out) {
    uint32_t entry = deflate->litlen[deflate->bits & ((1 << LITLEN_BITS) - 1)];
    if (entry & SUBTABLE) {
        take(deflate, LITLEN_BITS);
        entry = deflate->litlen[VALUE(entry) + (deflate->bits & ((1u << CODE_BITS(entry)) - 1))];
    }
    take(deflate, CODE_BITS(entry));
    if (entry & LITERAL) return *(*out)++ = (uint8_t)VALUE(entry), 1;
    if (entry & SPECIAL) return entry & END_OF_BLOCK ? 0 : -1;
    deflate->match_left = VALUE(entry) + take(deflate, CONSUMED(entry) - CODE_BITS(entry));
    entry = deflate->distances[deflate->bits & ((1 << DISTANCE_BITS) - 1)];
    if (entry & SUBTABLE) {
        take(deflate, DISTANCE_BITS);
        entry = deflate->distances[VALUE(entry) + (deflate->bits & ((1u << CODE_BITS(entry)) - 1))];
    }
    if (entry & SPECIAL) return -1;
    take(deflate, CODE_BITS(entry));
    deflate->match_distance = VALUE(entry) + take(deflate, CONSUMED(entry) - CODE_BITS(entry));
    return deflate->match_distance <= (size_t)(*out - window) ? 1 : -1;
}

static inline uint64_t load64(const uint8_t *at) {
    uint64_t value;
    memcpy(&value, at, sizeof value);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap64(value);
#endif
    return value;
}

/* Writes up to 31 bytes more than `length`. A distance of less than a word repeats a pattern: it is laid out in whole
   copies of itself first, so that what follows can be copied in words again. */
static inline void copy_fast(uint8_t *to, size_t distance, size_t length) {
    const uint8_t *from = to - distance;
    uint8_t *end = to + length;
    if (__builtin_expect(distance >= 16, 1)) {
        do {
            memcpy(to, from, 16);
            to += 16, from += 16;
        } while (to < end);
    } else if (distance == 1) {
        memset(to, *from, (length + 15) & ~(size_t)15);
    } else {
        for (unsigned i = 0; i < 16; i++) to[i] = from[i];
        size_t step = 16 - 16 % distance;
        for (from = to, to += step; to < end; to += step, from += step) {
            uint8_t pattern[16];
            memcpy(pattern, from, 16);
            memcpy(to, pattern, 16);
        }
    }
}

/* The bit buffer in registers. */
struct fast {
    const uint8_t *in;
    uint64_t bits;
    unsigned count;
};

/* Afterwards at least 56 bits are there: a literal takes 15, a match 20 and 28 with its extra bits. */
static inline void fill(struct fast *fast) {
    fast->bits |= load64(fast->in) << fast->count;
    fast->in += (63 - fast->count) >> 3;
    fast->count |= 56;
}

static inline void drop(struct fast *fast, unsigned count) {
    fast->bits >>= count;
    fast->count -= count;
}

static inline uint32_t look(const struct fast *fast, const uint32_t *table, unsigned bits) {
    return table[fast->bits & ((1u << bits) - 1)];
}

static inline uint32_t look_further(struct fast *fast, const uint32_t *table, unsigned table_bits, uint32_t link) {
    drop(fast, table_bits);
    return table[VALUE(link) + (fast->bits & ((1u << CODE_BITS(link)) - 1))];
}

/* The base with what the extra bits say. */
static inline size_t drop_value(struct fast *fast, uint32_t entry) {
    uint64_t extra = (fast->bits & ((1ull << CONSUMED(entry)) - 1)) >> CODE_BITS(entry);
    drop(fast, CONSUMED(entry));
    return VALUE(entry) + (size_t)extra;
}

/* As many symbols as go while there is plenty of both. -1 invalid, 0 end of block, 1 not enough left. */
static int decode_fast(struct deflate *deflate, const uint8_t *window, uint8_t **out_at, const uint8_t *out_end) {
    struct fast fast = {deflate->in, deflate->bits, deflate->count};
    const uint8_t *const in_end = deflate->in_end - FAST_INPUT;
    const uint32_t *const litlen = deflate->litlen, *const distances = deflate->distances;
    uint8_t *out = *out_at;
    int result = 1;
    while (fast.in <= in_end && out_end - out >= FAST_OUTPUT) {
        fill(&fast);
        uint32_t entry = look(&fast, litlen, LITLEN_BITS);
        /* Literals of the main table have 11 bits at most: two, and a third, need no other fill. */
        for (int i = 0; i < 2 && (entry & LITERAL); i++) {
            drop(&fast, CONSUMED(entry));
            *out++ = (uint8_t)VALUE(entry);
            entry = look(&fast, litlen, LITLEN_BITS);
            if (!(entry & LITERAL)) fill(&fast);
        }
        if (__builtin_expect(entry & SUBTABLE, 0)) entry = look_further(&fast, litlen, LITLEN_BITS, entry);
        if (entry & LITERAL) {
            drop(&fast, CONSUMED(entry));
            *out++ = (uint8_t)VALUE(entry);
            continue;
        }
        if (__builtin_expect(entry & SPECIAL, 0)) {
            drop(&fast, CODE_BITS(entry));
            result = entry & END_OF_BLOCK ? 0 : -1;
            break;
        }
        size_t length = drop_value(&fast, entry);
        entry = look(&fast, distances, DISTANCE_BITS);
        if (__builtin_expect(entry & SUBTABLE, 0)) entry = look_further(&fast, distances, DISTANCE_BITS, entry);
        size_t distance = drop_value(&fast, entry);
        if (__builtin_expect((entry & SPECIAL) != 0 || distance > (size_t)(out - window), 0)) {
            result = -1;
            break;
        }
        copy_fast(out, distance, length);
        out += length;
    }
    /* A fill leaves bits of the next byte above those it counts. */
    deflate->bits = fast.bits & ((1ull << fast.count) - 1);
    deflate->in = fast.in, deflate->count = fast.count, *out_at = out;
    return result;
}

static enum deflate_result decode_symbols(struct deflate *deflate, const uint8_t *window, uint8_t **out, uint8_t *out_end) {
    for (;;) {
        copy_match(deflate, out, out_end);
        if (*out == out_end) return DEFLATE_NEEDS_OUTPUT;
        int result = 1;
        if (deflate->in_end - deflate->in >= FAST_INPUT && out_end - *out >= FAST_OUTPUT)
            result = decode_fast(deflate, window, out, out_end);
        if (result > 0) {
            if (!deflate->in_final && deflate->in_end - deflate->in < DEFLATE_LOOKAHEAD) return need_input(deflate);
            if (*out == out_end) return DEFLATE_NEEDS_OUTPUT;
            refill(deflate);
            result = decode_one(deflate, window, out);
        }
        /* Zeros that stand for missing bytes may not have been decoded. */
        if (result < 0 || deflate->overrun * 8 > deflate->count) return DEFLATE_INVALID;
        if (result == 0) return deflate->state = BLOCK_HEADER, DEFLATE_END;
    }
}

static enum deflate_result end_stream(struct deflate *deflate) {
    if (!give_back(deflate)) return DEFLATE_INVALID;
    deflate->bits = 0, deflate->count = 0;
    return DEFLATE_END;
}

void deflate_reset(struct deflate *deflate) {
    deflate->bits = 0, deflate->count = deflate->overrun = 0;
    deflate->state = BLOCK_HEADER;
    deflate->last_block = false;
    deflate->stored_left = deflate->match_left = 0;
}

enum deflate_result deflate_decode(struct deflate *deflate, const uint8_t *window, uint8_t **out, uint8_t *out_end) {
    for (;;) {
        if (deflate->state == BLOCK_STORED) {
            if (copy_stored(deflate, out, out_end)) deflate->state = BLOCK_HEADER;
            else if (*out == out_end) return DEFLATE_NEEDS_OUTPUT;
            else return deflate->in_final ? DEFLATE_INVALID : DEFLATE_NEEDS_INPUT;
        } else if (deflate->state == BLOCK_SYMBOLS) {
            enum deflate_result result = decode_symbols(deflate, window, out, out_end);
            if (result != DEFLATE_END) return result;
        }
        if (deflate->state == BLOCK_HEADER) {
            if (deflate->last_block) return end_stream(deflate);
            if (!deflate->in_final && deflate->in_end - deflate->in < DEFLATE_LOOKAHEAD) return need_input(deflate);
            if (!read_block_header(deflate) || deflate->overrun * 8 > deflate->count) return DEFLATE_INVALID;
        }
    }
}
