/*
 * Who listens to the container: the process that launched it (client 0, on a socketpair) and whoever connects to
 * attach.sock. All speak the frames of frames.h.
 *
 * A frame to the clients is sent from where it lies; each client only has a position in it. The launcher is waited for as
 * long as it takes, as Docker does for an attached client. A later client that takes nothing for STALL_MS is dropped.
 */
#include "monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "frames.h"

#define CLIENTS 16
#define STALL_MS 2000
/* For a client that had to be waited for: fewer changes between it and us. The kernel doubles it for its own needs. */
#define BUSY_SOCKET (256 * 1024)

struct client {
    struct tr_watch watch; /* first: a watch is its client */
    uint8_t header[TR_FRAME_HEADER];
    uint8_t have;      /* bytes of the header that are there */
    uint8_t small[4];  /* payload of a RESIZE */
    uint32_t left;     /* payload still to come */
    bool output;       /* has asked for the output */
    bool parted;       /* its life is over: it is told nothing more */
    bool roomy;        /* its socket has been enlarged */
    int64_t moved_at;  /* when it last took something of the frame under way */
    size_t sent;       /* of the frame under way */
};

static struct client clients[CLIENTS];
static struct tr_watch listener;
static const uint8_t *frame;
static size_t frame_length; /* 0: none under way */
static bool stdin_flowing = true, stdin_once;
static struct client *stdin_owner; /* with stdin_once: the first who attached */
static bool stdin_owned;
static uint8_t ended[TR_FRAME_HEADER + TR_FRAME_EXITED_SIZE];
static char ports_path[TR_PATH_MAX];
static uint8_t started[TR_FRAME_HEADER + TR_FRAME_STARTED_SIZE];

static void on_client(struct tr_watch *watch, uint32_t events);
static void on_connect(struct tr_watch *watch, uint32_t events);
static void check_stalled(void);
static struct tr_timer stall_timer = {0, check_stalled};

void tr_frame_header(uint8_t *out, uint8_t type, size_t payload) {
    out[0] = type;
    out[1] = out[2] = out[3] = 0;
    for (int i = 0; i < 4; i++) out[4 + i] = (uint8_t)(payload >> (24 - 8 * i));
}

uint8_t *tr_put_big(uint8_t *out, uint64_t n, int bytes) {
    for (int i = 0; i < bytes; i++) out[i] = (uint8_t)(n >> (8 * (bytes - 1 - i)));
    return out + bytes;
}

/* ---- coming and going ---- */

/* A path beyond the 107 bytes of sun_path is reached through its directory. */
static int bind_socket(int fd, const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char directory[TR_PATH_MAX];
    const char *name = strrchr(path, '/');
    int dir = -1, error;
    size_t length = strlen(path), at;
    if (length < sizeof address.sun_path) {
        memcpy(address.sun_path, path, length);
    } else {
        if (name == NULL || length >= sizeof directory || strlen(++name) > 60) return -ENAMETOOLONG;
        memcpy(directory, path, (size_t)(name - path));
        directory[name - path] = '\0';
        dir = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (dir < 0) return -errno;
        memcpy(address.sun_path, "/proc/self/fd/", 14);
        at = 14 + tr_decimal(address.sun_path + 14, (uint64_t)dir);
        address.sun_path[at++] = '/';
        memcpy(address.sun_path + at, name, strlen(name));
    }
    unlink(address.sun_path); /* of a predecessor that was killed: we hold the lock, so it is nobody's */
    error = bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ? -errno : 0;
    if (dir >= 0) close(dir);
    return error;
}

static int open_listener(const char *path) {
    int error, fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t mask;
    if (fd < 0) return -errno;
    mask = umask(0177); /* 0600 from its first moment */
    error = bind_socket(fd, path);
    umask(mask);
    if (error == 0 && listen(fd, SOMAXCONN) < 0) error = -errno;
    if (error == 0) error = tr_watch_open(&listener, fd, 0, on_connect);
    if (error != 0) close(fd);
    return error;
}

