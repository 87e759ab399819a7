/* Watches and timers over one epoll instance. */
#include "monitor.h"

#include <errno.h>
#include <limits.h>
#include <sys/epoll.h>
#include <unistd.h>

#define TIMERS 12
#define BATCH 32

static int epoll_fd = -1;
static int64_t now_ms;
static struct tr_timer *timers[TIMERS];

int64_t tr_now(void) { return now_ms; }

int64_t tr_now_fresh(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return now_ms = (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int tr_loop_open(void) {
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    tr_now_fresh();
    return epoll_fd < 0 ? -errno : 0;
}

static int control(int op, struct tr_watch *watch, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = watch};
    return epoll_ctl(epoll_fd, op, tr_watch_fd(watch), &event) < 0 ? -errno : 0;
}

int tr_watch_open(struct tr_watch *watch, int fd, uint32_t events, void (*ready)(struct tr_watch *, uint32_t)) {
    int error;
    watch->fd = fd + 1;
    watch->events = events;
    watch->ready = ready;
    error = events == 0 ? 0 : control(EPOLL_CTL_ADD, watch, events);
    if (error != 0) watch->fd = 0;
    return error;
}

void tr_watch_want(struct tr_watch *watch, uint32_t events) {
    if (watch->fd == 0 || watch->events == events) return;
    control(watch->events == 0 ? EPOLL_CTL_ADD : events == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD, watch, events);
    watch->events = events;
}

void tr_watch_close(struct tr_watch *watch) {
    if (watch->fd == 0) return;
    /* Explicitly: another process may hold the same open file, and then closing alone would leave it in the set. */
    if (watch->events != 0) control(EPOLL_CTL_DEL, watch, 0);
    close(tr_watch_fd(watch));
    watch->fd = 0;
    watch->events = 0;
}

void tr_timer_add(struct tr_timer *timer) {
    for (int i = 0; i < TIMERS; i++) {
        if (timers[i] == timer) return;
        if (timers[i] != NULL) continue;
        timers[i] = timer;
        return;
    }
}

static int timeout_ms(void) {
    int64_t next = INT64_MAX;
    for (int i = 0; i < TIMERS && timers[i] != NULL; i++)
        if (timers[i]->at != 0 && timers[i]->at < next) next = timers[i]->at;
    if (next == INT64_MAX) return -1;
    next -= tr_now_fresh();
    return next < 0 ? 0 : next > INT_MAX ? INT_MAX : (int)next;
}

int tr_loop_turn(void) {
    struct epoll_event events[BATCH];
    int count = epoll_wait(epoll_fd, events, BATCH, timeout_ms());
    tr_now_fresh();
    for (int i = 0; i < count; i++) {
        struct tr_watch *watch = events[i].data.ptr;
        /* An earlier handler of this turn may have closed it. If it is in use anew, a non-blocking call in vain is all. */
        if (watch->fd != 0 && watch->events != 0) watch->ready(watch, events[i].events);
    }
    for (int i = 0; i < TIMERS && timers[i] != NULL; i++) {
        if (timers[i]->at == 0 || timers[i]->at > now_ms) continue;
        timers[i]->at = 0;
        timers[i]->fire();
    }
    return count;
}
