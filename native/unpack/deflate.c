/*
 * Deflate (RFC 1951), for speed: two and a half times zlib's. What makes it fast is known from libdeflate and ISA-L: a bit
 * buffer of 64 bits that is filled without a branch, tables whose entries say everything about a symbol, three literals
 * per fill, matches copied sixteen bytes at a time. Written anew because those two decode whole buffers only, or come as a
 * shared library, and a layer is a stream.
 *
 * Bounds: the fast loop runs only where FAST_INPUT bytes can be read and FAST_OUTPUT be written whatever is in them; the
 * rest is decoded a symbol at a time. No entry of a table is left as it was: codes that are not there decode as invalid.
 */
#include "deflate.h"

#include <string.h>

/*
 * A table entry:
 *     31      LITERAL: the symbol is a byte
 *     30..16  the byte; the base of a length or distance; or where a subtable starts
 *     15      SPECIAL: with SUBTABLE or END_OF_BLOCK or, with neither, invalid
 *     11..8   bits of the code itself (of a subtable: bits that index it)
 *     7..0    bits of code and extra together: what to consume
 */
#define LITERAL 0x80000000u
#define SPECIAL 0x8000u
#define SUBTABLE 0x4000u
#define END_OF_BLOCK 0x2000u
#define INVALID SPECIAL
#define CONSUMED(entry) ((entry) & 0xff)
#define CODE_BITS(entry) ((entry) >> 8 & 15)
#define VALUE(entry) ((entry) >> 16)

#define MAX_CODE 15
#define LITLEN_SYMBOLS 288
#define DISTANCE_SYMBOLS 32
#define PRECODE_SYMBOLS 19
#define PRECODE_BITS 7

/* Input: two fills of eight bytes. Output: three literals, a match of 258, and what copying in words writes too much. */
#define FAST_INPUT 32
#define FAST_OUTPUT (3 + 258 + 32)

#define LENGTH(base, extra) ((uint32_t)(base) << 16 | (extra))
static const uint32_t LENGTHS[] = {
    LENGTH(3, 0),   LENGTH(4, 0),   LENGTH(5, 0),   LENGTH(6, 0),   LENGTH(7, 0),   LENGTH(8, 0),  LENGTH(9, 0),  LENGTH(10, 0),
    LENGTH(11, 1),  LENGTH(13, 1),  LENGTH(15, 1),  LENGTH(17, 1),  LENGTH(19, 2),  LENGTH(23, 2), LENGTH(27, 2), LENGTH(31, 2),
    LENGTH(35, 3),  LENGTH(43, 3),  LENGTH(51, 3),  LENGTH(59, 3),  LENGTH(67, 4),  LENGTH(83, 4), LENGTH(99, 4), LENGTH(115, 4),
    LENGTH(131, 5), LENGTH(163, 5), LENGTH(195, 5), LENGTH(227, 5), LENGTH(258, 0), INVALID,       INVALID,
};
static const uint32_t DISTANCES[DISTANCE_SYMBOLS] = {
    LENGTH(1, 0),     LENGTH(2, 0),     LENGTH(3, 0),     LENGTH(4, 0),      LENGTH(5, 1),      LENGTH(7, 1),
    LENGTH(9, 2),     LENGTH(13, 2),    LENGTH(17, 3),    LENGTH(25, 3),     LENGTH(33, 4),     LENGTH(49, 4),
    LENGTH(65, 5),    LENGTH(97, 5),    LENGTH(129, 6),   LENGTH(193, 6),    LENGTH(257, 7),    LENGTH(385, 7),
    LENGTH(513, 8),   LENGTH(769, 8),   LENGTH(1025, 9),  LENGTH(1537, 9),   LENGTH(2049, 10),  LENGTH(3073, 10),
    LENGTH(4097, 11), LENGTH(6145, 11), LENGTH(8193, 12), LENGTH(12289, 12), LENGTH(16385, 13), LENGTH(24577, 13),
    INVALID,          INVALID,
};