/* The file of a changed list of ports lies beside the socket. */
static void place_ports(const char *socket_path) {
    static const char name[] = "ports";
    const char *slash = socket_path == NULL ? NULL : strrchr(socket_path, '/');
    size_t length = slash == NULL ? 0 : (size_t)(slash - socket_path) + 1;
    if (length == 0 || length + sizeof name > sizeof ports_path) return;
    memcpy(ports_path, socket_path, length);
    memcpy(ports_path + length, name, sizeof name);
}

int tr_clients_open(int launcher, const char *path, bool once) {
    int error = 0;
    place_ports(path);
    stdin_once = once;
    tr_timer_add(&stall_timer);
    if (launcher >= 0) {
        fcntl(launcher, F_SETFL, O_NONBLOCK);
        fcntl(launcher, F_SETFD, FD_CLOEXEC);
        error = tr_watch_open(&clients[0].watch, launcher, 0, on_client);
    }
    if (error == 0 && path != NULL) error = open_listener(path);
    return error;
}

/* Also where a frame waited for this client only. */
static void check_flushed(void) {
    if (frame_length == 0) return;
    for (int i = 0; i < CLIENTS; i++)
        if (clients[i].watch.fd != 0 && clients[i].sent < frame_length) return;
    frame_length = 0;
    frame = NULL;
    tr_stdio_resume();
}

static void leave(struct client *client) {
    bool ends_stdin = client == stdin_owner;
    tr_watch_close(&client->watch);
    memset(client, 0, sizeof *client);
    if (ends_stdin) {
        stdin_owner = NULL;
        tr_stdin_end();
    }
    check_flushed();
    tr_watch_want(&listener, EPOLLIN); /* there is room again */
}

/* Its next bytes are for a stdin that takes none. Only that client is not read from: others may attach or resize. */
static bool waits_for_stdin(const struct client *client) {
    return !stdin_flowing && client->have == TR_FRAME_HEADER && client->header[0] == TR_FRAME_STDIN;
}

/* What the client is looked at for: its frames, its leaving, room for ours. */
static void set_wishes(struct client *client) {
    uint32_t wishes = waits_for_stdin(client) ? EPOLLRDHUP : EPOLLIN;
    if (frame_length > 0 && client->sent < frame_length) wishes |= EPOLLOUT;
    if (client->watch.fd != 0) tr_watch_want(&client->watch, wishes);
}

static void on_connect(struct tr_watch *watch, uint32_t events) {
    struct client *client = NULL;
    int fd;
    (void)events;
    for (int i = 1; i < CLIENTS && client == NULL; i++)
        if (clients[i].watch.fd == 0) client = &clients[i];
    if (client == NULL) {
        tr_watch_want(watch, 0);
        return;
    }
    fd = accept4(tr_watch_fd(watch), NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        /* Out of fds or memory: the waiting connection must not become a busy loop. */
        if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) tr_watch_want(watch, 0);
        if (watch->events == 0 && stall_timer.at == 0) stall_timer.at = tr_now() + STALL_MS;
        return;
    }
    memset(client, 0, sizeof *client);
    client->sent = frame_length; /* it joins with the next frame */
    if (tr_watch_open(&client->watch, fd, EPOLLIN, on_client) != 0) {
        close(fd);
        return;
    }
    if (send(fd, started, sizeof started, MSG_NOSIGNAL) != (ssize_t)sizeof started) leave(client);
    else set_wishes(client);
}

/* ---- to the clients ---- */

static void push(struct client *client) {
    while (client->sent < frame_length) {
        ssize_t n = send(tr_watch_fd(&client->watch), frame + client->sent, frame_length - client->sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN && !client->roomy) {
            int size = BUSY_SOCKET;
            client->roomy = true;
            if (setsockopt(tr_watch_fd(&client->watch), SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) == 0) continue;
        }
        if (n < 0 && errno == EAGAIN) {
            if (stall_timer.at == 0) stall_timer.at = tr_now() + STALL_MS;
            break;
        }
        if (n < 0) {
            leave(client);
            return;
        }
        client->sent += (size_t)n;
        client->moved_at = tr_now();
    }
    set_wishes(client);
}

