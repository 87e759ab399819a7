/*
 * Files with holes, in the four ways GNU tar has written them.
 * https://www.gnu.org/software/tar/manual/html_node/Sparse-Formats.html
 * Maps are bounded (CVE-2025-58183), in order, without overlap, and say exactly as many bytes as are stored.
 */
#include "unpack.h"

#include <string.h>

static int add(struct pax *pax, uint64_t offset, uint64_t length, struct failure *failure) {
    if (pax->extent_count == EXTENTS_MAX) return fail(failure, FAIL_TAR, "a sparse file has more than %d pieces", EXTENTS_MAX);
    pax->extents[pax->extent_count++] = (struct extent){offset, length};
    return 0;
}

/* Format 0.1: `offset,length,offset,length` in one record. */
int sparse_from_text(struct pax *pax, struct failure *failure) {
    pax->extent_count = 0;
    for (const char *at = pax->sparse_map; *at != 0;) {
        uint64_t pair[2];
        for (int i = 0; i < 2; i++) {
            size_t digits = strspn(at, "0123456789");
            if (parse_decimal(at, digits, &pair[i]) < 0) return fail(failure, FAIL_TAR, "invalid map of a sparse file");
            at += digits;
            if (*at == ',') at++;
            else if (*at != 0 || i == 0) return fail(failure, FAIL_TAR, "invalid map of a sparse file");
        }
        if (add(pax, pair[0], pair[1], failure) < 0) return -1;
    }
    return 0;
}

/* Lines of digits out of blocks. */
struct numbers {
    struct stream *stream;
    uint64_t *remaining; /* stored bytes that have not been read */
    uint64_t taken;
    const uint8_t *block;
    size_t at;
};

static int next_number(struct numbers *numbers, uint64_t *value, struct failure *failure) {
    char digits[21];
    for (size_t n = 0; n < sizeof digits;) {
        if (numbers->block == NULL || numbers->at == BLOCK_SIZE) {
            numbers->taken += BLOCK_SIZE;
            if (*numbers->remaining < BLOCK_SIZE || numbers->taken > 2 * SPECIAL_MAX) break;
            int result = stream_block(numbers->stream, &numbers->block, failure);
            if (result < 0) return -1;
            if (result == 0) return fail(failure, FAIL_CORRUPT, "the archive ends inside the map of a sparse file");
            *numbers->remaining -= BLOCK_SIZE;
            numbers->at = 0;
        }
        char c = (char)numbers->block[numbers->at++];
        if (c == '\n') {
            if (parse_decimal(digits, n, value) < 0) break;
            return 0;
        }
        digits[n++] = c;
    }
    return fail(failure, FAIL_TAR, "invalid map of a sparse file");
}

/* Format 1.0: the count and the pairs, each on a line, in whole blocks before the content. */
int sparse_from_data(struct pax *pax, struct stream *stream, uint64_t *remaining, struct failure *failure) {
    struct numbers numbers = {.stream = stream, .remaining = remaining};
    uint64_t count, offset, length;
    pax->extent_count = 0;
    if (next_number(&numbers, &count, failure) < 0) return -1;
    for (uint64_t i = 0; i < count; i++) {
        if (next_number(&numbers, &offset, failure) < 0 || next_number(&numbers, &length, failure) < 0) return -1;
        if (add(pax, offset, length, failure) < 0) return -1;
    }
    return 0;
}

/* `count` pairs of 12-byte fields; an empty pair ends the map. */
static int add_fields(struct pax *pax, const uint8_t *fields, int count, struct failure *failure) {
    for (int i = 0; i < count && fields[i * 24] != 0; i++) {
        int64_t offset, length;
        if (parse_number(fields + i * 24, 12, &offset) < 0 || parse_number(fields + i * 24 + 12, 12, &length) < 0 || offset < 0 || length < 0)
            return fail(failure, FAIL_TAR, "invalid map of a sparse file");
        if (add(pax, (uint64_t)offset, (uint64_t)length, failure) < 0) return -1;
    }
    return 0;
}

/* Type 'S': four pairs in the header, twenty-one in each block that follows while the flag says so. */
int sparse_from_old_gnu(struct pax *pax, const uint8_t *header, struct stream *stream, struct failure *failure) {
    int64_t real_size;
    if (parse_number(header + 483, 12, &real_size) < 0 || real_size < 0) return fail(failure, FAIL_TAR, "invalid size of a sparse file");
    pax->extent_count = 0;
    pax->sparse = pax->has_real_size = true;
    pax->real_size = (uint64_t)real_size;
    bool more = header[482] != 0;
    if (add_fields(pax, header + 386, 4, failure) < 0) return -1;
    for (size_t blocks = 0; more; blocks++) {
        const uint8_t *block;
        if (blocks > EXTENTS_MAX / 21) return fail(failure, FAIL_TAR, "a sparse file has more than %d pieces", EXTENTS_MAX);
        int result = stream_block(stream, &block, failure);
        if (result < 0) return -1;
        if (result == 0) return fail(failure, FAIL_CORRUPT, "the archive ends inside the map of a sparse file");
        more = block[504] != 0;
        if (add_fields(pax, block, 21, failure) < 0) return -1;
    }
    return 0;
}

int sparse_check(const struct pax *pax, uint64_t stored, struct failure *failure) {
    uint64_t end = 0, total = 0;
    if (!pax->has_real_size || pax->real_size > INT64_MAX || pax->offset_pending)
        return fail(failure, FAIL_TAR, "a sparse file does not say its size");
    for (size_t i = 0; i < pax->extent_count; i++) {
        const struct extent *extent = &pax->extents[i];
        if (extent->offset < end || extent->offset > pax->real_size || extent->length > pax->real_size - extent->offset)
            return fail(failure, FAIL_TAR, "the pieces of a sparse file overlap or lie outside it");
        end = extent->offset + extent->length;
        total += extent->length;
    }
    if (total != stored) return fail(failure, FAIL_TAR, "the map of a sparse file does not match its content");
    return 0;
}