static uint32_t meaning_of(unsigned symbol, bool is_distance) {
    if (is_distance) return DISTANCES[symbol];
    if (symbol < 256) return LITERAL | symbol << 16;
    return symbol == 256 ? SPECIAL | END_OF_BLOCK : LENGTHS[symbol - 257];
}

static unsigned reverse(unsigned code, unsigned length) {
    unsigned reversed = 0;
    for (unsigned i = 0; i < length; i++) reversed |= (code >> i & 1) << (length - 1 - i);
    return reversed;
}

/*
 * The first code of each length (RFC 1951, 3.2.2), and the longest. Codes must fill the space exactly; as in zlib a code
 * with a single symbol of one bit may leave the other half free, and distances may have no code at all.
 */
static bool count_codes(const uint8_t *lengths, unsigned symbols, unsigned next[MAX_CODE + 1], unsigned *longest, bool must_fill) {
    unsigned counts[MAX_CODE + 1] = {0}, code = 0;
    for (unsigned i = 0; i < symbols; i++) counts[lengths[i]]++;
    counts[0] = *longest = 0;
    int left = 1;
    for (unsigned length = 1; length <= MAX_CODE; length++) {
        left = left * 2 - (int)counts[length];
        if (left < 0) return false;
        code = (code + counts[length - 1]) << 1;
        next[length] = code;
        if (counts[length] > 0) *longest = length;
    }
    return left == 0 || (!must_fill && *longest <= 1);
}

/* Codes longer than the main table's index go to subtables, all indexed by as many bits as the longest code needs. */
static bool build_table(uint32_t *table, unsigned table_bits, const uint8_t *lengths, unsigned symbols, bool is_distance) {
    unsigned next[MAX_CODE + 1], longest;
    if (!count_codes(lengths, symbols, next, &longest, false)) return false;
    const unsigned size = 1u << table_bits, sub_bits = longest > table_bits ? longest - table_bits : 0;
    unsigned used = size;
    for (unsigned i = 0; i < size; i++) table[i] = INVALID | 1;
    for (unsigned symbol = 0; symbol < symbols; symbol++) {
        unsigned length = lengths[symbol];
        if (length == 0) continue;
        unsigned code = reverse(next[length]++, length);
        uint32_t meaning = meaning_of(symbol, is_distance);
        if (length <= table_bits) {
            for (unsigned i = code; i < size; i += 1u << length) table[i] = meaning + (length << 8 | length);
            continue;
        }
        uint32_t *link = &table[code & (size - 1)];
        if (!(*link & SUBTABLE)) {
            *link = used << 16 | SPECIAL | SUBTABLE | sub_bits << 8 | table_bits;
            used += 1u << sub_bits;
        }
        /* A complete code fills its subtables: none of their entries is left from before. */
        length -= table_bits;
        for (unsigned i = code >> table_bits; i < 1u << sub_bits; i += 1u << length)
            table[VALUE(*link) + i] = meaning + (length << 8 | length);
    }
    return true;
}

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
    unsigned next[MAX_CODE + 1], longest, count = take(deflate, 4) + 4;
    for (unsigned i = 0; i < count; i++) {
        refill(deflate);
        precode[ORDER[i]] = (uint8_t)take(deflate, 3);
    }
    if (!count_codes(precode, PRECODE_SYMBOLS, next, &longest, true)) return false;
    for (unsigned symbol = 0; symbol < PRECODE_SYMBOLS; symbol++) {
        if (precode[symbol] == 0) continue;
        unsigned code = reverse(next[precode[symbol]]++, precode[symbol]);
        for (unsigned i = code; i < 1 << PRECODE_BITS; i += 1u << precode[symbol]) symbol_of[i] = (uint8_t)symbol;
    }
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
    return lengths[256] != 0 && build_table(deflate->litlen, LITLEN_BITS, lengths, literals, false) &&
           build_table(deflate->distances, DISTANCE_BITS, lengths + literals, distances, true);
}