void tr_clients_send(const uint8_t *bytes, size_t length, bool to_all) {
    frame = bytes;
    frame_length = length;
    for (int i = 0; i < CLIENTS; i++) {
        struct client *client = &clients[i];
        client->sent = client->watch.fd != 0 && !client->parted && (to_all || client->output) ? 0 : length;
        client->moved_at = tr_now();
    }
    for (int i = 0; i < CLIENTS; i++)
        if (clients[i].watch.fd != 0 && clients[i].sent < frame_length) push(&clients[i]);
    check_flushed();
}

void tr_clients_exited(const struct tr_state *state) {
    uint8_t *p = ended + TR_FRAME_HEADER;
    tr_frame_header(ended, TR_FRAME_EXITED, TR_FRAME_EXITED_SIZE);
    p = tr_put_big(p, (uint64_t)state->exit_code, 4);
    p = tr_put_big(p, (uint64_t)state->signal, 4);
    *p++ = state->oom_killed;
    p = tr_put_big(p, (uint64_t)state->finished.tv_sec, 8);
    tr_put_big(p, (uint64_t)state->finished.tv_nsec, 4);
    tr_clients_send(ended, sizeof ended, true);
}

bool tr_clients_hang_up(void) {
    bool any = false;
    tr_watch_close(&listener);
    for (int i = 0; i < CLIENTS; i++) {
        if (clients[i].watch.fd == 0) continue;
        shutdown(tr_watch_fd(&clients[i].watch), SHUT_WR);
        any = true;
    }
    return any;
}

void tr_clients_part(void) {
    stdin_owner = NULL;
    stdin_owned = false;
    for (int i = 0; i < CLIENTS; i++) {
        struct client *client = &clients[i];
        if (client->watch.fd == 0) continue;
        if (client->parted) {
            leave(client);
            continue;
        }
        client->parted = true;
        client->output = false;
        shutdown(tr_watch_fd(&client->watch), SHUT_WR);
    }
}

void tr_clients_drop_slow(void) {
    for (int i = 0; i < CLIENTS && frame_length > 0; i++)
        if (clients[i].watch.fd != 0 && clients[i].sent < frame_length) leave(&clients[i]);
}

bool tr_launcher_listens(void) { return clients[0].watch.fd != 0; }

bool tr_clients_flushed(void) { return frame_length == 0; }

static void check_stalled(void) {
    for (int i = 1; i < CLIENTS && frame_length > 0; i++) {
        struct client *client = &clients[i];
        if (client->watch.fd == 0 || client->sent >= frame_length) continue;
        if (tr_now() - client->moved_at >= STALL_MS) leave(client);
    }
    if (frame_length > 0) stall_timer.at = tr_now() + STALL_MS / 4;
    tr_watch_want(&listener, EPOLLIN);
}

void tr_clients_started(pid_t pid, uint64_t start_time) {
    uint8_t *p = started + TR_FRAME_HEADER;
    tr_frame_header(started, TR_FRAME_STARTED, TR_FRAME_STARTED_SIZE);
    tr_put_big(tr_put_big(p, (uint64_t)pid, 4), start_time, 8);
    if (clients[0].watch.fd != 0 && !clients[0].parted) {
        tr_watch_want(&clients[0].watch, EPOLLIN);
        if (send(tr_watch_fd(&clients[0].watch), started, sizeof started, MSG_NOSIGNAL) < 0) leave(&clients[0]);
    }
    /* What it sent ahead of the start (ATTACH, its window's size) counts from the first byte of output. */
    for (int i = 0; i < 8 && clients[0].watch.fd != 0; i++) on_client(&clients[0].watch, EPOLLIN);
    tr_watch_want(&listener, EPOLLIN);
}

void tr_clients_failed(const struct tr_failure *failure) {
    uint8_t bytes[TR_FRAME_HEADER + TR_FRAME_FAILED_SIZE], *p = bytes + TR_FRAME_HEADER;
    if (clients[0].watch.fd == 0) return;
    tr_frame_header(bytes, TR_FRAME_FAILED, TR_FRAME_FAILED_SIZE);
    *p++ = (uint8_t)failure->phase;
    tr_put_big(tr_put_big(p, (uint32_t)failure->op_index, 4), (uint32_t)failure->error, 4);
    send(tr_watch_fd(&clients[0].watch), bytes, sizeof bytes, MSG_NOSIGNAL);
}

