/*
 * CRC-32 as gzip has it, with the processor's instructions where it has them: of a layer it would otherwise take as long
 * as decoding does.
 */
#include "deflate.h"

#include <string.h>

#define POLYNOMIAL 0xedb88320u

/* A byte at a time: what is left over by the others, and processors without. */
static uint32_t update_bytes(uint32_t crc, const uint8_t *data, size_t length) {
    static uint32_t table[256];
    if (table[1] == 0) {
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t value = i;
            for (int bit = 0; bit < 8; bit++) value = value & 1 ? value >> 1 ^ POLYNOMIAL : value >> 1;
            table[i] = value;
        }
    }
    for (size_t i = 0; i < length; i++) crc = table[(crc ^ data[i]) & 0xff] ^ crc >> 8;
    return crc;
}

#if defined(__x86_64__)
#include <immintrin.h>

#define TARGET __attribute__((target("pclmul,sse4.1")))

TARGET static inline __m128i load(const uint8_t *at) {
    return _mm_loadu_si128((const __m128i *)at);
}

/* Moves 128 bits along by the distance that the two constants stand for. */
TARGET static inline __m128i fold(__m128i value, __m128i constants, __m128i next) {
    __m128i low = _mm_clmulepi64_si128(value, constants, 0x00), high = _mm_clmulepi64_si128(value, constants, 0x11);
    return _mm_xor_si128(_mm_xor_si128(low, high), next);
}

/*
 * Gopal and others, "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction" (Intel, 2009), with its
 * constants for this polynomial, bits reflected. `length` is at least 64 and a multiple of 16.
 */
TARGET static uint32_t update_clmul(uint32_t crc, const uint8_t *data, size_t length) {
    const __m128i by_64 = _mm_set_epi64x(0x1c6e41596, 0x154442bd4), by_16 = _mm_set_epi64x(0x0ccaa009e, 0x1751997d0);
    const __m128i by_4 = _mm_set_epi64x(0, 0x163cd6124), barrett = _mm_set_epi64x(0x1f7011641, 0x1db710641);
    const __m128i mask = _mm_setr_epi32(-1, 0, -1, 0);
    __m128i a = _mm_xor_si128(load(data), _mm_cvtsi32_si128((int)crc));
    __m128i b = load(data + 16), c = load(data + 32), d = load(data + 48);
    for (data += 64, length -= 64; length >= 64; data += 64, length -= 64) {
        a = fold(a, by_64, load(data));
        b = fold(b, by_64, load(data + 16));
        c = fold(c, by_64, load(data + 32));
        d = fold(d, by_64, load(data + 48));
    }
    a = fold(fold(fold(a, by_16, b), by_16, c), by_16, d);
    for (; length >= 16; data += 16, length -= 16) a = fold(a, by_16, load(data));
    /* 128 bits to 64, to 32. */
    a = _mm_xor_si128(_mm_srli_si128(a, 8), _mm_clmulepi64_si128(a, by_16, 0x10));
    a = _mm_xor_si128(_mm_srli_si128(a, 4), _mm_clmulepi64_si128(_mm_and_si128(a, mask), by_4, 0x00));
    b = _mm_and_si128(_mm_clmulepi64_si128(_mm_and_si128(a, mask), barrett, 0x10), mask);
    return (uint32_t)_mm_extract_epi32(_mm_xor_si128(a, _mm_clmulepi64_si128(b, barrett, 0x00)), 1);
}

static uint32_t update(uint32_t crc, const uint8_t *data, size_t length) {
    if (length < 64 || !__builtin_cpu_supports("pclmul") || !__builtin_cpu_supports("sse4.1")) return update_bytes(crc, data, length);
    size_t whole = length & ~(size_t)15;
    return update_bytes(update_clmul(crc, data, whole), data + whole, length - whole);
}

#elif defined(__aarch64__)
#include <arm_acle.h>
#include <asm/hwcap.h>
#include <sys/auxv.h>

__attribute__((target("+crc"))) static uint32_t update_words(uint32_t crc, const uint8_t *data, size_t words) {
    for (size_t i = 0; i < words; i++) {
        uint64_t word;
        memcpy(&word, data + 8 * i, sizeof word);
        crc = __crc32d(crc, word);
    }
    return crc;
}

static uint32_t update(uint32_t crc, const uint8_t *data, size_t length) {
    if (!(getauxval(AT_HWCAP) & HWCAP_CRC32)) return update_bytes(crc, data, length);
    size_t words = length / 8;
    return update_bytes(update_words(crc, data, words), data + 8 * words, length % 8);
}

#else
#define update update_bytes
#endif

/* @param crc 0 at the start */
uint32_t crc32_update(uint32_t crc, const uint8_t *data, size_t length) {
    return ~update(~crc, data, length);
}
