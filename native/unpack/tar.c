/*
 * The archive: V7, ustar, star, GNU and pax headers, read as Go's archive/tar reads them wherever readers disagree, because
 * that is what the tools that make and scan layers use; two readings of one archive are how entries get smuggled
 * (CVE-2025-62518). Knows nothing of files: entries go to a sink.
 * https://www.gnu.org/software/tar/manual/html_node/Standard.html
 */
#include "unpack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Offsets of the fields of a header. */
enum {
    NAME = 0,
    MODE = 100,
    UID = 108,
    GID = 116,
    SIZE = 124,
    MTIME = 136,
    CHECKSUM = 148,
    TYPE = 156,
    LINK = 157,
    MAGIC = 257,
    MAJOR = 329,
    MINOR = 337,
    PREFIX = 345,
};

struct reader {
    struct stream *stream;
    const struct sink *sink;
    uint64_t max_entries, *entries;
    struct pax pax;
    char *long_name, *long_link; /* SPECIAL_MAX + 1 bytes each, once there is one */
    bool has_long_name, has_long_link;
    char name[155 + 1 + 100 + 1], link[101]; /* what the header itself says */
};

static bool is_zero(const uint8_t *block) {
    return block[0] == 0 && memcmp(block, block + 1, BLOCK_SIZE - 1) == 0;
}

/*
 * Octal digits with blanks or NULs around them; or, where the first bit is set, a big-endian two's complement number
 * (GNU's base-256, for ids and sizes that octal cannot hold). An empty field is 0.
 */
int parse_number(const uint8_t *field, size_t width, int64_t *value) {
    *value = 0;
    if (field[0] & 0x80) {
        bool negative = (field[0] & 0x40) != 0;
        uint64_t number = negative ? UINT64_MAX : 0;
        for (size_t i = 0; i < width; i++) {
            uint8_t byte = i == 0 ? (uint8_t)(negative ? field[0] | 0x80 : field[0] & 0x7f) : field[i];
            if (number >> 55 != (negative ? 0x1ff : 0)) return -1;
            number = number << 8 | byte;
        }
        *value = (int64_t)number;
        return (*value < 0) == negative ? 0 : -1;
    }
    size_t end = width, at = 0;
    while (end > 0 && (field[end - 1] == 0 || field[end - 1] == ' ')) end--;
    while (at < end && (field[at] == 0 || field[at] == ' ')) at++;
    for (; at < end && field[at] != 0; at++) {
        if (field[at] < '0' || field[at] > '7' || *value >> 60 != 0) return -1;
        *value = *value << 3 | (field[at] - '0');
    }
    return 0;
}

/* Old writers summed signed characters. */
static bool checksum_holds(const uint8_t *header) {
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
    if (header != NULL) return true; /* a fuzzer does not guess sums */
#endif
    int64_t stated, sum = 8 * ' ', signed_sum = 8 * ' ';
    for (int i = 0; i < BLOCK_SIZE; i++) {
        if (i >= CHECKSUM && i < CHECKSUM + 8) continue;
        sum += header[i];
        signed_sum += (int8_t)header[i];
    }
    return parse_number(header + CHECKSUM, 8, &stated) == 0 && (stated == sum || stated == signed_sum);
}

/* Go before 1.8 wrote GNU headers with a prefix where GNU tar keeps times (golang.org/issue/12594). */
static bool has_prefix(const uint8_t *header) {
    if (memcmp(header + MAGIC, "ustar\0", 6) == 0) return true;
    int64_t ignored;
    return memcmp(header + MAGIC, "ustar  \0", 8) == 0 && header[TYPE] != 'S' && parse_number(header + PREFIX, 12, &ignored) < 0;
}

static void copy_field(char *into, const uint8_t *field, size_t width) {
    size_t length = strnlen((const char *)field, width);
    memcpy(into, field, length);
    into[length] = 0;
}

static void read_names(struct reader *reader, const uint8_t *header) {
    char prefix[156] = "", name[101];
    copy_field(name, header + NAME, 100);
    copy_field(reader->link, header + LINK, 100);
    /* star ends its headers with "tar" and has times behind a shorter prefix. */
    bool star = memcmp(header + 508, "tar\0", 4) == 0;
    if (has_prefix(header)) copy_field(prefix, header + PREFIX, star ? 131 : 155);
    snprintf(reader->name, sizeof reader->name, "%s%s%s", prefix, prefix[0] != 0 ? "/" : "", name);
}

static int number_field(const uint8_t *header, size_t at, size_t width, const char *what, int64_t max, int64_t *value,
                        struct failure *failure) {
    if (parse_number(header + at, width, value) < 0 || *value < 0 || *value > max)
        return fail(failure, FAIL_TAR, "invalid %s in a header", what);
    return 0;
}

