/*
 * Whether and when a container that has ended is started again, as Docker's restart manager decides it. The policy comes with the
 * plan; a file may have replaced it since: `update --restart` changes it, and whoever stops the container puts NEVER there before the
 * signal is sent. Who does so while nothing runs also sends SIGUSR1, so that the wait is over at once.
 */
#include "monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define PAUSE_MIN_MS 100
#define PAUSE_MAX_MS 60000
/* Who has run for so long has recovered. */
#define RECOVERED_MS 10000

static uint64_t restarts;
static int64_t pause_ms;
static struct tr_watch wake;
static bool woken;

static void due(void) { woken = true; }
static struct tr_timer pause_timer = {0, due};

static uint64_t number_in(const char **p) {
    uint64_t n = 0;
    while (**p == ' ') (*p)++;
    for (; **p >= '0' && **p <= '9'; (*p)++) n = n * 10 + (uint64_t)(**p - '0');
    return n;
}

static void read_policy(const struct tr_plan *plan, uint64_t *policy, uint64_t *max) {
    char text[48];
    const char *p = text;
    ssize_t n;
    int fd = open(plan->policy_path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    *policy = plan->care.restart_policy;
    *max = plan->care.restart_max;
    if (fd < 0) return;
    n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0) return;
    text[n] = '\0';
    *policy = number_in(&p);
    *max = number_in(&p);
}

static bool allowed(const struct tr_plan *plan, int exit_code, bool forced) {
    uint64_t policy, max;
    if (plan->policy_path == NULL) return false;
    read_policy(plan, &policy, &max);
    if (policy == TR_RESTART_NEVER) return false;
    if (forced) return true;
    if (policy == TR_RESTART_ON_FAILURE) return exit_code != 0 && (max == 0 || restarts < max);
    return policy == TR_RESTART_ALWAYS || policy == TR_RESTART_UNLESS_STOPPED;
}

bool tr_restart_wanted(const struct tr_plan *plan, int exit_code, int64_t ran_ms, bool forced) {
    if (!allowed(plan, exit_code, forced)) return false;
    restarts++;
    if (ran_ms >= RECOVERED_MS) pause_ms = 0;
    pause_ms = pause_ms == 0 ? PAUSE_MIN_MS : pause_ms * 2;
    if (pause_ms > PAUSE_MAX_MS) pause_ms = PAUSE_MAX_MS;
    return true;
}

static void on_wake(struct tr_watch *watch, uint32_t events) {
    struct signalfd_siginfo info;
    (void)events;
    while (read(tr_watch_fd(watch), &info, sizeof info) > 0) woken = true;
}

/* All signals are blocked, so one that came before is waiting. */
static void listen_for_wake(void) {
    sigset_t set;
    int fd;
    if (wake.fd != 0) return;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd >= 0 && tr_watch_open(&wake, fd, EPOLLIN, on_wake) != 0) close(fd);
}

bool tr_restart_wait(const struct tr_plan *plan, bool forced, void (*turn)(void)) {
    /* Whether it ends well or not has been decided, the number, too: only a new policy changes that. */
    uint64_t policy, max;
    listen_for_wake();
    tr_timer_add(&pause_timer);
    pause_timer.at = tr_now_fresh() + pause_ms;
    do {
        woken = false;
        while (!woken) turn();
        read_policy(plan, &policy, &max);
        if (policy == TR_RESTART_NEVER || (policy == TR_RESTART_NO && !forced)) {
            pause_timer.at = 0;
            return false;
        }
    } while (pause_timer.at != 0);
    return true;
}
