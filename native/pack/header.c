/*
 * POSIX.1-1988 (ustar) headers; POSIX.1-2001 (pax) records in front where a value does not fit: long names, large numbers,
 * times before 1970 or with fractions, extended attributes (SCHILY.xattr.*), and GNU's map of sparse files, version 1.0.
 * https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html#tag_20_92_13
 */
#include "pack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_FIELD 100
#define PREFIX_FIELD 155
#define OCTAL_7 07777777u        /* what seven digits hold */
#define OCTAL_11 077777777777ull /* eleven */

struct records {
    uint8_t *bytes;
    size_t length, capacity;
    bool failed;
};

/* "LENGTH KEY=VALUE\n", where LENGTH counts itself, too. */
static void record(struct records *records, const char *prefix, const char *key, const void *value, size_t length) {
    size_t rest = strlen(prefix) + strlen(key) + length + 3; /* space, equals sign, newline */
    size_t total = rest, before;
    char digits[24];
    do before = total, total = rest + (size_t)snprintf(digits, sizeof digits, "%zu", total);
    while (total != before);
    if (records->capacity - records->length < total + 1) {
        size_t capacity = 2 * (records->capacity + total) + 1024;
        uint8_t *bytes = realloc(records->bytes, capacity);
        if (bytes == NULL) records->failed = true;
        if (bytes == NULL) return;
        records->bytes = bytes, records->capacity = capacity;
    }
    char *at = (char *)records->bytes + records->length;
    int head = sprintf(at, "%zu %s%s=", total, prefix, key);
    memcpy(at + head, value, length);
    at[total - 1] = '\n';
    records->length += total;
}

static void record_number(struct records *records, const char *key, uint64_t number) {
    char text[24];
    record(records, "", key, text, (size_t)snprintf(text, sizeof text, "%llu", (unsigned long long)number));
}

/* A time before 1970 with a fraction is the negative of both: -1.25 is 750 ms after second -2. */
static void record_time(struct records *records, const struct timespec *time, bool subsecond) {
    char text[48];
    long long seconds = time->tv_sec;
    long fraction = subsecond ? time->tv_nsec : 0;
    const char *sign = seconds < 0 ? "-" : "";
    if (seconds < 0 && fraction > 0) seconds++, fraction = 1000000000 - fraction;
    unsigned long long absolute = seconds < 0 ? -(unsigned long long)seconds : (unsigned long long)seconds;
    int length = fraction == 0 ? snprintf(text, sizeof text, "%s%llu", sign, absolute)
                               : snprintf(text, sizeof text, "%s%llu.%09ld", sign, absolute, fraction);
    while (fraction != 0 && text[length - 1] == '0') length--;
    record(records, "", "mtime", text, (size_t)length);
}

static void octal(char *field, size_t width, uint64_t value) {
    field[width - 1] = 0;
    for (size_t at = width - 1; at-- > 0; value >>= 3) field[at] = (char)('0' + (value & 7));
}

/* name and prefix; false where the name cannot be split so that both parts fit. */
static bool set_name(char *header, const char *name) {
    size_t length = strlen(name);
    if (length <= NAME_FIELD) return memcpy(header, name, length), true;
    if (length > PREFIX_FIELD + 1 + NAME_FIELD) return false;
    /* The first slash that leaves no more than the field behind it; what follows it must not be empty. */
    const char *slash = strchr(name + length - NAME_FIELD - 1, '/');
    if (slash == NULL || slash == name || slash - name > PREFIX_FIELD || slash[1] == 0) return false;
    memcpy(header + 345, name, (size_t)(slash - name));
    memcpy(header, slash + 1, length - (size_t)(slash - name) - 1);
    return true;
}

static void finish(char *header, char type, uint64_t size) {
    octal(header + 124, 12, size);
    header[156] = type;
    memcpy(header + 257, "ustar\0" "00", 8);
    memset(header + 148, ' ', 8);
    unsigned sum = 0;
    for (int i = 0; i < BLOCK_SIZE; i++) sum += (unsigned char)header[i];
    octal(header + 148, 7, sum);
    header[155] = ' ';
}

