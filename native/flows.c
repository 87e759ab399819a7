/*
 * UDP for published ports. There are no connections, so each client gets a socket of its own towards the container, which
 * goes when it has been quiet for a while.
 */
#include "proxy.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#define FLOWS 512
#define FLOW_IDLE_MS 30000
/* Datagrams that one socket may pass on in a turn of the loop before the others have theirs. */
#define ROUNDS 16

/* A client and its socket. */
struct flow {
    struct tr_watch watch; /* first */
    struct tr_listener *listener;
    union tr_address client;
    union {
        struct in_pktinfo v4;
        struct in6_pktinfo v6;
    } local; /* the address of ours it spoke to: the answer has to come from there */
    int64_t used_at;
};

static struct flow flows[FLOWS];
static uint8_t datagram[TR_CHUNK] __attribute__((aligned(4096)));

static void expire_flows(void);
static struct tr_timer flow_timer = {0, expire_flows};

static void end_flow(struct flow *flow) {
    tr_watch_close(&flow->watch);
    memset(flow, 0, sizeof *flow);
}

static void expire_flows(void) {
    bool any = false;
    for (int i = 0; i < FLOWS; i++) {
        if (flows[i].watch.fd == 0) continue;
        if (tr_now() - flows[i].used_at >= FLOW_IDLE_MS) end_flow(&flows[i]);
        else any = true;
    }
    if (any) flow_timer.at = tr_now() + FLOW_IDLE_MS / 6;
}

/* The answer, from the address that was asked. */
static void on_answer(struct tr_watch *watch, uint32_t events) {
    struct flow *flow = (struct flow *)watch;
    bool v6 = flow->client.any.sa_family == AF_INET6;
    (void)events;
    for (int round = 0; round < ROUNDS; round++) {
        char control[CMSG_SPACE(sizeof flow->local)] = {0};
        struct iovec io = {datagram, sizeof datagram};
        struct msghdr message = {.msg_name = &flow->client,
                                 .msg_namelen = tr_address_size(&flow->client),
                                 .msg_iov = &io,
                                 .msg_iovlen = 1,
                                 .msg_control = control};
        struct cmsghdr *part;
        ssize_t n = recv(tr_watch_fd(watch), datagram, sizeof datagram, 0);
        if (n < 0) return; /* EAGAIN; or ECONNREFUSED: nobody listens there, and the client will ask again or not */
        io.iov_len = (size_t)n;
        message.msg_controllen = v6 ? CMSG_SPACE(sizeof flow->local.v6) : CMSG_SPACE(sizeof flow->local.v4);
        part = CMSG_FIRSTHDR(&message);
        part->cmsg_level = v6 ? IPPROTO_IPV6 : IPPROTO_IP;
        part->cmsg_type = v6 ? IPV6_PKTINFO : IP_PKTINFO;
        part->cmsg_len = v6 ? CMSG_LEN(sizeof flow->local.v6) : CMSG_LEN(sizeof flow->local.v4);
        memcpy(CMSG_DATA(part), &flow->local, v6 ? sizeof flow->local.v6 : sizeof flow->local.v4);
        sendmsg(tr_watch_fd(&flow->listener->watch), &message, MSG_NOSIGNAL);
        flow->used_at = tr_now();
    }
}

/* The client's flow; else a free row; else the row that has been quiet longest, emptied. */
static struct flow *find_flow(struct tr_listener *listener, const union tr_address *client) {
    struct flow *oldest = NULL;
    for (int i = 0; i < FLOWS; i++) {
        struct flow *flow = &flows[i];
        if (flow->watch.fd != 0 && flow->listener == listener && memcmp(&flow->client, client, tr_address_size(client)) == 0)
            return flow;
        if (oldest == NULL || (oldest->watch.fd != 0 && (flow->watch.fd == 0 || flow->used_at < oldest->used_at)))
            oldest = flow;
    }
    end_flow(oldest);
    return oldest;
}

static bool open_flow(struct flow *flow, struct tr_listener *listener, const union tr_address *client) {
    int fd = socket(listener->target.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return false;
    if (connect(fd, &listener->target.any, tr_address_size(&listener->target)) < 0 ||
        tr_watch_open(&flow->watch, fd, EPOLLIN, on_answer) != 0) {
        close(fd);
        return false;
    }
    flow->listener = listener;
    memcpy(&flow->client, client, sizeof flow->client);
    if (flow_timer.at == 0) flow_timer.at = tr_now() + FLOW_IDLE_MS / 6;
    return true;
}

static void take_local(struct flow *flow, struct msghdr *message) {
    struct cmsghdr *part = CMSG_FIRSTHDR(message);
    for (; part != NULL; part = CMSG_NXTHDR(message, part)) {
        if (part->cmsg_level == IPPROTO_IP && part->cmsg_type == IP_PKTINFO)
            memcpy(&flow->local.v4, CMSG_DATA(part), sizeof flow->local.v4);
        if (part->cmsg_level == IPPROTO_IPV6 && part->cmsg_type == IPV6_PKTINFO)
            memcpy(&flow->local.v6, CMSG_DATA(part), sizeof flow->local.v6);
    }
}

void tr_on_datagram(struct tr_watch *watch, uint32_t events) {
    struct tr_listener *listener = (struct tr_listener *)watch;
    (void)events;
    for (int round = 0; round < ROUNDS; round++) {
        char control[256];
        union tr_address client = {0};
        struct iovec io = {datagram, sizeof datagram};
        struct msghdr message = {.msg_name = &client,
                                 .msg_namelen = sizeof client,
                                 .msg_iov = &io,
                                 .msg_iovlen = 1,
                                 .msg_control = control,
                                 .msg_controllen = sizeof control};
        struct flow *flow;
        ssize_t n = recvmsg(tr_watch_fd(watch), &message, 0);
        if (n < 0) return;
        flow = find_flow(listener, &client);
        if (flow->watch.fd == 0 && !open_flow(flow, listener, &client)) continue; /* lost, as UDP may be */
        take_local(flow, &message);
        flow->used_at = tr_now();
        send(tr_watch_fd(&flow->watch), datagram, (size_t)n, MSG_NOSIGNAL);
    }
}

void tr_flows_open(void) {
    tr_timer_add(&flow_timer);
}

void tr_flows_close(void) {
    for (int i = 0; i < FLOWS; i++)
        if (flows[i].watch.fd != 0) end_flow(&flows[i]);
    flow_timer.at = 0;
}

void tr_flows_forget(const struct tr_listener *listener) {
    for (int i = 0; i < FLOWS; i++)
        if (flows[i].watch.fd != 0 && flows[i].listener == listener) end_flow(&flows[i]);
}

void tr_flows_idle(void) {
    madvise(datagram, sizeof datagram, MADV_DONTNEED);
}
