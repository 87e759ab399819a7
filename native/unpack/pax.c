/*
 * Pax extended headers: `<length> <key>=<value>\n`, as many as there are.
 * https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html#tag_20_92_13_03
 *
 * Global headers ('g') are read and change nothing, as in Go's archive/tar and so in Docker, containerd and umoci: a layer
 * must not come out differently here. What would make readers disagree about where a member ends is refused (CVE-2025-62518).
 */
#include "unpack.h"

#include <stdlib.h>
#include <string.h>

void pax_clear(struct pax *pax) {
    char *text = pax->text;
    struct extent *extents = pax->extents;
    /* The xattr table is large and its count says what holds. */
    memset(pax, 0, offsetof(struct pax, xattrs));
    memset((char *)pax + offsetof(struct pax, xattr_count), 0, sizeof *pax - offsetof(struct pax, xattr_count));
    pax->text = text;
    pax->extents = extents;
}

/* Digits only, no sign, no space, no overflow. */
int parse_decimal(const char *text, size_t length, uint64_t *value) {
    if (length == 0 || length > 20) return -1;
    *value = 0;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9') return -1;
        if (__builtin_mul_overflow(*value, 10, value) || __builtin_add_overflow(*value, (uint64_t)(text[i] - '0'), value)) return -1;
    }
    return 0;
}

/* `-1.5` is half a second after -2: nanoseconds count forward. */
static int parse_time(const char *text, size_t length, struct timespec *time) {
    bool negative = length > 0 && text[0] == '-';
    if (negative) text++, length--;
    const char *dot = memchr(text, '.', length);
    uint64_t seconds, fraction = 0;
    if (parse_decimal(text, dot == NULL ? length : (size_t)(dot - text), &seconds) < 0 || seconds > INT64_MAX - 1) return -1;
    if (dot != NULL) {
        size_t digits = length - (size_t)(dot + 1 - text);
        for (size_t i = 0; i < 9; i++) {
            char c = i < digits ? dot[1 + i] : '0';
            if (c < '0' || c > '9') return -1;
            fraction = fraction * 10 + (uint64_t)(c - '0');
        }
        for (size_t i = 9; i < digits; i++)
            if (dot[1 + i] < '0' || dot[1 + i] > '9') return -1;
    }
    time->tv_sec = negative ? -(time_t)seconds - (fraction != 0) : (time_t)seconds;
    time->tv_nsec = (long)(negative && fraction != 0 ? 1000000000 - fraction : fraction);
    return 0;
}

/* The value -1 would mean "leave as it is" to chown. */
static int parse_id(const char *text, size_t length, uint32_t *id) {
    uint64_t value;
    if (parse_decimal(text, length, &value) < 0 || value >= UINT32_MAX) return -1;
    *id = (uint32_t)value;
    return 0;
}

static int base64_digit(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    if (c == '+' || c == '-') return 62;
    if (c == '/' || c == '_') return 63;
    return -1;
}

