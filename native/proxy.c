/*
 * Published ports, in user space: for clients on loopback, and for hosts without a firewall that could do it. UDP is in flows.c.
 *
 * The port is reserved when the op `listen` runs (TCP already listens then, since two sockets may be bound to one port as long as
 * neither listens), so "port is already allocated" comes before the container exists. Nothing is accepted before it runs.
 *
 * TCP goes through splice(2): the bytes never enter this process. Pipes are borrowed only while bytes are in them, so that an
 * idle connection costs two sockets and a table row.
 */
#include "proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define LISTENERS 1024
#define CONNECTIONS 1024
#define PIPES 8
/* Pieces that one connection may move in a turn of the loop before the others have theirs. */
#define ROUNDS 16
#define ACCEPT_RETRY_MS 100

/* One direction of a connection. */
struct way {
    int pipe[2];
    uint32_t queued; /* bytes in the pipe; 0: there is no pipe */
    bool eof, done;  /* nothing more comes; and the other side has been told */
};

struct connection {
    struct tr_watch side[2]; /* client, container */
    struct way way[2];       /* from side[i] to the other */
    bool connecting;
};

static bool paused; /* nobody is there to be connected to */
static struct tr_listener listeners[LISTENERS];
static int listener_count;
static struct connection connections[CONNECTIONS];
static int spare_pipes[PIPES][2];
static int spare_count;

static void accept_again(void);
static struct tr_timer accept_timer = {0, accept_again};

static bool parse(union tr_address *out, const char *text, uint64_t port) {
    memset(out, 0, sizeof *out);
    if (port > 65535) return false;
    if (inet_pton(AF_INET, text, &out->v4.sin_addr) == 1) {
        out->v4.sin_family = AF_INET;
        out->v4.sin_port = htons((uint16_t)port);
        return true;
    }
    out->v6.sin6_family = AF_INET6;
    out->v6.sin6_port = htons((uint16_t)port);
    return inet_pton(AF_INET6, text, &out->v6.sin6_addr) == 1;
}

static void set_option(int fd, int level, int option) {
    int on = 1;
    setsockopt(fd, level, option, &on, sizeof on);
}

/* ---- TCP ---- */

