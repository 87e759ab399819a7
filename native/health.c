/*
 * Health checks: a process in the container every so often, by a list of the plan that was compiled with the others. Its exit code says
 * whether the container is well. What came of it is in health.json, in the shape that `inspect` shows: the file is what `ps` reads.
 * The rules are Docker's (daemon/health.go): https://docs.docker.com/reference/dockerfile/#healthcheck
 */
#include "monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* Docker keeps so many results, and so much of what each has said. */
#define RESULTS 5
#define OUTPUT_MAX 4096
/* What is left in the pipe of a probe that has ended. */
#define ROUNDS 16
#define TEXT_MAX (RESULTS * (OUTPUT_MAX * 6 + 160) + 128)

enum status { STARTING, HEALTHY, UNHEALTHY };

struct result {
    struct timespec start, end;
    int exit_code;
    uint32_t length;
    uint8_t output[OUTPUT_MAX];
};

static const char *const status_names[] = {"starting", "healthy", "unhealthy"};

static struct {
    const struct tr_plan *plan;
    struct tr_plan probe; /* the plan, with the probe as its child */
    struct tr_context context;
    void (*unhealthy)(void);
    enum status status;
    uint64_t streak;
    int64_t began;
    unsigned count; /* of results */
    bool timed_out;
} health;

/* The youngest is the last. Their pages cost nothing before there are results. */
static struct result results[RESULTS] __attribute__((aligned(4096)));
static char text[TEXT_MAX] __attribute__((aligned(4096)));
static struct tr_watch death, output;
static bool running;

static void fire(void);
static struct tr_timer timer = {0, fire};

static struct result *current(void) { return &results[health.count - 1]; }

/* ---- health.json ---- */

static void write_results(void) {
    char *p = tr_put_text(text, "{\"status\":\"");
    p = tr_put_text(p, status_names[health.status]);
    p = tr_put_number(p, "\",\"failingStreak\":", health.streak);
    p = tr_put_text(p, ",\"log\":[");
    for (unsigned i = 0; i < health.count; i++) {
        const struct result *r = &results[i];
        p = tr_put_text(p, i == 0 ? "{\"start\":\"" : ",{\"start\":\"");
        p += tr_rfc3339(p, &r->start);
        p = tr_put_text(p, "\",\"end\":\"");
        p += tr_rfc3339(p, &r->end);
        p = r->exit_code < 0 ? tr_put_text(p, "\",\"exitCode\":-1")
                             : tr_put_number(p, "\",\"exitCode\":", (uint64_t)r->exit_code);
        p = tr_put_json(tr_put_text(p, ",\"output\":\""), r->output, r->length);
        p = tr_put_text(p, "\"}");
    }
    p = tr_put_text(p, "]}\n");
    tr_replace_file(health.plan->health_path, text, (size_t)(p - text));
    madvise(text, sizeof text, MADV_DONTNEED);
}

/* ---- what follows from a result ---- */

static int64_t next_interval(void) {
    const struct tr_care *care = &health.plan->care;
    bool early = health.status == STARTING && tr_now() - health.began < (int64_t)care->health_start_period;
    return (int64_t)(early ? care->health_start_interval : care->health_interval);
}

static void judge(bool well) {
    const struct tr_care *care = &health.plan->care;
    enum status before = health.status;
    if (well) {
        health.streak = 0;
        health.status = HEALTHY;
    } else if (before != STARTING || tr_now() - health.began >= (int64_t)care->health_start_period) {
        health.streak++;
        if (health.streak >= care->health_retries) health.status = UNHEALTHY;
    }
    write_results();
    timer.at = tr_now_fresh() + next_interval();
    if (health.status == before) return;
    tr_journal(health.plan, health.status == HEALTHY ? "health_status: healthy" : "health_status: unhealthy", "");
    if (health.status == UNHEALTHY) health.unhealthy();
}

static void say(const char *words) {
    struct result *r = current();
    size_t length = strlen(words);
    if (length > OUTPUT_MAX - r->length) length = OUTPUT_MAX - r->length;
    memcpy(r->output + r->length, words, length);
    r->length += (uint32_t)length;
}

/* ---- a probe ---- */

/* What is beyond the limit is read, too: a probe that talks must not hang. */
static void on_output(struct tr_watch *watch, uint32_t events) {
    struct result *r = current();
    uint8_t spill[512];
    (void)events;
    for (int round = 0; round < ROUNDS; round++) {
        size_t room = OUTPUT_MAX - r->length;
        ssize_t n = room > 0 ? read(tr_watch_fd(watch), r->output + r->length, room)
                             : read(tr_watch_fd(watch), spill, sizeof spill);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN) return;
        if (n <= 0) {
            tr_watch_close(watch);
            return;
        }
        if (room > 0) r->length += (uint32_t)n;
    }
}

