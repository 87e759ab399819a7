/* Tables that decode Deflate's codes; shared by huffman.c and deflate.c. */
#ifndef TR_HUFFMAN_H
#define TR_HUFFMAN_H

#include <stdbool.h>
#include <stdint.h>

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

/* Both false where the lengths make no code. */
bool huffman_precode(uint8_t symbol_of[1 << PRECODE_BITS], const uint8_t *lengths);
bool huffman_table(uint32_t *table, unsigned table_bits, const uint8_t *lengths, unsigned symbols, bool is_distance);

#endif
