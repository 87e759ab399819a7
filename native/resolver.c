/*
 * Names on the container's networks: a small DNS server on 127.0.0.11 of the container. Its socket is made by the child, in
 * the container's namespace, and served here, where the host's own resolvers can be reached, also one on its loopback.
 *
 * Who is called what lies beside the leases of a network, in files `<IPv4 address>.names`: the IPv6 address or `-`, then a name
 * in each line. They come and go with the containers, so nothing has to be told to anybody, and nothing is kept here.
 * What is no name of a network goes to the upstream servers as it came, and the answer back as it is.
 */
#include "resolver.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <unistd.h>

#include "interpreter.h"
#include "proxy.h"
#include "syscalls.h"

#define PENDING 64
#define UPSTREAMS 3
#define ATTEMPTS 4
#define ATTEMPT_MS 2000
/* Queries that are read in a turn of the loop before the others have theirs. */
#define ROUNDS 16

/* A query that was passed on: a socket of its own, so that its port and id are hard to guess. */
struct pending {
    struct tr_watch watch; /* first */
    struct sockaddr_in client;
    uint16_t id, sent_id; /* in network order, as they stand in the message */
    int64_t deadline;
    uint8_t attempt;
    uint16_t length;
    uint8_t query[TR_QUERY_MAX];
};

static const struct tr_op_resolver *setup;
static struct tr_watch clients;
static struct pending pending[PENDING];
/* What a server may answer at most: with EDNS clients ask for 4096 or less. */
static uint8_t answer[8192] __attribute__((aligned(4096)));

static void on_tick(void);
static struct tr_timer timer = {0, on_tick};

/* ---- upstream ---- */

static bool parse_server(union tr_address *out, const char *text) {
    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, text, &out->v4.sin_addr) == 1) {
        out->v4.sin_family = AF_INET;
        out->v4.sin_port = htons(53);
        return true;
    }
    out->v6.sin6_family = AF_INET6;
    out->v6.sin6_port = htons(53);
    return inet_pton(AF_INET6, text, &out->v6.sin6_addr) == 1;
}

/* The host's file as it is now: a laptop changes networks. */
static int read_servers(const char *path, union tr_address *servers) {
    static char text[4096];
    int count = 0, fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0) close(fd);
    if (length < 0) return 0;
    text[length] = 0;
    for (char *rest = text, *line; count < UPSTREAMS && (line = strsep(&rest, "\n")) != NULL;) {
        if (strncmp(line, "nameserver", 10) != 0 || (line[10] != ' ' && line[10] != '\t')) continue;
        char *server = line + 10 + strspn(line + 10, " \t");
        server[strcspn(server, " \t\r#;%")] = 0;
        if (parse_server(&servers[count], server)) count++;
    }
    return count;
}

static int upstreams(union tr_address *servers) {
    int count = 0;
    for (const char *const *server = setup->servers; *server != NULL && count < UPSTREAMS; server++)
        if (parse_server(&servers[count], *server)) count++;
    return count > 0 || setup->resolv_conf == NULL ? count : read_servers(setup->resolv_conf, servers);
}

static void reply(const struct sockaddr_in *client, const uint8_t *bytes, size_t length) {
    if (clients.fd != 0) sendto(tr_watch_fd(&clients), bytes, length, MSG_DONTWAIT, (const struct sockaddr *)client, sizeof *client);
}

static void forget(struct pending *one) {
    tr_watch_close(&one->watch);
    memset(one, 0, sizeof *one);
}

static void give_up(struct pending *one) {
    size_t length = tr_dns_refuse(one->query, one->length, TR_DNS_SERVFAIL);
    memcpy(one->query, &one->id, sizeof one->id);
    reply(&one->client, one->query, length);
    forget(one);
}

