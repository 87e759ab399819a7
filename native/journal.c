/*
 * The machine-wide journal of events, what `events` shows: one line of JSON for each, of which the plan has prepared everything that
 * needs thought. Whoever reads may rotate the file by renaming it, so it is opened for every line.
 */
#include "monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* One write of no more is never torn by another's: see src/disk/journal.ts. */
#define LINE_MAX_BYTES 4096
/* Around the action, the actor and the extra attributes. */
#define ENVELOPE 128

/* The first event of a store makes the directory. */
static int open_journal(const char *path) {
    const int flags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW;
    char directory[TR_PATH_MAX];
    const char *slash = strrchr(path, '/');
    int fd = open(path, flags, 0600);
    if (fd >= 0 || errno != ENOENT || slash == NULL || slash - path >= TR_PATH_MAX) return fd;
    memcpy(directory, path, (size_t)(slash - path));
    directory[slash - path] = '\0';
    mkdir(directory, 0700);
    return open(path, flags, 0600);
}

/* Nothing depends on it: a disk that is full loses the event. */
void tr_journal(const struct tr_plan *plan, const char *action, const char *attributes) {
    char line[LINE_MAX_BYTES], *p = line;
    struct timespec now;
    int fd;
    if (plan->journal_path == NULL || plan->journal_actor == NULL) return;
    if (strlen(plan->journal_actor) + strlen(action) + strlen(attributes) + ENVELOPE > sizeof line) return;
    clock_gettime(CLOCK_REALTIME, &now);
    p = tr_put_number(p, "{\"time\":", (uint64_t)now.tv_sec);
    p = tr_put_number(p, ",\"timeNano\":", (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec);
    p = tr_put_text(tr_put_text(p, ",\"Type\":\"container\",\"Action\":\""), action);
    p = tr_put_text(tr_put_text(p, "\",\"Actor\":"), plan->journal_actor);
    p = tr_put_text(tr_put_text(p, attributes), "}}}\n");
    fd = open_journal(plan->journal_path);
    if (fd < 0) return;
    if (write(fd, line, (size_t)(p - line)) < 0) errno = 0;
    close(fd);
}

void tr_journal_end(const struct tr_plan *plan, const struct tr_state *state) {
    char attributes[96], *p = attributes;
    int64_t seconds = state->finished.tv_sec - state->started.tv_sec;
    if (plan->journal_path == NULL) return;
    p = tr_put_number(p, ",\"execDuration\":\"", seconds < 0 ? 0 : (uint64_t)seconds);
    p = tr_put_number(p, "\",\"exitCode\":\"", (uint64_t)state->exit_code);
    memcpy(p, "\"", 2);
    if (state->oom_killed) tr_journal(plan, "oom", "");
    tr_journal(plan, plan->exec ? "exec_die" : "die", attributes);
    if (plan->removes) tr_journal(plan, "destroy", "");
}
