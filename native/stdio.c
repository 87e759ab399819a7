/*
 * The container's standard streams: its output goes into the log and to the clients, what clients send goes to its stdin.
 *
 * One buffer holds the one piece of output that is under way, preceded by its frame header. As long as a client has not taken all
 * of it, nothing more is read: a slow reader slows the container down (as with Docker) and costs no memory.
 */
#include "monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "frames.h"

#define TTY_RETRY_MS 100
/* Once a container fills its pipe: fewer changes between it and us. Not before, as the kernel's table costs memory, too. */
#define BUSY_PIPE (256 * 1024)
/* Pieces taken from one stream before the others have their turn. */
#define ROUNDS 4

static struct {
    uint8_t header[TR_FRAME_HEADER];
    uint8_t bytes[TR_CHUNK];
} output __attribute__((aligned(4096)));
static uint8_t input[TR_CHUNK] __attribute__((aligned(4096)));

static struct tr_watch outputs[2]; /* stdout, stderr; a terminal's master is the first */
static struct tr_watch sink;       /* the container's stdin; for a terminal a duplicate of the master */
static size_t input_at, input_end;
static bool input_ending; /* close the sink once the input is through */
static bool tty, exited, paused;
static bool busy[2]; /* the pipe has been enlarged */

static void on_output(struct tr_watch *watch, uint32_t events);
static void on_sink(struct tr_watch *watch, uint32_t events);

static void tty_retry(void);
static struct tr_timer tty_timer = {0, tty_retry};

/* One pipe: the child's end is blocking as programs expect, ours is not. Each end has flags of its own. */
static int make_pipe(int *ours, int *theirs, bool we_read) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) return -errno;
    *ours = we_read ? ends[0] : ends[1];
    *theirs = we_read ? ends[1] : ends[0];
    return fcntl(*ours, F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
}

int tr_stdio_open(const struct tr_plan *plan, struct tr_context *context) {
    tty = plan->tty;
    if (tty) return 0;
    for (int i = 0; i < 3; i++) {
        int ours = -1, error;
        struct tr_watch *watch = i == 0 ? &sink : &outputs[i - 1];
        if (i == 0 && !plan->open_stdin) continue;
        error = make_pipe(&ours, &context->stdio[i], i > 0);
        /* Not looked at before tr_stdio_start(). */
        if (error == 0) error = tr_watch_open(watch, ours, 0, i == 0 ? on_sink : on_output);
        if (error != 0) return error;
    }
    return 0;
}

int tr_stdio_start(const struct tr_plan *plan, struct tr_context *context) {
    int error, other;
    for (int i = 0; i < 3; i++) {
        if (context->stdio[i] >= 0) close(context->stdio[i]);
        context->stdio[i] = -1;
    }
    if (tty) {
        if (context->console_master < 0) return -ENOTTY;
        if (fcntl(context->console_master, F_SETFL, O_NONBLOCK) < 0) return -errno;
        /* Two fds of one open file, since each is looked at for its own events. */
        if (plan->open_stdin) {
            other = fcntl(context->console_master, F_DUPFD_CLOEXEC, 0);
            if (other < 0) return -errno;
            error = tr_watch_open(&sink, other, 0, on_sink);
            if (error != 0) return error;
        }
        error = tr_watch_open(&outputs[0], context->console_master, 0, on_output);
        if (error != 0) return error;
        tr_timer_add(&tty_timer);
    }
    tr_watch_want(&outputs[0], EPOLLIN);
    tr_watch_want(&outputs[1], EPOLLIN);
    return 0;
}

/* ---- output ---- */

static void end_output(struct tr_watch *watch) {
    tr_log_end((int)(watch - outputs));
    tr_watch_close(watch);
}

/* A master reads EIO while nobody has the terminal open, which need not be for ever: /dev/console is still there. */
static void tty_hung_up(void) {
    if (exited) {
        end_output(&outputs[0]);
        return;
    }
    tr_watch_want(&outputs[0], 0);
    tty_timer.at = tr_now() + TTY_RETRY_MS;
}

static void tty_retry(void) {
    if (!paused) tr_watch_want(&outputs[0], EPOLLIN);
}

/* The buffer is full: what is there belongs to the log and, as one frame, to the clients. */
static void pass_on(int stream, size_t length) {
    tr_log(stream, output.bytes, length);
    tr_frame_header(output.header, stream == 0 ? TR_FRAME_STDOUT : TR_FRAME_STDERR, length);
    tr_clients_send(output.header, TR_FRAME_HEADER + length, false);
    if (tr_clients_flushed()) return;
    paused = true;
    for (int i = 0; i < 2; i++) tr_watch_want(&outputs[i], 0);
}