static void finish(int exit_code) {
    struct result *r = current();
    running = false;
    if (output.fd != 0) on_output(&output, 0);
    tr_watch_close(&output);
    tr_watch_close(&death);
    clock_gettime(CLOCK_REALTIME, &r->end);
    r->exit_code = exit_code;
    judge(exit_code == 0);
}

static void on_death(struct tr_watch *watch, uint32_t events) {
    siginfo_t info = {0};
    (void)watch;
    (void)events;
    if (waitid(P_PID, (id_t)health.context.child, &info, WEXITED) < 0) return;
    if (health.timed_out) finish(-1);
    else finish(info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status);
}

/* The probe has a session of its own: with its group goes what it has started. */
static void kill_probe(void) {
    kill(-health.context.child, SIGKILL);
    kill(health.context.child, SIGKILL);
}

/* A new process in a frozen cgroup would stand still, and we with it. */
static bool paused(void) {
    char state = '0';
    int fd = health.plan->freezer_path == NULL ? -1 : open(health.plan->freezer_path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    if (read(fd, &state, 1) != 1) state = '0';
    close(fd);
    return state == '1' || state == 'F';
}

static void cannot_run(const struct tr_failure *failure) {
    const struct tr_ops *child = &health.probe.phase[TR_CHILD];
    bool executing = failure->phase == TR_CHILD && failure->op_index >= 0 && (size_t)failure->op_index < child->count &&
                     child->ops[failure->op_index].code == TR_OP_exec;
    char words[64], *p = tr_put_number(words, "cannot run the health check: errno ", (uint64_t)failure->error);
    *p = '\0';
    say(words);
    tr_watch_close(&output);
    finish(!executing ? -1 : failure->error == ENOENT ? 127 : 126);
}

static void probe(void) {
    struct tr_failure failure = {TR_MONITOR, -1, 0};
    int ends[2];
    if (health.count == RESULTS) memmove(results, results + 1, (RESULTS - 1) * sizeof *results);
    else health.count++;
    memset(current(), 0, offsetof(struct result, output));
    clock_gettime(CLOCK_REALTIME, &current()->start);
    health.timed_out = false;
    running = true;
    if (pipe2(ends, O_CLOEXEC) < 0) {
        failure.error = errno;
        cannot_run(&failure);
        return;
    }
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    if (tr_watch_open(&output, ends[0], EPOLLIN, on_output) != 0) close(ends[0]);
    health.context.stdio[1] = health.context.stdio[2] = ends[1];
    int error = tr_spawn(&health.probe, &health.context, &failure);
    close(ends[1]);
    if (error == 0 && tr_watch_open(&death, health.context.pidfd, EPOLLIN, on_death) != 0) {
        kill_probe();
        waitpid(health.context.child, NULL, 0);
        failure.error = EMFILE;
        error = -1;
    }
    if (error != 0) cannot_run(&failure);
    else timer.at = tr_now_fresh() + (int64_t)health.plan->care.health_timeout;
}

/* The next probe is due, or the one that runs has had its time. */
static void fire(void) {
    if (!running) {
        if (paused()) timer.at = tr_now() + next_interval();
        else probe();
        return;
    }
    const uint64_t ms = health.plan->care.health_timeout;
    char words[72], *p = tr_put_number(words, "Health check exceeded timeout (", ms % 1000 == 0 ? ms / 1000 : ms);
    tr_put_text(p, ms % 1000 == 0 ? "s)" : "ms)")[0] = '\0';
    say(words);
    health.timed_out = true;
    kill_probe();
}

/* ---- life ---- */

/* The directory holds the process for good, whatever its number means later. */
static int open_process(pid_t pid) {
    char path[40] = "/proc/";
    path[6 + tr_decimal(path + 6, (uint64_t)pid)] = '\0';
    return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

void tr_health_begin(const struct tr_plan *plan, pid_t pid, void (*unhealthy)(void)) {
    if (plan->care.health_interval == 0 || plan->health_path == NULL) return;
    health.plan = plan;
    health.unhealthy = unhealthy;
    health.status = STARTING;
    health.streak = 0;
    health.count = 0;
    health.probe = *plan;
    health.probe.namespaces = 0;
    health.probe.phase[TR_CHILD] = plan->phase[TR_PROBE];
    health.probe.phase[TR_CONNECT].count = 0;
    health.context = (struct tr_context)TR_CONTEXT_INIT;
    health.context.plan = &health.probe;
    health.context.target = open_process(pid);
    if (health.context.target < 0) return;
    tr_timer_add(&timer);
    health.began = tr_now_fresh();
    write_results();
    timer.at = health.began + next_interval();
}

void tr_health_end(void) {
    if (health.plan == NULL) return;
    timer.at = 0;
    if (running) {
        running = false;
        kill_probe();
        waitpid(health.context.child, NULL, 0);
        tr_watch_close(&output);
        tr_watch_close(&death);
    }
    close(health.context.target);
    health.plan = NULL;
}