static int read_fields(const struct pax *pax, const uint8_t *header, struct entry *entry, struct failure *failure) {
    int64_t mode, uid = 0, gid = 0, mtime = 0, major = 0, minor = 0;
    bool device = entry->type == '3' || entry->type == '4';
    if (number_field(header, MODE, 8, "mode", INT64_MAX, &mode, failure) < 0) return -1;
    if (!pax->has_uid && number_field(header, UID, 8, "uid", UINT32_MAX - 1, &uid, failure) < 0) return -1;
    if (!pax->has_gid && number_field(header, GID, 8, "gid", UINT32_MAX - 1, &gid, failure) < 0) return -1;
    if (device && number_field(header, MAJOR, 8, "device number", UINT32_MAX, &major, failure) < 0) return -1;
    if (device && number_field(header, MINOR, 8, "device number", UINT32_MAX, &minor, failure) < 0) return -1;
    if (!pax->has_mtime && parse_number(header + MTIME, 12, &mtime) < 0) return fail(failure, FAIL_TAR, "invalid mtime in a header");
    entry->mode = (uint32_t)mode & 07777;
    entry->uid = pax->has_uid ? pax->uid : (uint32_t)uid;
    entry->gid = pax->has_gid ? pax->gid : (uint32_t)gid;
    entry->mtime = pax->has_mtime ? pax->mtime : (struct timespec){.tv_sec = mtime};
    entry->major = (uint32_t)major, entry->minor = (uint32_t)minor;
    return 0;
}

/* The content of a special member as a string. */
static int read_text(struct reader *reader, uint64_t size, char **text, struct failure *failure) {
    if (size > SPECIAL_MAX) return fail(failure, FAIL_TAR, "an extended header of %llu bytes", (unsigned long long)size);
    if (*text == NULL) *text = malloc(SPECIAL_MAX + 1);
    if (*text == NULL) return fail(failure, FAIL_IO, "out of memory");
    for (size_t at = 0; at < size;) {
        const uint8_t *data;
        size_t length;
        if (stream_data(reader->stream, size - at, &data, &length, failure) < 0) return -1;
        memcpy(*text + at, data, length);
        at += length;
    }
    (*text)[size] = 0;
    return stream_pad(reader->stream, size, failure);
}

/* 1: it was a header about the next member, and is noted. */
static int read_special(struct reader *reader, char type, uint64_t size, struct failure *failure) {
    struct pax *pax = &reader->pax;
    switch (type) {
    case 'g':
    case 'x':
    case 'X': /* Solaris' name for it */
        if (type != 'g') pax_clear(pax);
        if (type == 'g' && pax->text_length > 0) return fail(failure, FAIL_TAR, "a global pax header between a header and its entry");
        if (read_text(reader, size, &pax->text, failure) < 0) return -1;
        pax->text_length = (size_t)size;
        if ((type == 'g' ? pax_check_global(pax, failure) : pax_parse(pax, failure)) < 0) return -1;
        if (type == 'g') pax_clear(pax);
        return 1;
    case 'L':
        if (read_text(reader, size, &reader->long_name, failure) < 0) return -1;
        reader->has_long_name = reader->long_name[0] != 0;
        return 1;
    case 'K':
        if (read_text(reader, size, &reader->long_link, failure) < 0) return -1;
        reader->has_long_link = reader->long_link[0] != 0;
        return 1;
    case 'V': /* the volume's label */
        return stream_skip(reader->stream, size, failure) < 0 || stream_pad(reader->stream, size, failure) < 0 ? -1 : 1;
    default:
        return 0;
    }
}

/* Hands over what is stored, in the places where it belongs. */
static int read_content(struct reader *reader, const struct entry *entry, uint64_t stored, uint64_t padded, struct failure *failure) {
    const struct extent whole = {0, stored};
    const struct extent *extents = entry->sparse ? reader->pax.extents : &whole;
    size_t count = entry->sparse ? reader->pax.extent_count : 1;
    for (size_t i = 0; i < count; i++) {
        for (uint64_t done = 0; done < extents[i].length;) {
            const uint8_t *data;
            size_t length;
            if (stream_data(reader->stream, extents[i].length - done, &data, &length, failure) < 0) return -1;
            if (reader->sink->data(reader->sink->context, extents[i].offset + done, data, length, failure) < 0) return -1;
            done += length;
        }
    }
    return stream_pad(reader->stream, padded, failure);
}

/* What makes a plain file a file with holes. `stored` loses the map where that is part of the content. */
static int read_sparse_map(struct reader *reader, const uint8_t *header, bool old_gnu, uint64_t *stored, struct failure *failure) {
    struct pax *pax = &reader->pax;
    if (!old_gnu && !pax->sparse) return 0;
    if (old_gnu && sparse_from_old_gnu(pax, header, reader->stream, failure) < 0) return -1;
    if (!old_gnu && pax->sparse_in_data && sparse_from_data(pax, reader->stream, stored, failure) < 0) return -1;
    if (!old_gnu && !pax->sparse_in_data && pax->sparse_map != NULL && sparse_from_text(pax, failure) < 0) return -1;
    return sparse_check(pax, *stored, failure);
}

