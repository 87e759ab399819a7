/*
 * The monitor's parts and how they hang together. One thread, one epoll loop, no heap: whatever is variable is a static table,
 * whose pages cost nothing until they are touched and are given back when nothing moves.
 *
 *     loop.c    watches and timers
 *     stdio.c   the container's output -> log.c, attach.c; its stdin
 *     json.c    text for the log
 *     attach.c  clients and their frames
 *     proxy.c   published ports, flows.c for UDP, ports.c for changes
 *     state.c   state.json and times
 *     journal.c events
 *     restart.c whether and when it is started again
 *     health.c  probes
 *     resolver.c names on the container's networks, names.c for the messages
 *     monitor.c the order of things
 */
#ifndef TR_MONITOR_H
#define TR_MONITOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "plan.h"

#define TR_PATH_MAX 4096
/* Largest piece of output that is read at once: a pipe's default capacity. */
#define TR_CHUNK 65536

/* ---- loop.c ---- */

/* A file descriptor that is looked after. Lives in its owner's struct; zeroed means unused. */
struct tr_watch {
    int fd;          /* plus one, so that zero means none: see tr_watch_fd() */
    uint32_t events; /* EPOLL*; 0: not in the epoll set at all, so that a hang-up does not spin */
    void (*ready)(struct tr_watch *watch, uint32_t events);
};

struct tr_timer {
    int64_t at; /* tr_now(); 0: off */
    void (*fire)(void);
};

int tr_loop_open(void);
/* Waits for events and due timers and handles them once; returns the number of events. */
int tr_loop_turn(void);
/* CLOCK_MONOTONIC in ms, as of the last return from waiting or the last call of tr_now_fresh(). */
int64_t tr_now(void);
int64_t tr_now_fresh(void);
/* Takes fd over and looks for events; returns 0 or -errno (the fd is then still the caller's). */
int tr_watch_open(struct tr_watch *watch, int fd, uint32_t events, void (*ready)(struct tr_watch *, uint32_t));
void tr_watch_want(struct tr_watch *watch, uint32_t events);
/* Closes the fd. Fine if there is none. */
void tr_watch_close(struct tr_watch *watch);
static inline int tr_watch_fd(const struct tr_watch *watch) { return watch->fd - 1; }
/* Timers are few and live for ever; adding one again is fine. */
void tr_timer_add(struct tr_timer *timer);

/* ---- log.c ---- */

/* Opens the plan's log for appending. Returns 0 or -errno. */
int tr_log_open(const struct tr_plan *plan);
/* Adds output of stream 0 (stdout) or 1 (stderr). Never fails: what cannot be written is dropped. */
void tr_log(int stream, const uint8_t *bytes, size_t length);
/* Writes the last line, which has no newline. */
void tr_log_end(int stream);
void tr_log_close(void);
void tr_log_idle(void);

/* ---- json.c ---- */

/* Text as the inside of a JSON string, at most 6 bytes for each; returns what is behind it. */
char *tr_put_json(char *out, const uint8_t *text, size_t length);
/*
 * The same for the text before the first newline, in one go over it. `line` becomes its length with the newline, or 0 where there is
 * none or it is too near the end: then out holds nothing of use.
 */
char *tr_put_json_line(char *out, const uint8_t *text, size_t length, size_t *line);
/* memchr() for a newline; musl's own takes twice as long. */
const uint8_t *tr_find_newline(const uint8_t *text, size_t length);

/* ---- journald.c ---- */

/* Fields as `KEY=value` lines. Returns 0 or -errno. */
int tr_journald_open(const char *path, const char *prepared);
/* Sends a line without its newline; `newline`: it had one. */
void tr_journald(int stream, const uint8_t *text, size_t length, bool newline);

/* ---- stdio.c ---- */

/* Makes the pipes and puts the child's ends into context->stdio. Returns 0 or -errno. */
int tr_stdio_open(const struct tr_plan *plan, struct tr_context *context);
/* After tr_spawn(): drops the child's ends, takes the terminal's master, begins to pump. */
int tr_stdio_start(const struct tr_plan *plan, struct tr_context *context);
/* The container is dead: no more stdin; output ends where nothing more is there. */
void tr_stdio_exited(void);
/* All output has gone to the log and to the clients. */
bool tr_stdio_drained(void);
/* The clients have taken the frame that tr_clients_send() left with them. */
void tr_stdio_resume(void);
/* Bytes for the container's stdin that fit at the moment; a client may recv() into the buffer and push what it got. */
uint8_t *tr_stdin_room(size_t *room);
void tr_stdin_push(size_t length);
void tr_stdin_end(void);
void tr_stdio_resize(uint16_t rows, uint16_t columns);
void tr_stdio_idle(void);
/* The life is over, whoever still holds the pipes: ready for tr_stdio_open() anew. */
void tr_stdio_close(struct tr_context *context);

/* ---- attach.c ---- */