/* Takes one piece; false where nothing more is to be had for now. */
static bool take_output(struct tr_watch *watch) {
    int stream = (int)(watch - outputs);
    ssize_t n = read(tr_watch_fd(watch), output.bytes, sizeof output.bytes);
    if (n < 0 && errno == EINTR) return true;
    if (n < 0 && errno == EAGAIN) {
        /* Whoever still holds the other end of a dead container's pipe (it shares a pid namespace) is none of ours. */
        if (exited) end_output(watch);
        return false;
    }
    if (n < 0 && errno == EIO && tty) {
        tty_hung_up();
        return false;
    }
    if (n <= 0) {
        end_output(watch);
        return false;
    }
    if (n == TR_CHUNK && !busy[stream]) {
        busy[stream] = true;
        fcntl(tr_watch_fd(watch), F_SETPIPE_SZ, BUSY_PIPE);
    }
    pass_on(stream, (size_t)n);
    /* Less than there was room for: the pipe is empty, or a terminal's, whose reads are short. */
    return n == TR_CHUNK;
}

static void on_output(struct tr_watch *watch, uint32_t events) {
    (void)events;
    /* It may have been paused by the other stream, in this very turn of the loop. */
    for (int round = 0; round < ROUNDS && !paused && watch->fd != 0; round++)
        if (!take_output(watch)) break;
}

void tr_stdio_resume(void) {
    if (!paused) return;
    paused = false;
    for (int i = 0; i < 2; i++) tr_watch_want(&outputs[i], EPOLLIN);
}

void tr_stdio_exited(void) {
    exited = true;
    tty_timer.at = 0;
    tr_watch_close(&sink);
    input_at = input_end = 0;
    if (!paused) tr_watch_want(&outputs[0], EPOLLIN);
    tr_clients_stdin(true);
}

bool tr_stdio_drained(void) {
    if (paused) return false;
    /* An open pipe with nothing in it gives no event, so ask. */
    for (int i = 0; i < 2; i++) on_output(&outputs[i], 0);
    return outputs[0].fd == 0 && outputs[1].fd == 0 && !paused;
}

/* As before tr_stdio_open(): for another life, or where there was none. */
void tr_stdio_close(struct tr_context *context) {
    for (int i = 0; i < 3; i++) {
        if (context->stdio[i] >= 0) close(context->stdio[i]);
        context->stdio[i] = -1;
    }
    for (int i = 0; i < 2; i++) {
        if (outputs[i].fd != 0) end_output(&outputs[i]);
        busy[i] = false;
    }
    tr_watch_close(&sink);
    input_at = input_end = 0;
    input_ending = exited = paused = false;
    tty_timer.at = 0;
}

/* ---- input ---- */

uint8_t *tr_stdin_room(size_t *room) {
    *room = input_end == 0 ? sizeof input : 0;
    return input;
}

/* Writes what it can; clients are not read from while something is left, so their own sockets hold the rest. */
static void drain_input(void) {
    while (input_at < input_end && sink.fd != 0) {
        ssize_t n = write(tr_watch_fd(&sink), input + input_at, input_end - input_at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN) {
            tr_watch_want(&sink, EPOLLOUT);
            tr_clients_stdin(false);
            return;
        }
        if (n < 0) {
            /* The container has closed its stdin: the rest is for nobody, as with a shell's pipe. */
            if (!tty) tr_watch_close(&sink);
            break;
        }
        input_at += (size_t)n;
    }
    input_at = input_end = 0;
    tr_watch_want(&sink, 0);
    if (input_ending) tr_watch_close(&sink);
    tr_clients_stdin(true);
}

static void on_sink(struct tr_watch *watch, uint32_t events) {
    (void)watch;
    (void)events;
    drain_input();
}

void tr_stdin_push(size_t length) {
    input_end = length;
    drain_input();
}

void tr_stdin_end(void) {
    /* A terminal has no end of its own to close; a program there sees the end as the character that the user types. */
    if (tty) return;
    input_ending = true;
    if (input_end == 0) tr_watch_close(&sink);
}

void tr_stdio_resize(uint16_t rows, uint16_t columns) {
    struct winsize size = {.ws_row = rows, .ws_col = columns};
    if (tty && outputs[0].fd != 0) ioctl(tr_watch_fd(&outputs[0]), TIOCSWINSZ, &size);
}

void tr_stdio_idle(void) {
    if (!paused) madvise(&output, sizeof output, MADV_DONTNEED);
    if (input_end == 0) madvise(input, sizeof input, MADV_DONTNEED);
}