/* In place: what comes out is shorter. Padding may be missing, as libarchive leaves it out. */
static int decode_base64(uint8_t *text, size_t *length) {
    uint32_t bits = 0;
    size_t out = 0, count = 0;
    while (*length > 0 && text[*length - 1] == '=') (*length)--;
    for (size_t i = 0; i < *length; i++) {
        int digit = base64_digit((char)text[i]);
        if (digit < 0) return -1;
        bits = bits << 6 | (uint32_t)digit;
        if (++count % 4 != 1) text[out++] = (uint8_t)(bits >> (count % 4 == 2 ? 4 : count % 4 == 3 ? 2 : 0));
    }
    *length = out;
    return 0;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* libarchive writes names url-encoded. */
static void decode_url(char *text) {
    char *out = text;
    for (; *text != 0; text++) {
        int high = text[0] == '%' ? hex_digit(text[1]) : -1;
        int low = high >= 0 ? hex_digit(text[2]) : -1;
        if (low >= 0 && (high | low) != 0) {
            *out++ = (char)(high << 4 | low);
            text += 2;
        } else {
            *out++ = *text;
        }
    }
    *out = 0;
}

static int add_xattr(struct pax *pax, const char *name, const char *value, size_t length, struct failure *failure) {
    if (*name == 0) return fail(failure, FAIL_TAR, "an extended attribute has no name");
    /* The same attribute in both spellings, or twice: the last one holds. */
    size_t i = 0;
    while (i < pax->xattr_count && strcmp(pax->xattrs[i].name, name) != 0) i++;
    if (i == XATTRS_MAX) return fail(failure, FAIL_TAR, "more than %d extended attributes on one file", XATTRS_MAX);
    pax->xattrs[i] = (struct xattr){name, (const uint8_t *)value, length};
    if (i == pax->xattr_count) pax->xattr_count++;
    return 0;
}

/* Format 0.0: `GNU.sparse.offset` and `GNU.sparse.numbytes` in turn, as often as there are extents. */
static int add_extent(struct pax *pax, bool is_offset, const char *value, size_t length) {
    uint64_t number;
    if (parse_decimal(value, length, &number) < 0 || is_offset == pax->offset_pending) return -1;
    if (is_offset) {
        if (pax->extent_count == EXTENTS_MAX) return -1;
        pax->extents[pax->extent_count].offset = number;
    } else {
        pax->extents[pax->extent_count++].length = number;
    }
    pax->offset_pending = is_offset;
    return 0;
}

/* `key` is after "GNU.sparse.". */
static int take_sparse(struct pax *pax, const char *key, const char *value, size_t length) {
    uint64_t number;
    pax->sparse = true;
    if (strcmp(key, "name") == 0) return pax->sparse_name = value, 0;
    if (strcmp(key, "map") == 0) return pax->sparse_map = value, 0;
    if (strcmp(key, "offset") == 0 || strcmp(key, "numbytes") == 0) return add_extent(pax, key[0] == 'o', value, length);
    if (parse_decimal(value, length, &number) < 0) return -1;
    if (strcmp(key, "size") == 0 || strcmp(key, "realsize") == 0) return pax->real_size = number, pax->has_real_size = true, 0;
    if (strcmp(key, "major") == 0) return pax->sparse_in_data = number == 1, number <= 1 ? 0 : -1;
    if (strcmp(key, "minor") == 0) return number == 0 || !pax->sparse_in_data ? 0 : -1;
    return 0;
}

static int take_record(struct pax *pax, char *key, char *value, size_t length, struct failure *failure) {
    static const char SCHILY[] = "SCHILY.xattr.", LIBARCHIVE[] = "LIBARCHIVE.xattr.", SPARSE[] = "GNU.sparse.";
    int result = 0;
    if (strncmp(key, SCHILY, sizeof SCHILY - 1) == 0) return add_xattr(pax, key + sizeof SCHILY - 1, value, length, failure);
    if (strncmp(key, LIBARCHIVE, sizeof LIBARCHIVE - 1) == 0) {
        decode_url(key + sizeof LIBARCHIVE - 1);
        if (decode_base64((uint8_t *)value, &length) < 0) return fail(failure, FAIL_TAR, "pax record \"%s\" is not base64", key);
        return add_xattr(pax, key + sizeof LIBARCHIVE - 1, value, length, failure);
    }
    /* An empty value takes the key back, to what the tar header says. */
    if (strcmp(key, "path") == 0) pax->path = length == 0 ? NULL : value;
    else if (strcmp(key, "linkpath") == 0) pax->linkpath = length == 0 ? NULL : value;
    else if (strcmp(key, "size") == 0) pax->has_size = length > 0, result = length > 0 ? parse_decimal(value, length, &pax->size) : 0;
    else if (strcmp(key, "uid") == 0) pax->has_uid = length > 0, result = length > 0 ? parse_id(value, length, &pax->uid) : 0;
    else if (strcmp(key, "gid") == 0) pax->has_gid = length > 0, result = length > 0 ? parse_id(value, length, &pax->gid) : 0;
    else if (strcmp(key, "mtime") == 0) pax->has_mtime = length > 0, result = length > 0 ? parse_time(value, length, &pax->mtime) : 0;
    else if (strncmp(key, SPARSE, sizeof SPARSE - 1) == 0) result = take_sparse(pax, key + sizeof SPARSE - 1, value, length);
    else return 0;
    bool is_name = value == pax->path || value == pax->linkpath || value == pax->sparse_name;
    if (is_name && strlen(value) != length) return fail(failure, FAIL_TAR, "a name in a pax header has a NUL byte");
    return result < 0 ? fail(failure, FAIL_TAR, "pax record \"%.100s\" has the value \"%.100s\"", key, value) : 0;
}

/* Cuts the next record out of the text: its key and value become strings of their own. */
static int next_record(struct pax *pax, size_t *at, char **key, char **value, size_t *length) {
    char *record = pax->text + *at, *space = memchr(record, ' ', pax->text_length - *at);
    uint64_t size;
    if (space == NULL || parse_decimal(record, (size_t)(space - record), &size) < 0) return -1;
    if (size > pax->text_length - *at || size < (size_t)(space - record) + 3 || record[size - 1] != '\n') return -1;
    char *end = record + size - 1, *equals = memchr(space + 1, '=', (size_t)(end - space - 1));
    if (equals == NULL || equals == space + 1 || memchr(space + 1, 0, (size_t)(equals - space - 1)) != NULL) return -1;
    *equals = *end = 0;
    *key = space + 1, *value = equals + 1, *length = (size_t)(end - equals - 1);
    *at += size;
    return 0;
}

int pax_parse(struct pax *pax, struct failure *failure) {
    char *key, *value;
    for (size_t at = 0, length; at < pax->text_length;) {
        if (next_record(pax, &at, &key, &value, &length) < 0) return fail(failure, FAIL_TAR, "invalid pax header");
        if (take_record(pax, key, value, length, failure) < 0) return -1;
    }
    return 0;
}

int pax_check_global(struct pax *pax, struct failure *failure) {
    char *key, *value;
    for (size_t at = 0, length; at < pax->text_length;) {
        if (next_record(pax, &at, &key, &value, &length) < 0) return fail(failure, FAIL_TAR, "invalid global pax header");
        if (strcmp(key, "size") == 0 || strcmp(key, "path") == 0 || strcmp(key, "linkpath") == 0 || strncmp(key, "GNU.sparse.", 11) == 0)
            return fail(failure, FAIL_TAR, "a global pax header sets \"%s\"", key);
    }
    return 0;
}