/* Client 0 is who launched us (fd; -1: nobody). path NULL: no attach socket. Returns 0 or -errno. */
int tr_clients_open(int launcher, const char *path, bool stdin_once);
/* Tells the launcher that the container runs, and lets others attach. */
void tr_clients_started(pid_t pid, uint64_t start_time);
void tr_clients_failed(const struct tr_failure *failure);
/* Sends a frame, header included, to all who want output (or to all). The bytes must stay until tr_clients_idle(). */
void tr_clients_send(const uint8_t *frame, size_t length, bool to_all);
/*
 * Says that nothing more will come; false when all have hung up, too. Their last words have to be read until then: a client
 * whose write fails may throw away what it has not read yet, such as the exit.
 */
bool tr_clients_hang_up(void);
struct tr_state;
/* Tells everybody how it has ended. */
void tr_clients_exited(const struct tr_state *state);
/* All who are there have heard of the end of this life and leave; who comes now waits for the next one. */
void tr_clients_part(void);
/* Lets those go who have not taken the frame under way. */
void tr_clients_drop_slow(void);
/* The process that launched us still listens. */
bool tr_launcher_listens(void);
/* No frame is under way. */
bool tr_clients_flushed(void);
/* stdin takes bytes again, or not now. */
void tr_clients_stdin(bool flowing);
void tr_frame_header(uint8_t *out, uint8_t type, size_t payload);
/* The low `bytes` bytes of n, the highest first; returns what is behind them. */
uint8_t *tr_put_big(uint8_t *out, uint64_t n, int bytes);

/* ---- proxy.c ---- */

/* From now on connections are accepted (tr_listen() in plan.h only reserves the port). */
void tr_proxy_start(void);
/* Between two lives: the ports stay ours, what is or becomes connected is reset. */
void tr_proxy_pause(void);
void tr_proxy_idle(void);

/* ---- state.c ---- */

struct tr_state {
    pid_t pid, monitor_pid;
    uint64_t start_time, monitor_start_time;
    struct timespec started, finished;
    bool exited, oom_killed;
    int exit_code, signal;
    uint64_t restarts;         /* how often it was started again */
    bool restarting;           /* it has ended and will be started again */
    struct tr_failure failure; /* of the last attempt at that; error 0: none */
};

/* Replaces state.json (StateRecord in launch.ts). Returns 0 or -errno. */
int tr_state_write(const char *path, const struct tr_state *state);
/* Replaces a small file, whole or not at all. Returns 0 or -errno. */
int tr_replace_file(const char *path, const char *text, size_t size);
/* Field 22 of /proc/<pid>/stat; 0 where the process is gone. */
uint64_t tr_start_time(pid_t pid);
/* The number after `oom_kill ` in a cgroup's memory.events or memory.oom_control; 0 where there is none. */
uint64_t tr_oom_kills(const char *path);
/* RFC 3339 in UTC with nanoseconds, trailing zeros cut as Go does; at most 30 characters. */
size_t tr_rfc3339(char *out, const struct timespec *time);
/* Digits of n without terminator; returns their number, at most 20. */
size_t tr_decimal(char *out, uint64_t n);
/* Copies text without its terminator; returns what is behind it. */
char *tr_put_text(char *out, const char *text);
/* Text and a decimal number. */
char *tr_put_number(char *out, const char *key, uint64_t n);

/* ---- journal.c ---- */

/* Adds an event of this container to the journal. `attributes` is more JSON for the actor's, such as `,"exitCode":"0"`. */
void tr_journal(const struct tr_plan *plan, const char *action, const char *attributes);
/* Docker's events of an end, with its attributes. */
void tr_journal_end(const struct tr_plan *plan, const struct tr_state *state);

/* ---- restart.c ---- */

/* Whether a container that has ended is to be started again; `forced`: whatever its policy says, unless the user has stopped it. */
bool tr_restart_wanted(const struct tr_plan *plan, int exit_code, int64_t ran_ms, bool forced);
/* Waits for as long as Docker does. False where it is to stay as it is, after all. */
bool tr_restart_wait(const struct tr_plan *plan, bool forced, void (*turn)(void));

/* ---- health.c ---- */

/* The container runs: probes from now on, if the plan has any. */
void tr_health_begin(const struct tr_plan *plan, pid_t pid, void (*unhealthy)(void));
/* It has ended. */
void tr_health_end(void);

/* ---- ports.c ---- */

/* Makes the published ports those of the file; line: the one that could not be had. Returns 0 or -errno, and then nothing is changed. */
int tr_ports_change(const char *path, uint32_t *line);

/* ---- resolver.c ---- */

/* The container runs: answers for names from now on, if the child has made the socket for it. */
void tr_resolver_begin(const struct tr_plan *plan, struct tr_context *context);
/* It has ended. */
void tr_resolver_end(void);

/* ---- reaper.c ---- */

/* pid 1 of a container with --init: follows `child`; never returns. */
_Noreturn void tr_reaper(pid_t child);

#endif