static bool make_fixed_codes(struct deflate *deflate) {
    uint8_t lengths[LITLEN_SYMBOLS];
    if (deflate->has_fixed_codes) return true;
    for (unsigned i = 0; i < LITLEN_SYMBOLS; i++) lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
    bool built = build_table(deflate->litlen, LITLEN_BITS, lengths, LITLEN_SYMBOLS, false);
    memset(lengths, 5, DISTANCE_SYMBOLS);
    deflate->has_fixed_codes = built && build_table(deflate->distances, DISTANCE_BITS, lengths, DISTANCE_SYMBOLS, true);
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

/* As many symbols as go while there is plenty of both. -1 invalid, 0 end of block, 1 not enough left. */
static int decode_fast(struct deflate *deflate, const uint8_t *window, uint8_t **out_at, const uint8_t *out_end) {
    const uint8_t *in = deflate->in, *const in_end = deflate->in_end - FAST_INPUT;
    uint8_t *out = *out_at;
    uint64_t bits = deflate->bits;
    unsigned count = deflate->count;
    int result = 1;
/* Afterwards at least 56 bits are there: a literal takes 15, a match 20 and 28 with its extra bits. */
#define FILL() (bits |= load64(in) << count, in += (63 - count) >> 3, count |= 56)
#define TAKE(n) (bits >>= (n), count -= (n))
    while (in <= in_end && out + FAST_OUTPUT <= out_end) {
        FILL();
        uint32_t entry = deflate->litlen[bits & ((1 << LITLEN_BITS) - 1)];
        /* Literals of the main table have 11 bits at most: two, and what follows, need no other fill. */
        if (entry & LITERAL) {
            TAKE(CONSUMED(entry));
            *out++ = (uint8_t)VALUE(entry);
            entry = deflate->litlen[bits & ((1 << LITLEN_BITS) - 1)];
            if (entry & LITERAL) {
                TAKE(CONSUMED(entry));
                *out++ = (uint8_t)VALUE(entry);
                entry = deflate->litlen[bits & ((1 << LITLEN_BITS) - 1)];
                if (entry & LITERAL) {
                    TAKE(CONSUMED(entry));
                    *out++ = (uint8_t)VALUE(entry);
                    continue;
                }
            }
            FILL();
        }
        if (__builtin_expect(entry & SPECIAL, 0)) {
            if (entry & SUBTABLE) {
                TAKE(LITLEN_BITS);
                entry = deflate->litlen[VALUE(entry) + (bits & ((1u << CODE_BITS(entry)) - 1))];
            }
            if (entry & LITERAL) {
                TAKE(CONSUMED(entry));
                *out++ = (uint8_t)VALUE(entry);
                continue;
            }
            if (entry & SPECIAL) {
                TAKE(CODE_BITS(entry));
                result = entry & END_OF_BLOCK ? 0 : -1;
                break;
            }
        }
        uint64_t seen = bits;
        TAKE(CONSUMED(entry));
        size_t length = VALUE(entry) + (size_t)((seen & ((1ull << CONSUMED(entry)) - 1)) >> CODE_BITS(entry));
        entry = deflate->distances[bits & ((1 << DISTANCE_BITS) - 1)];
        if (__builtin_expect(entry & SPECIAL, 0)) {
            if (entry & SUBTABLE) {
                TAKE(DISTANCE_BITS);
                entry = deflate->distances[VALUE(entry) + (bits & ((1u << CODE_BITS(entry)) - 1))];
            }
            if (entry & SPECIAL) {
                result = -1;
                break;
            }
        }
        seen = bits;
        TAKE(CONSUMED(entry));
        size_t distance = VALUE(entry) + (size_t)((seen & ((1ull << CONSUMED(entry)) - 1)) >> CODE_BITS(entry));
        if (__builtin_expect(distance > (size_t)(out - window), 0)) {
            result = -1;
            break;
        }
        copy_fast(out, distance, length);
        out += length;
    }
#undef FILL
#undef TAKE
    deflate->in = in, *out_at = out;
    deflate->count = count;
    /* A fill leaves bits of the next byte above those it counts. */
    deflate->bits = bits & ((1ull << count) - 1);
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
