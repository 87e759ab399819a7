/*
 * The container's log in the format of Docker's json-file driver, one object a line, or in one of our own with a third of the overhead
 * (`local`): nanoseconds, the stream (o or e; a capital where the line goes on in the next entry), and the text as it is:
 *
 *     {"log":"hello\n","stream":"stdout","time":"2026-01-02T03:04:05.678901234Z"}
 *     1767323045678901234 o hello
 *
 * Lines are encoded into one buffer and written whole, so that a reader never meets half an entry and an output of many
 * short lines costs few writes. A disk that is full loses entries, never the container.
 */
#include "monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Docker's copier cuts a line there: a longer one becomes several entries, all but the last without their newline. */
#define PIECE 16384
/* Of the attributes of every entry; start-plan.ts makes no more. */
#define ATTRIBUTES 2048
/* Around the text: {"log":"…\n","stream":"stdout","attrs":{…},"time":"…"}\n */
#define ENVELOPE (ATTRIBUTES + 128)
/* Every byte may become six (\u0000). */
#define WORST(length) ((length) * 6 + ENVELOPE)
/* A line up to that is encoded while its end is looked for. */
#define SHORT 1024
#define BATCH (128 * 1024)
#define RETRY_MS 1000

_Static_assert(WORST(PIECE) <= BATCH, "a piece must fit into the buffer");

struct rest {
    uint8_t bytes[PIECE];
    size_t length;
};

static char batch[BATCH] __attribute__((aligned(4096)));
static struct rest rests[2]; /* what came after the last newline, of stdout and stderr */
static size_t used;
static char tail[ENVELOPE + 16]; /* what every entry of a batch ends with, from the newline on; of `local` what it begins with */
static size_t tail_length;

static struct {
    char path[TR_PATH_MAX];
    int fd; /* -1: could not be opened (anew) */
    uint64_t size;
    uint64_t max_bytes; /* 0: never rotated */
    uint32_t max_files;
    int64_t retry_at; /* nothing is written before that time */
    uint64_t format;
    const char *attributes; /* NULL: none */
    int stream;             /* of the batch */
    bool on;
} log_file;

