/* What the caller reads: one line of JSON on stdout. */
#include "unpack.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *const KIND[] = {
    [FAIL_NONE] = "none",     [FAIL_DIGEST] = "digest",   [FAIL_DIFFID] = "diffid", [FAIL_SIZE] = "size",
    [FAIL_CORRUPT] = "corrupt", [FAIL_TAR] = "tar",       [FAIL_UNSAFE] = "unsafe", [FAIL_SPACE] = "space",
    [FAIL_IO] = "io",         [FAIL_NEEDS_LOWER] = "needs-lower",
};

int fail(struct failure *failure, enum failure_kind kind, const char *format, ...) {
    if (failure->kind != FAIL_NONE) return -1;
    failure->kind = kind;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(failure->message, sizeof failure->message, format, arguments);
    va_end(arguments);
    return -1;
}

/* Which errors are the archive's: names that no file system takes, and loops of links that it made itself. */
static enum failure_kind kind_of(int errnum) {
    switch (errnum) {
    case ENOSPC:
    case EDQUOT:
        return FAIL_SPACE;
    case ENAMETOOLONG:
    case ELOOP:
    case ENOTDIR:
    case EFBIG:
        return FAIL_TAR;
    default:
        return FAIL_IO;
    }
}

int fail_errno(struct failure *failure, int errnum, const char *action, const char *object) {
    if (failure->kind != FAIL_NONE) return -1;
    failure->errnum = errnum;
    return fail(failure, kind_of(errnum), "%s \"%.600s\": %s", action, object, strerror(errnum));
}

struct line {
    char text[16 * 1024];
    size_t length;
};

static void put(struct line *line, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(line->text + line->length, sizeof line->text - line->length, format, arguments);
    va_end(arguments);
    if (n > 0 && (size_t)n < sizeof line->text - line->length) line->length += (size_t)n;
}

/* Those that a caller may want to tell apart; musl and older glibc know no strerrorname_np(). */
static const char *name_of(int errnum) {
#define NAMED(name) {name, #name}
    static const struct {
        int number;
        const char *name;
    } NAMES[] = {NAMED(ENOSPC), NAMED(EDQUOT), NAMED(EIO),    NAMED(EPERM), NAMED(EACCES), NAMED(ENOENT), NAMED(ENOMEM),
                 NAMED(EROFS),  NAMED(EINVAL), NAMED(ENOSYS), NAMED(EMFILE), NAMED(ENFILE), NAMED(EMLINK), NAMED(EOPNOTSUPP),
                 NAMED(ENAMETOOLONG), NAMED(ENOTDIR), NAMED(ELOOP), NAMED(EFBIG), NAMED(EBUSY), NAMED(ENODEV)};
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++)
        if (NAMES[i].number == errnum) return NAMES[i].name;
    return NULL;
}

/* Names in an archive are bytes: what is not plain ASCII is shown as \xNN, so that the line is valid JSON whatever comes. */
static void put_string(struct line *line, const char *key, const char *text) {
    put(line, ",\"%s\":\"", key);
    for (const unsigned char *c = (const unsigned char *)text; *c != 0; c++) {
        if (*c == '"' || *c == '\\') put(line, "\\%c", *c);
        else if (*c < 0x20 || *c >= 0x7f) put(line, "\\\\x%02x", *c);
        else put(line, "%c", *c);
    }
    put(line, "\"");
}

static void flush(struct line *line) {
    put(line, "}\n");
    for (size_t at = 0; at < line->length;) {
        ssize_t n = write(STDOUT_FILENO, line->text + at, line->length - at);
        if (n < 0 && errno != EINTR) return; /* nobody listens: the exit status still tells */
        if (n > 0) at += (size_t)n;
    }
}

void report_success(const struct totals *totals) {
    static struct line line;
    put(&line, "{\"ok\":true,\"files\":%llu,\"bytes\":%llu,\"size\":%llu", (unsigned long long)totals->entries,
        (unsigned long long)totals->bytes, (unsigned long long)totals->raw_bytes);
    put(&line, ",\"implicit\":%llu,\"skippedXattrs\":%llu", (unsigned long long)totals->implicit,
        (unsigned long long)totals->skipped_xattrs);
    put(&line, ",\"opaqueRoot\":%s", totals->opaque_root ? "true" : "false");
    put(&line, ",\"damages\":%llu", (unsigned long long)totals->damages);
    put_string(&line, "digest", totals->digest);
    put_string(&line, "diffId", totals->diff_id);
    flush(&line);
}

void report_failure(const struct failure *failure) {
    static struct line line;
    put(&line, "{\"ok\":false,\"kind\":\"%s\"", KIND[failure->kind]);
    put_string(&line, "message", failure->message);
    const char *name = name_of(failure->errnum);
    if (name != NULL) put_string(&line, "errno", name);
    if (failure->path[0] != 0) put_string(&line, "path", failure->path);
    flush(&line);
}

void report_damage(const char *path, const char *what) {
    static struct line line;
    line.length = 0;
    put(&line, "{\"damage\":true");
    put_string(&line, "path", path);
    put_string(&line, "what", what);
    flush(&line);
}