static void record_xattrs(struct records *records, const struct member *member) {
    for (size_t at = 0; at < member->xattrs_length;) {
        const char *name = (const char *)member->xattrs + at;
        uint32_t length;
        at += strlen(name) + 1;
        memcpy(&length, member->xattrs + at, sizeof length);
        at += sizeof length;
        record(records, "SCHILY.xattr.", name, member->xattrs + at, length);
        at += length;
    }
}

/* The header's fields; what does not fit goes to the records, and zero or a part of it into the field. */
static void fill(char *header, const struct member *member, struct records *records) {
    const char *link = member->link == NULL ? "" : member->link;
    char sparse_name[NAME_FIELD + 1];
    if (member->sparse) {
        /* For readers that know nothing of it: they get the map and the data under this name. */
        const char *base = strrchr(member->name, '/');
        snprintf(sparse_name, sizeof sparse_name, "GNUSparseFile.0/%.80s", base == NULL ? member->name : base + 1);
        record(records, "", "GNU.sparse.major", "1", 1);
        record(records, "", "GNU.sparse.minor", "0", 1);
        record(records, "", "GNU.sparse.name", member->name, strlen(member->name));
        record_number(records, "GNU.sparse.realsize", member->real_size);
    }
    const char *name = member->sparse ? sparse_name : member->name;
    if (!set_name(header, name)) {
        record(records, "", "path", name, strlen(name));
        memcpy(header, name, NAME_FIELD);
    }
    if (strlen(link) > NAME_FIELD) record(records, "", "linkpath", link, strlen(link));
    memcpy(header + 157, link, strnlen(link, NAME_FIELD));
    if (member->size > OCTAL_11) record_number(records, "size", member->size);
    if (member->uid > OCTAL_7) record_number(records, "uid", member->uid);
    if (member->gid > OCTAL_7) record_number(records, "gid", member->gid);
    const struct timespec *mtime = &member->mtime;
    bool fits = mtime->tv_sec >= 0 && (uint64_t)mtime->tv_sec <= OCTAL_11;
    if (!fits || (member->subsecond && mtime->tv_nsec != 0)) record_time(records, mtime, member->subsecond);
    record_xattrs(records, member);
    octal(header + 100, 8, member->mode & 07777);
    octal(header + 108, 8, member->uid > OCTAL_7 ? 0 : member->uid);
    octal(header + 116, 8, member->gid > OCTAL_7 ? 0 : member->gid);
    octal(header + 136, 12, fits ? (uint64_t)mtime->tv_sec : 0);
    if (member->type == '3' || member->type == '4') octal(header + 329, 8, member->major), octal(header + 337, 8, member->minor);
    finish(header, member->type, member->size > OCTAL_11 ? 0 : member->size);
}

static int write_records(struct output *output, const struct records *records, const struct member *member, struct failure *failure) {
    char header[BLOCK_SIZE] = {0};
    size_t length = strlen(member->name);
    while (length > 1 && member->name[length - 1] == '/') length--;
    size_t start = length;
    while (start > 0 && member->name[start - 1] != '/') start--;
    snprintf(header, NAME_FIELD, "PaxHeaders.0/%.*s", (int)(length - start > 80 ? 80 : length - start), member->name + start);
    octal(header + 100, 8, 0644);
    octal(header + 108, 8, 0);
    octal(header + 116, 8, 0);
    octal(header + 136, 12, 0);
    finish(header, 'x', records->length);
    if (output_write(output, header, sizeof header, failure) < 0) return -1;
    if (output_write(output, records->bytes, records->length, failure) < 0) return -1;
    return output_pad(output, failure);
}

int header_write(struct output *output, const struct member *member, struct failure *failure) {
    char header[BLOCK_SIZE] = {0};
    struct records records = {0};
    fill(header, member, &records);
    int result = records.failed ? fail(failure, FAIL_IO, "out of memory") : 0;
    if (result == 0 && records.length > 0) result = write_records(output, &records, member, failure);
    free(records.bytes);
    return result < 0 ? -1 : output_write(output, header, sizeof header, failure);
}
