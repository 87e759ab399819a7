/* state.json, and the facts and times in it. No stdio, no locale: numbers and fixed strings. */
#include "monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

size_t tr_decimal(char *out, uint64_t n) {
    char digits[20];
    size_t length = 0;
    do digits[length++] = (char)('0' + n % 10);
    while ((n /= 10) > 0);
    for (size_t i = 0; i < length; i++) out[i] = digits[length - 1 - i];
    return length;
}

static char *put_padded(char *out, uint64_t n, int width) {
    for (int i = width - 1; i >= 0; i--, n /= 10) out[i] = (char)('0' + n % 10);
    return out + width;
}

/* Days since the epoch to a date, by eras of 400 years: http://howardhinnant.github.io/date_algorithms.html#civil_from_days */
size_t tr_rfc3339(char *out, const struct timespec *time) {
    uint64_t seconds = time->tv_sec < 0 ? 0 : (uint64_t)time->tv_sec;
    uint64_t days = seconds / 86400 + 719468, rest = seconds % 86400;
    uint64_t era = days / 146097, doe = days % 146097;
    uint64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    uint64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    uint64_t mp = (5 * doy + 2) / 153, month = mp < 10 ? mp + 3 : mp - 9;
    char *p = put_padded(out, yoe + era * 400 + (month <= 2), 4);
    *p++ = '-';
    p = put_padded(p, month, 2);
    *p++ = '-';
    p = put_padded(p, doy - (153 * mp + 2) / 5 + 1, 2);
    *p++ = 'T';
    p = put_padded(p, rest / 3600, 2);
    *p++ = ':';
    p = put_padded(p, rest / 60 % 60, 2);
    *p++ = ':';
    p = put_padded(p, rest % 60, 2);
    if (time->tv_nsec > 0) {
        *p++ = '.';
        p = put_padded(p, (uint64_t)time->tv_nsec, 9);
        while (p[-1] == '0') p--;
    }
    *p++ = 'Z';
    *p = '\0';
    return (size_t)(p - out);
}

/* Reads the beginning of a small file as a string; -1 where it cannot. */
static ssize_t read_text(const char *path, char *out, size_t size) {
    ssize_t n;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    n = read(fd, out, size - 1);
    close(fd);
    if (n >= 0) out[n] = '\0';
    return n;
}

static uint64_t number_at(const char *p) {
    uint64_t n = 0;
    while (*p == ' ') p++;
    for (; *p >= '0' && *p <= '9'; p++) n = n * 10 + (uint64_t)(*p - '0');
    return n;
}

uint64_t tr_start_time(pid_t pid) {
    char path[40] = "/proc/", text[1024];
    size_t length = 6 + tr_decimal(path + 6, (uint64_t)pid);
    const char *p;
    memcpy(path + length, "/stat", 6);
    if (read_text(path, text, sizeof text) <= 0) return 0;
    /* Field 2, the name, may contain anything, so count from its last parenthesis. */
    p = strrchr(text, ')');
    for (int field = 2; p != NULL && field < 22; field++) p = strchr(p + 1, ' ');
    return p == NULL ? 0 : number_at(p);
}

uint64_t tr_oom_kills(const char *path) {
    char text[1024];
    const char *p = text;
    if (path == NULL || read_text(path, text, sizeof text) <= 0) return 0;
    /* At the beginning of a line: v1 also has `oom_kill_disable`, v2 `oom_group_kill`. */
    while (p != NULL && strncmp(p, "oom_kill ", 9) != 0) {
        p = strchr(p, '\n');
        if (p != NULL) p++;
    }
    return p == NULL ? 0 : number_at(p + 9);
}

char *tr_put_text(char *out, const char *text) {
    size_t length = strlen(text);
    memcpy(out, text, length);
    return out + length;
}

char *tr_put_number(char *out, const char *key, uint64_t n) {
    out = tr_put_text(out, key);
    return out + tr_decimal(out, n);
}

static char *put_time(char *out, const char *key, const struct timespec *time) {
    out = tr_put_text(out, key);
    out += tr_rfc3339(out, time);
    return tr_put_text(out, "\"");
}

static size_t state_text(char *out, const struct tr_state *state) {
    char *p = tr_put_number(out, "{\"pid\":", (uint64_t)state->pid);
    p = tr_put_number(p, ",\"startTime\":", state->start_time);
    p = tr_put_number(p, ",\"monitorPid\":", (uint64_t)state->monitor_pid);
    p = tr_put_number(p, ",\"monitorStartTime\":", state->monitor_start_time);
    p = put_time(p, ",\"startedAt\":\"", &state->started);
    if (state->exited) {
        p = put_time(p, ",\"finishedAt\":\"", &state->finished);
        p = tr_put_number(p, ",\"exitCode\":", (uint64_t)state->exit_code);
        p = tr_put_number(p, ",\"signal\":", (uint64_t)state->signal);
        p = tr_put_text(p, state->oom_killed ? ",\"oomKilled\":true" : ",\"oomKilled\":false");
    }
    if (state->restarts > 0) p = tr_put_number(p, ",\"restarts\":", state->restarts);
    if (state->restarting) p = tr_put_text(p, ",\"restarting\":true");
    if (state->failure.error != 0) {
        p = tr_put_number(p, ",\"failure\":{\"phase\":", (uint64_t)state->failure.phase);
        p = state->failure.op_index < 0 ? tr_put_text(p, ",\"opIndex\":-1")
                                        : tr_put_number(p, ",\"opIndex\":", (uint64_t)state->failure.op_index);
        p = tr_put_text(tr_put_number(p, ",\"errno\":", (uint64_t)state->failure.error), "}");
    }
    return (size_t)(tr_put_text(p, "}\n") - out);
}

/* On a full disk: over the old text, which has its block already. */
static int overwrite(const char *path, const char *text, size_t size) {
    int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW), error = 0;
    if (fd < 0) return -errno;
    if (write(fd, text, size) != (ssize_t)size || ftruncate(fd, (off_t)size) < 0) error = -ENOSPC;
    close(fd);
    return error;
}

/* Temporary file and rename, so that no reader meets a half; no fsync, as nothing of it is true after a crash. */
int tr_replace_file(const char *path, const char *text, size_t size) {
    char temporary[TR_PATH_MAX];
    size_t length = strlen(path);
    ssize_t n;
    int fd, error = 0;
    if (length + 5 > sizeof temporary) return -ENAMETOOLONG;
    memcpy(temporary, path, length);
    memcpy(temporary + length, ".tmp", 5);
    fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        error = -errno;
    } else {
        n = write(fd, text, size);
        if (n != (ssize_t)size) error = n < 0 ? -errno : -ENOSPC;
        close(fd);
        if (error == 0 && rename(temporary, path) < 0) error = -errno;
        if (error != 0) unlink(temporary);
    }
    return error == -ENOSPC || error == -EDQUOT ? overwrite(path, text, size) : error;
}

int tr_state_write(const char *path, const struct tr_state *state) {
    char text[640];
    return tr_replace_file(path, text, state_text(text, state));
}