/* ---- from the clients ---- */

void tr_clients_stdin(bool flowing) {
    if (stdin_flowing == flowing) return;
    stdin_flowing = flowing;
    for (int i = 0; i < CLIENTS; i++) set_wishes(&clients[i]);
}

/* A client that asks for a change does nothing else: a frame of this size always has room in its socket. */
static void change_ports(struct client *client) {
    uint8_t answer[TR_FRAME_HEADER + TR_FRAME_ANSWERED_SIZE];
    uint32_t line = 0;
    int error = ports_path[0] == '\0' ? -ENOTSUP : tr_ports_change(ports_path, &line);
    tr_frame_header(answer, TR_FRAME_ANSWERED, TR_FRAME_ANSWERED_SIZE);
    tr_put_big(tr_put_big(answer + TR_FRAME_HEADER, (uint64_t)-error, 4), line, 4);
    if (send(tr_watch_fd(&client->watch), answer, sizeof answer, MSG_NOSIGNAL) < 0) errno = 0;
}

/* The frame whose payload has no special meaning is over, or one without payload has come. */
static void act(struct client *client) {
    switch (client->header[0]) {
    case TR_FRAME_STDIN_END:
        /* Without stdinOnce a client's end is not the container's: others may attach. */
        if (client == stdin_owner) {
            stdin_owner = NULL;
            tr_stdin_end();
        }
        break;
    case TR_FRAME_RESIZE:
        tr_stdio_resize((uint16_t)(client->small[0] << 8 | client->small[1]),
                        (uint16_t)(client->small[2] << 8 | client->small[3]));
        break;
    case TR_FRAME_PORTS: change_ports(client); break;
    case TR_FRAME_ATTACH:
        client->output = true;
        if (stdin_once && !stdin_owned) {
            stdin_owned = true;
            stdin_owner = client;
        }
        break;
    default: break;
    }
    client->have = 0;
}

/* The header is complete; false: the client is out of step and is let go. */
static bool begin_frame(struct client *client) {
    const uint8_t *h = client->header;
    client->left = (uint32_t)h[4] << 24 | (uint32_t)h[5] << 16 | (uint32_t)h[6] << 8 | h[7];
    if (h[1] != 0 || h[2] != 0 || h[3] != 0) return false;
    if (h[0] == TR_FRAME_RESIZE ? client->left != 4 : h[0] != TR_FRAME_STDIN && client->left != 0) return false;
    if (client->left == 0) act(client);
    return true;
}

/* One recv(): of a header, of a small payload, or of stdin straight into the buffer it is written from. */
static ssize_t receive(struct client *client, int fd) {
    uint8_t *into = client->header + client->have;
    size_t size = TR_FRAME_HEADER - client->have;
    bool payload = client->have == TR_FRAME_HEADER, is_stdin = payload && client->header[0] == TR_FRAME_STDIN;
    ssize_t n;
    if (is_stdin) into = tr_stdin_room(&size);
    else if (payload) into = client->small + (4 - client->left), size = client->left;
    if (payload && size > client->left) size = client->left;
    n = recv(fd, into, size, 0);
    if (n <= 0) return n;
    if (!payload) {
        client->have = (uint8_t)(client->have + n);
        if (client->have == TR_FRAME_HEADER && !begin_frame(client)) return 0;
        return n;
    }
    client->left -= (uint32_t)n;
    if (is_stdin) tr_stdin_push((size_t)n);
    if (client->left == 0) act(client);
    return n;
}

static void on_client(struct tr_watch *watch, uint32_t events) {
    struct client *client = (struct client *)watch;
    if (events & EPOLLOUT) {
        push(client);
        check_flushed();
        if (watch->fd == 0) return;
    }
    if (waits_for_stdin(client)) {
        if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) leave(client);
    } else if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        ssize_t n = 1;
        /* Header and payload in one turn. */
        for (int i = 0; i < 2 && n > 0 && !waits_for_stdin(client); i++) n = receive(client, tr_watch_fd(watch));
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) leave(client);
        else set_wishes(client);
    }
}
