/* From lengths of codes to tables that decode them (RFC 1951, 3.2). No entry is left unset: codes that do not exist decode
   as invalid. */
#include "huffman.h"

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
bool huffman_table(uint32_t *table, unsigned table_bits, const uint8_t *lengths, unsigned symbols, bool is_distance) {
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

/* The code of the lengths of the other two: short enough for a table of symbols. */
bool huffman_precode(uint8_t symbol_of[1 << PRECODE_BITS], const uint8_t *lengths) {
    unsigned next[MAX_CODE + 1], longest;
    if (!count_codes(lengths, PRECODE_SYMBOLS, next, &longest, true)) return false;
    for (unsigned symbol = 0; symbol < PRECODE_SYMBOLS; symbol++) {
        if (lengths[symbol] == 0) continue;
        unsigned code = reverse(next[lengths[symbol]]++, lengths[symbol]);
        for (unsigned i = code; i < 1 << PRECODE_BITS; i += 1u << lengths[symbol]) symbol_of[i] = (uint8_t)symbol;
    }
    return true;
}