/* With an RST where something went wrong, so that the peer does not take half an answer for a whole one. */
static void end_connection(struct connection *c, bool reset) {
    struct linger linger = {1, 0};
    for (int i = 0; i < 2; i++) {
        if (c->way[i].queued > 0) {
            close(c->way[i].pipe[0]);
            close(c->way[i].pipe[1]);
        }
        if (reset && c->side[i].fd != 0)
            setsockopt(tr_watch_fd(&c->side[i]), SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
        tr_watch_close(&c->side[i]);
    }
    memset(c, 0, sizeof *c);
    accept_again();
}

static bool borrow_pipe(struct way *way) {
    if (spare_count == 0) return pipe2(way->pipe, O_CLOEXEC | O_NONBLOCK) == 0;
    memcpy(way->pipe, spare_pipes[--spare_count], sizeof way->pipe);
    return true;
}

static void return_pipe(struct way *way) {
    if (spare_count < PIPES) {
        memcpy(spare_pipes[spare_count++], way->pipe, sizeof way->pipe);
        return;
    }
    close(way->pipe[0]);
    close(way->pipe[1]);
}

/* Moves what can be moved from side[i] to the other; false where the connection is broken. */
static bool move(struct connection *c, int i) {
    struct way *way = &c->way[i];
    int from = tr_watch_fd(&c->side[i]), to = tr_watch_fd(&c->side[!i]);
    for (int round = 0; round < ROUNDS; round++) {
        ssize_t n;
        if (way->queued == 0) {
            if (way->eof) break;
            if (!borrow_pipe(way)) return false;
            n = splice(from, NULL, way->pipe[1], NULL, TR_CHUNK, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
            if (n <= 0) return_pipe(way);
            if (n < 0) return errno == EAGAIN || errno == EINTR;
            if (n == 0) way->eof = true;
            way->queued = (uint32_t)n;
            if (n == 0) break;
        }
        n = splice(way->pipe[0], NULL, to, NULL, way->queued, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
        if (n < 0) return errno == EAGAIN || errno == EINTR;
        way->queued -= (uint32_t)n;
        if (way->queued == 0) return_pipe(way);
    }
    if (way->eof && way->queued == 0 && !way->done) {
        shutdown(to, SHUT_WR); /* half a connection may go on: `nc`, HTTP/1.0 */
        way->done = true;
    }
    return true;
}

static void set_wishes(struct connection *c) {
    for (int i = 0; i < 2; i++) {
        const struct way *in = &c->way[i], *out = &c->way[!i];
        uint32_t wishes = 0;
        if (in->queued == 0 && !in->eof) wishes |= EPOLLIN;
        if (out->queued > 0) wishes |= EPOLLOUT;
        tr_watch_want(&c->side[i], wishes);
    }
}

static void on_connection(struct tr_watch *watch, uint32_t events) {
    size_t row = (size_t)((char *)watch - (char *)connections) / sizeof *connections;
    struct connection *c = &connections[row];
    (void)events;
    if (c->connecting) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(tr_watch_fd(&c->side[1]), SOL_SOCKET, SO_ERROR, &error, &size);
        if (error != 0) {
            end_connection(c, true);
            return;
        }
        c->connecting = false;
    }
    if (!move(c, 0) || !move(c, 1)) end_connection(c, true);
    else if (c->way[0].done && c->way[1].done) end_connection(c, false);
    else set_wishes(c);
}

static struct connection *free_connection(void) {
    for (int i = 0; i < CONNECTIONS; i++)
        if (connections[i].side[0].fd == 0) return &connections[i];
    return NULL;
}

/* Neither a full table nor a lack of fds may become a busy loop: clients wait in the backlog. */
static void pause_accepting(void) {
    for (int i = 0; i < listener_count; i++)
        if (!listeners[i].udp) tr_watch_want(&listeners[i].watch, 0);
    accept_timer.at = tr_now() + ACCEPT_RETRY_MS;
}

static void accept_again(void) {
    accept_timer.at = 0;
    for (int i = 0; i < listener_count; i++)
        if (!listeners[i].udp) tr_watch_want(&listeners[i].watch, EPOLLIN);
}

/* As a port that nobody listens on, or nearly so: a client that waited for minutes would be no wiser. */
static void refuse(int fd) {
    struct linger linger = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    close(fd);
}

static void on_accept(struct tr_watch *watch, uint32_t events) {
    struct tr_listener *listener = (struct tr_listener *)watch;
    struct connection *c = free_connection();
    int client, target;
    (void)events;
    client = c == NULL ? -1 : accept4(tr_watch_fd(watch), NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (client < 0) {
        if (c == NULL || (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)) pause_accepting();
        return;
    }
    if (paused || tr_watch_open(&c->side[0], client, 0, on_connection) != 0) {
        refuse(client);
        return;
    }
    target = socket(listener->target.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (target < 0) {
        end_connection(c, true);
        pause_accepting();
        return;
    }
    set_option(client, IPPROTO_TCP, TCP_NODELAY);
    set_option(target, IPPROTO_TCP, TCP_NODELAY);
    c->connecting = true;
    if (connect(target, &listener->target.any, tr_address_size(&listener->target)) < 0 && errno != EINPROGRESS) {
        close(target);
        end_connection(c, true);
    } else if (tr_watch_open(&c->side[1], target, EPOLLOUT, on_connection) != 0) {
        close(target);
        end_connection(c, true);
    }
}

/* ---- life ---- */

static int open_listener(struct tr_listener *listener, const union tr_address *address) {
    bool v6 = address->any.sa_family == AF_INET6;
    int type = (listener->udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC | SOCK_NONBLOCK;
    int error = 0, fd = socket(address->any.sa_family, type, 0);
    if (fd < 0) return -errno;
    if (v6) set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY);
    /* Connections of a predecessor in TIME_WAIT do not keep the port; for UDP it would let two have it. */
    if (!listener->udp) set_option(fd, SOL_SOCKET, SO_REUSEADDR);
    if (listener->udp) set_option(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_RECVPKTINFO : IP_PKTINFO);
    if (bind(fd, &address->any, tr_address_size(address)) < 0) error = -errno;
    if (error == 0 && !listener->udp && listen(fd, SOMAXCONN) < 0) error = -errno;
    if (error == 0) error = tr_watch_open(&listener->watch, fd, 0, listener->udp ? tr_on_datagram : on_accept);
    if (error != 0) close(fd);
    return error;
}

/* A row that is free: rows do not move, epoll knows them by their place. */
static struct tr_listener *free_listener(void) {
    for (int i = 0; i < listener_count; i++)
        if (listeners[i].watch.fd == 0) return &listeners[i];
    return listener_count == LISTENERS ? NULL : &listeners[listener_count++];
}

static int add_listener(const struct tr_listener *wanted) {
    struct tr_listener *listener = free_listener();
    if (listener == NULL) return -EMFILE;
    *listener = *wanted;
    return open_listener(listener, &listener->address);
}

static int fill_listener(struct tr_listener *out, const struct tr_op_listen *op) {
    memset(out, 0, sizeof *out);
    out->udp = op->protocol == IPPROTO_UDP;
    if (!out->udp && op->protocol != IPPROTO_TCP) return -EPROTONOSUPPORT;
    return parse(&out->address, op->address, op->port) && parse(&out->target, op->target_address, op->target_port) ? 0 : -EINVAL;
}

int tr_listen(struct tr_context *context, const struct tr_op_listen *op) {
    struct tr_listener wanted;
    int error = fill_listener(&wanted, op);
    (void)context;
    return error == 0 ? add_listener(&wanted) : error;
}

enum { UNWANTED, KEPT, ADDED };

int tr_listener_want(const struct tr_op_listen *op) {
    struct tr_listener wanted;
    int error = fill_listener(&wanted, op);
    if (error != 0) return error;
    for (int i = 0; i < listener_count; i++) {
        struct tr_listener *there = &listeners[i];
        if (there->watch.fd == 0 || there->udp != wanted.udp) continue;
        if (memcmp(&there->address, &wanted.address, sizeof wanted.address) != 0) continue;
        if (memcmp(&there->target, &wanted.target, sizeof wanted.target) != 0) continue;
        if (there->mark == UNWANTED) there->mark = KEPT;
        return 0;
    }
    wanted.mark = ADDED;
    return add_listener(&wanted);
}

void tr_listeners_settle(bool done) {
    for (int i = 0; i < listener_count; i++) {
        struct tr_listener *listener = &listeners[i];
        if (listener->watch.fd != 0 && listener->mark == (done ? UNWANTED : ADDED)) {
            tr_watch_close(&listener->watch);
            tr_flows_forget(listener);
        } else if (listener->mark == ADDED) {
            tr_watch_want(&listener->watch, paused && listener->udp ? 0 : EPOLLIN);
        }
        listener->mark = UNWANTED;
    }
}

void tr_proxy_start(void) {
    tr_timer_add(&accept_timer);
    tr_flows_open();
    paused = false;
    for (int i = 0; i < listener_count; i++) tr_watch_want(&listeners[i].watch, EPOLLIN);
}

static void end_all(void) {
    for (int i = 0; i < CONNECTIONS; i++)
        if (connections[i].side[0].fd != 0) end_connection(&connections[i], true);
    tr_flows_close();
}

void tr_proxy_pause(void) {
    end_all();
    for (int i = 0; i < listener_count; i++)
        if (listeners[i].udp) tr_watch_want(&listeners[i].watch, 0);
    paused = true;
}

void tr_proxy_stop(void) {
    for (int i = 0; i < listener_count; i++) tr_watch_close(&listeners[i].watch);
    listener_count = 0;
    end_all();
    accept_timer.at = 0;
}

void tr_proxy_idle(void) {
    while (spare_count > 0) {
        spare_count--;
        close(spare_pipes[spare_count][0]);
        close(spare_pipes[spare_count][1]);
    }
    tr_flows_idle();
}