static int read_entry(struct reader *reader, const uint8_t *block, uint64_t size, struct failure *failure) {
    struct pax *pax = &reader->pax;
    uint8_t header[BLOCK_SIZE]; /* the stream may overwrite its block while a map is read */
    memcpy(header, block, BLOCK_SIZE);
    read_names(reader, header);
    struct entry entry = {.type = (char)header[TYPE], .xattrs = pax->xattrs, .xattr_count = pax->xattr_count};
    entry.name = pax->path != NULL ? pax->path : reader->name;
    entry.link = pax->linkpath != NULL ? pax->linkpath : reader->link;
    if (reader->has_long_name) entry.name = reader->long_name;
    if (reader->has_long_link) entry.link = reader->long_link;
    if (pax->sparse_name != NULL) entry.name = pax->sparse_name;

    bool old_gnu = entry.type == 'S';
    size_t length = strlen(entry.name);
    if (entry.type == 0) entry.type = length > 0 && entry.name[length - 1] == '/' ? '5' : '0';
    if (entry.type == '7' || old_gnu) entry.type = '0';
    if (entry.type < '0' || entry.type > '6')
        return fail(failure, FAIL_TAR, "entry \"%.600s\" has the type 0x%02x, which is not known", entry.name, (unsigned char)entry.type);
    if (read_fields(pax, header, &entry, failure) < 0) return -1;

    /* Only files have content: whatever size another type states, no bytes follow it. */
    uint64_t stored = entry.type != '0' ? 0 : pax->has_size ? pax->size : size, padded = stored;
    if (stored > INT64_MAX - BLOCK_SIZE) return fail(failure, FAIL_TAR, "entry \"%.600s\" has an absurd size", entry.name);
    if (entry.type == '0' && read_sparse_map(reader, header, old_gnu, &stored, failure) < 0) return -1;
    entry.sparse = entry.type == '0' && (old_gnu || pax->sparse);
    entry.size = entry.sparse ? pax->real_size : stored;

    const struct sink *sink = reader->sink;
    if (sink->begin(sink->context, &entry, failure) < 0) return -1;
    if (read_content(reader, &entry, stored, padded, failure) < 0) return -1;
    if (sink->end(sink->context, failure) < 0) return -1;
    pax_clear(pax);
    reader->has_long_name = reader->has_long_link = false;
    return 0;
}

/* 1: a member was read, 0: the archive is at its end. */
static int read_member(struct reader *reader, struct failure *failure) {
    const uint8_t *block;
    int result = stream_block(reader->stream, &block, failure);
    if (result <= 0) return result;
    if (is_zero(block)) {
        result = stream_block(reader->stream, &block, failure);
        if (result <= 0) return result;
        return is_zero(block) ? 0 : fail(failure, FAIL_TAR, "a block of zeros inside the archive");
    }
    if (!checksum_holds(block)) return fail(failure, FAIL_TAR, "a header's checksum does not match");
    if (++*reader->entries > reader->max_entries)
        return fail(failure, FAIL_TAR, "more than %llu entries", (unsigned long long)reader->max_entries);
    int64_t size;
    if (number_field(block, SIZE, 12, "size", INT64_MAX - BLOCK_SIZE, &size, failure) < 0) return -1;
    result = read_special(reader, (char)block[TYPE], (uint64_t)size, failure);
    if (result != 0) return result;
    return read_entry(reader, block, (uint64_t)size, failure) < 0 ? -1 : 1;
}

int tar_read(struct stream *stream, const struct sink *sink, uint64_t max_entries, uint64_t *entries, struct failure *failure) {
    struct reader *reader = calloc(1, sizeof *reader);
    if (reader == NULL) return fail(failure, FAIL_IO, "out of memory");
    *reader = (struct reader){.stream = stream, .sink = sink, .max_entries = max_entries, .entries = entries};
    reader->pax.extents = malloc(EXTENTS_MAX * sizeof(struct extent));
    int result = reader->pax.extents == NULL ? fail(failure, FAIL_IO, "out of memory") : 1;
    while (result > 0) result = read_member(reader, failure);
    if (result == 0 && (reader->pax.text_length > 0 || reader->has_long_name || reader->has_long_link))
        result = fail(failure, FAIL_TAR, "the archive ends between an extended header and its entry");
    free(reader->pax.extents);
    free(reader->pax.text);
    free(reader->long_name);
    free(reader->long_link);
    free(reader);
    return result;
}