static void on_upstream(struct tr_watch *watch, uint32_t events) {
    struct pending *one = (struct pending *)watch;
    (void)events;
    ssize_t length = recv(tr_watch_fd(watch), answer, sizeof answer, MSG_DONTWAIT);
    /* ECONNREFUSED: nobody is there; the next server has its turn at once. */
    if (length < 0 && errno != EAGAIN && errno != EINTR) one->deadline = timer.at = tr_now();
    if (length < TR_DNS_HEADER || memcmp(answer, &one->sent_id, sizeof one->sent_id) != 0) return;
    memcpy(answer, &one->id, sizeof one->id);
    reply(&one->client, answer, (size_t)length);
    forget(one);
}

static bool ask(struct pending *one, const union tr_address *server) {
    int fd = socket(server->any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return false;
    getrandom(&one->sent_id, sizeof one->sent_id, 0);
    memcpy(one->query, &one->sent_id, sizeof one->sent_id);
    if (connect(fd, &server->any, tr_address_size(server)) == 0 && send(fd, one->query, one->length, 0) >= 0 &&
        tr_watch_open(&one->watch, fd, EPOLLIN, on_upstream) == 0)
        return true;
    close(fd);
    return false;
}

static void try_next(struct pending *one) {
    union tr_address servers[UPSTREAMS];
    int count = upstreams(servers);
    tr_watch_close(&one->watch);
    while (count > 0 && one->attempt < ATTEMPTS) {
        if (!ask(one, &servers[one->attempt++ % count])) continue;
        one->deadline = tr_now() + ATTEMPT_MS;
        if (timer.at == 0 || timer.at > one->deadline) timer.at = one->deadline;
        return;
    }
    give_up(one);
}

static void on_tick(void) {
    for (int i = 0; i < PENDING; i++)
        if (pending[i].length > 0 && pending[i].deadline <= tr_now()) try_next(&pending[i]);
    for (int i = 0; i < PENDING; i++)
        if (pending[i].length > 0 && (timer.at == 0 || timer.at > pending[i].deadline)) timer.at = pending[i].deadline;
}

static void pass_on(const uint8_t *query, size_t length, const struct sockaddr_in *client) {
    struct pending *one = &pending[0];
    /* The oldest makes room: whoever asked has probably asked again. */
    for (int i = 0; i < PENDING && one->length > 0; i++)
        if (pending[i].length == 0 || pending[i].deadline < one->deadline) one = &pending[i];
    if (one->length > 0) forget(one);
    one->client = *client;
    one->length = (uint16_t)length;
    memcpy(&one->id, query, sizeof one->id);
    memcpy(one->query, query, length);
    try_next(one);
}

/* ---- clients ---- */

static void on_query(struct tr_watch *watch, uint32_t events) {
    (void)events;
    for (int round = 0; round < ROUNDS; round++) {
        uint8_t message[TR_ANSWER_MAX];
        struct sockaddr_in client;
        socklen_t size = sizeof client;
        ssize_t length = recvfrom(tr_watch_fd(watch), message, TR_QUERY_MAX, MSG_DONTWAIT | MSG_TRUNC, (struct sockaddr *)&client, &size);
        if (length < 0) return;
        /* What is too long or is an answer itself is none of ours. */
        if (length < TR_DNS_HEADER || length > TR_QUERY_MAX || (message[2] & 0x80) != 0) continue;
        size_t answered = tr_dns_answer(setup, message, (size_t)length);
        if (answered > 0) reply(&client, message, answered);
        else pass_on(message, (size_t)length, &client);
    }
}

void tr_resolver_begin(const struct tr_plan *plan, struct tr_context *context) {
    const struct tr_ops *child = &plan->phase[TR_CHILD];
    int fd = context->resolver_socket;
    for (size_t i = 0; i < child->count; i++)
        if (child->ops[i].code == TR_OP_resolver) setup = &child->ops[i].resolver;
    if (fd < 0) return;
    context->resolver_socket = -1;
    tr_timer_add(&timer);
    if (setup == NULL || tr_watch_open(&clients, fd, EPOLLIN, on_query) != 0) close(fd);
}

/* The socket keeps the container's network namespace, and with it its interfaces. */
void tr_resolver_end(void) {
    tr_watch_close(&clients);
    for (int i = 0; i < PENDING; i++)
        if (pending[i].length > 0) forget(&pending[i]);
    timer.at = 0;
}
