/* Text as the inside of a JSON string, byte for byte as Docker's jsonlog writes it, so that whatever reads Docker's logs reads ours. */
#include "monitor.h"

#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* Length of the valid UTF-8 sequence at s, or 0. As Go's utf8.DecodeRune: no overlong forms, no surrogates. */
static size_t utf8_length(const uint8_t *s, size_t n) {
    uint8_t c = s[0], low = 0x80, high = 0xbf;
    size_t length;
    if (c < 0xc2 || c > 0xf4) return 0;
    length = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    if (n < length) return 0;
    if (c == 0xe0) low = 0xa0;
    if (c == 0xed) high = 0x9f;
    if (c == 0xf0) low = 0x90;
    if (c == 0xf4) high = 0x8f;
    if (s[1] < low || s[1] > high) return 0;
    for (size_t i = 2; i < length; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    return length;
}

/* Bit c % 32 of word c / 32: c stands for itself in JSON. Not so control characters, " \ & < > and all beyond ASCII. */
static const uint32_t plain[8] = {0, 0xafffffbb, 0xefffffff, 0xffffffff};

static inline bool is_plain(uint8_t c) {
    return plain[c >> 5] >> (c & 31) & 1;
}

/* A line is looked at in steps of that many bytes. */
#ifdef __SSE2__
#define STEP 16

/* Bit n: byte n is a newline. */
static inline __attribute__((always_inline)) uint32_t newlines(const uint8_t *s) {
    __m128i v = _mm_loadu_si128((const __m128i *)s);
    return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8('\n')));
}

/* Copies a step; returns how many of its bytes, from the first on, stand for themselves. */
static inline __attribute__((always_inline)) size_t copy_plain(char *out, const uint8_t *s) {
    __m128i v = _mm_loadu_si128((const __m128i *)s);
    /* Signed: beyond ASCII is below a space, too. One bit tells < and > apart. */
    __m128i special = _mm_or_si128(_mm_cmplt_epi8(v, _mm_set1_epi8(' ')), _mm_cmpeq_epi8(v, _mm_set1_epi8('"')));
    special = _mm_or_si128(special, _mm_cmpeq_epi8(v, _mm_set1_epi8('&')));
    special = _mm_or_si128(special, _mm_cmpeq_epi8(v, _mm_set1_epi8('\\')));
    special = _mm_or_si128(special, _mm_cmpeq_epi8(_mm_and_si128(v, _mm_set1_epi8(~2)), _mm_set1_epi8('<')));
    _mm_storeu_si128((__m128i *)out, v);
    return (size_t)__builtin_ctz((uint32_t)_mm_movemask_epi8(special) | 1U << STEP);
}
#else
#define STEP 8
#define EACH(byte) ((byte) * 0x0101010101010101u)

static inline uint64_t zero_bytes(uint64_t w) {
    return (w - EACH(1)) & ~w & EACH(0x80);
}

/* Not zero: there is a newline. */
static inline uint64_t newlines(const uint8_t *s) {
    uint64_t w;
    memcpy(&w, s, sizeof w);
    return zero_bytes(w ^ EACH('\n'));
}

/* Copies a step; returns how many of its bytes, from the first on, stand for themselves: all, or fewer than that. */
static inline size_t copy_plain(char *out, const uint8_t *s) {
    uint64_t w, special;
    size_t n = 0;
    memcpy(&w, s, sizeof w);
    memcpy(out, &w, sizeof w);
    special = (w | ((w - EACH(0x20)) & ~w)) & EACH(0x80); /* beyond ASCII, or a control character */
    special |= zero_bytes(w ^ EACH('"')) | zero_bytes(w ^ EACH('&')) | zero_bytes(w ^ EACH('\\'));
    special |= zero_bytes((w & ~EACH(2)) ^ EACH('<')); /* < and >, which one bit tells apart */
    if (special == 0) return STEP;
    while (is_plain(s[n])) n++;
    return n;
}
#endif

const uint8_t *tr_find_newline(const uint8_t *s, size_t n) {
    size_t i = 0;
    while (n - i >= STEP && newlines(s + i) == 0) i += STEP;
    for (; i < n; i++)
        if (s[i] == '\n') return s + i;
    return NULL;
}

static char *put_ascii(char *out, uint8_t c) {
    static const char hex[] = "0123456789abcdef";
  *out++ = '\\';
    if (c == '"' || c == '\\') {
    *out++ = c;
    } else if (c == '\n') {
    *out++ = 'n';
    } else if (c == '\r') {
    *out++ = 'r';
    } else {
        out = tr_put_text(out, "u00");
    *out++ = hex[c >> 4];
    *out++ = hex[c & 15];
    }
    return out;
}

/* The first character at s, which may not stand for itself, as Docker's jsonlog writes it; returns its bytes in the text. */
static size_t put_special(char **out, const uint8_t *s, size_t n) {
    size_t length;
    if (s[0] < 0x80) {
        *out = put_ascii(*out, s[0]);
        return 1;
    }
    length = utf8_length(s, n);
    if (length == 0) {
        *out = tr_put_text(*out, "\\ufffd");
        return 1;
    }
    if (length == 3 && s[0] == 0xe2 && s[1] == 0x80 && (s[2] & 0xfe) == 0xa8) {
        *out = tr_put_text(*out, s[2] == 0xa8 ? "\\u2028" : "\\u2029");
        return length;
    }
    memcpy(*out, s, length);
    *out += length;
    return length;
}

char *tr_put_json(char *out, const uint8_t *s, size_t n) {
    for (size_t i = 0; i < n;) {
        size_t length = STEP;
        while (length == STEP && n - i >= STEP) {
            length = copy_plain(out, s + i);
            out += length;
            i += length;
        }
        while (i < n && is_plain(s[i])) *out++ = (char)s[i++];
        if (i < n) i += put_special(&out, s + i, n - i);
    }
    return out;
}

char *tr_put_json_line(char *out, const uint8_t *s, size_t n, size_t *line) {
    *line = 0;
    for (size_t i = 0; n - i >= STEP;) {
        size_t length = copy_plain(out, s + i);
        out += length;
        i += length;
        if (length == STEP) continue;
        if (s[i] == '\n') {
            *line = i + 1;
            break;
        }
        i += put_special(&out, s + i, n - i);
    }
    return out;
}