static int open_log(void) {
    struct stat st;
    log_file.fd = open(log_file.path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (log_file.fd < 0) return -errno;
    log_file.size = fstat(log_file.fd, &st) == 0 ? (uint64_t)st.st_size : 0;
    return 0;
}

int tr_log_open(const struct tr_plan *plan) {
    if (strlen(plan->log_path) >= sizeof log_file.path) return -ENAMETOOLONG;
    strcpy(log_file.path, plan->log_path);
    log_file.max_bytes = plan->log_max_bytes;
    log_file.max_files = (uint32_t)plan->log_max_files;
    log_file.format = plan->log_format;
    log_file.attributes = plan->log_attributes;
    if (log_file.attributes != NULL && strlen(log_file.attributes) > ATTRIBUTES) return -E2BIG;
    log_file.on = true;
    if (log_file.format == TR_LOG_JOURNALD) return tr_journald_open(plan->log_path, plan->log_attributes);
    return open_log();
}

/* Writes the buffer, or as much as the disk takes of it and drops the rest. */
static void flush(void) {
    size_t done = 0;
    if (used == 0) return;
    if (log_file.retry_at != 0 && tr_now() < log_file.retry_at) {
        used = 0;
        return;
    }
    if (log_file.fd < 0) open_log();
    while (done < used) {
        ssize_t n = write(log_file.fd, batch + done, used - done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        done += (size_t)n;
    }
    log_file.retry_at = done == used ? 0 : tr_now() + RETRY_MS;
    if (done < used) {
        /* Half an entry is cut off again: the next one would be glued to it. */
        const char *newline = memrchr(batch, '\n', done);
        size_t whole = newline == NULL ? 0 : (size_t)(newline - batch) + 1;
        if (whole < done && ftruncate(log_file.fd, (off_t)(log_file.size + whole)) == 0) done = whole;
    }
    log_file.size += done;
    used = 0;
}

/* `json.log` or `json.log.<n>`. */
static void rotated_name(char *out, uint32_t n) {
    size_t length = strlen(log_file.path);
    memcpy(out, log_file.path, length + 1);
    if (n == 0) return;
    out[length++] = '.';
    out[length + tr_decimal(out + length, n)] = '\0';
}

/* json.log.1 -> json.log.2 and so on; the oldest falls off. A single file is emptied, as Docker does. */
static void rotate(void) {
    char from[TR_PATH_MAX + 12], to[TR_PATH_MAX + 12];
    if (log_file.max_files <= 1) {
        if (log_file.fd >= 0 && ftruncate(log_file.fd, 0) == 0) log_file.size = 0;
        return;
    }
    for (uint32_t n = log_file.max_files - 1; n > 0; n--) {
        rotated_name(from, n - 1);
        rotated_name(to, n);
        rename(from, to);
    }
    if (log_file.fd >= 0) close(log_file.fd);
    log_file.fd = -1;
    log_file.size = 0;
    open_log();
}

static void put_local(const uint8_t *text, size_t length, bool newline) {
    char *out = batch + used;
    memcpy(out, tail, tail_length);
    out += tail_length;
    if (!newline) out[-2] = (char)(out[-2] - 'a' + 'A');
    memcpy(out, text, length);
    out[length] = '\n';
    used += tail_length + length + 1;
}

/* Makes room in the buffer for an entry of so much text, and a new file where this one is full. */
static void make_room(size_t length) {
    if (log_file.max_bytes > 0 && log_file.size + used >= log_file.max_bytes) {
        flush();
        if (log_file.size >= log_file.max_bytes) rotate();
    }
    if (used + WORST(length) > BATCH) flush();
}

static char *begin_entry(void) {
    memcpy(batch + used, "{\"log\":\"", 8);
    return batch + used + 8;
}

static void end_entry(char *out, bool newline) {
    size_t skip = newline ? 0 : 2, length = tail_length - skip;
    for (size_t i = 0; i < length; i += 16) memcpy(out + i, tail + skip + i, 16); /* musl's takes longer for so little */
    used = (size_t)(out - batch) + length;
}

static void put_entry(const uint8_t *text, size_t length, bool newline) {
    if (log_file.format == TR_LOG_JOURNALD) {
        tr_journald(log_file.stream, text, length, newline);
        return;
    }
    make_room(length);
    if (log_file.format == TR_LOG_LOCAL) put_local(text, length, newline);
    else end_entry(tr_put_json(begin_entry(), text, length), newline);
}

/* The most of all output: a line as it comes. Returns its length with the newline; 0 where it has to be looked at more closely. */
static size_t put_short_line(const uint8_t *s, size_t n) {
    size_t length;
    char *out;
    make_room(SHORT);
    out = tr_put_json_line(begin_entry(), s, n < SHORT ? n : SHORT, &length);
    if (length > 0) end_entry(out, true);
    return length;
}

/* Where to cut a piece so that no character is torn: up to three bytes before its end. */
static size_t whole_characters(const uint8_t *s, size_t n) {
    for (size_t back = 1; back <= 3 && back < n; back++) {
        uint8_t c = s[n - back];
        if (c < 0x80) break;
        if (c >= 0xc0) return back < (c < 0xe0 ? 2u : c < 0xf0 ? 3u : 4u) ? n - back : n;
    }
    return n;
}

/* Adds to what is waiting for its newline; returns how much of s it took. */
static size_t add_to_rest(int stream, const uint8_t *s, size_t n) {
    struct rest *rest = &rests[stream];
    size_t room = PIECE - rest->length, take = n < room ? n : room;
    const uint8_t *newline = tr_find_newline(s, take);
    if (newline != NULL) take = (size_t)(newline - s);
    memcpy(rest->bytes + rest->length, s, take);
    rest->length += take;
    if (newline != NULL) {
        put_entry(rest->bytes, rest->length, true);
        rest->length = 0;
        return take + 1;
    }
    if (rest->length == PIECE) {
        size_t cut = whole_characters(rest->bytes, PIECE);
        put_entry(rest->bytes, cut, false);
        rest->length = PIECE - cut;
        memmove(rest->bytes, rest->bytes + cut, rest->length);
    }
    return take;
}

/* Docker keeps the time at which a line was read; one clock reading serves all the lines of one read. */
static void begin_batch(int stream) {
    struct timespec now;
    char *p;
    log_file.stream = stream;
    if (log_file.format == TR_LOG_JOURNALD) return;
    clock_gettime(CLOCK_REALTIME, &now);
    if (log_file.format == TR_LOG_LOCAL) {
        p = tr_put_number(tail, "", (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec);
        tail_length = (size_t)(tr_put_text(p, stream == 0 ? " o " : " e ") - tail);
        return;
    }
    p = tr_put_text(tail, stream == 0 ? "\\n\",\"stream\":\"stdout\"" : "\\n\",\"stream\":\"stderr\"");
    if (log_file.attributes != NULL) p = tr_put_text(tr_put_text(p, ",\"attrs\":"), log_file.attributes);
    p = tr_put_text(p, ",\"time\":\"");
    p += tr_rfc3339(p, &now);
    tail_length = (size_t)(tr_put_text(p, "\"}\n") - tail);
}

/* Takes a line, or a part of one; returns its length. */
static size_t take_text(int stream, const uint8_t *s, size_t n) {
    const uint8_t *newline;
    size_t length;
    if (rests[stream].length > 0) return add_to_rest(stream, s, n);
    if (log_file.format == TR_LOG_JSON && (length = put_short_line(s, n)) > 0) return length;
    newline = tr_find_newline(s, n < PIECE ? n : PIECE);
    if (newline == NULL) return add_to_rest(stream, s, n);
    length = (size_t)(newline - s); /* a whole line, encoded from where it was read */
    put_entry(s, length, true);
    return length + 1;
}

void tr_log(int stream, const uint8_t *s, size_t n) {
    if (!log_file.on) return;
    begin_batch(stream);
    while (n > 0) {
        size_t taken = take_text(stream, s, n);
        s += taken;
        n -= taken;
    }
    flush();
}

void tr_log_end(int stream) {
    struct rest *rest = &rests[stream];
    if (!log_file.on || rest->length == 0) return;
    begin_batch(stream);
    put_entry(rest->bytes, rest->length, false);
    rest->length = 0;
    flush();
}

void tr_log_close(void) {
    if (log_file.on && log_file.fd >= 0) close(log_file.fd);
    log_file.on = false;
}

void tr_log_idle(void) {
    madvise(batch, sizeof batch, MADV_DONTNEED);
}
