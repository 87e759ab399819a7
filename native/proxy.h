/* Between the two halves of the forwarder: proxy.c (ports, TCP) and flows.c (UDP). */
#ifndef TR_PROXY_H
#define TR_PROXY_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "monitor.h"

union tr_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

/* A published port. */
struct tr_listener {
    struct tr_watch watch; /* first: a watch is its listener */
    union tr_address address, target;
    bool udp;
    uint8_t mark; /* of tr_ports_change() */
};

static inline socklen_t tr_address_size(const union tr_address *address) {
    return address->any.sa_family == AF_INET6 ? sizeof address->v6 : sizeof address->v4;
}

/* Marks a port as one that there is to be, and opens it where it is not there. Returns 0 or -errno. */
int tr_listener_want(const struct tr_op_listen *op);
/* Closes the ports that have no mark; done false: those that were opened for it. */
void tr_listeners_settle(bool done);

/* A listener's socket has datagrams. */
void tr_on_datagram(struct tr_watch *watch, uint32_t events);
void tr_flows_open(void);
void tr_flows_close(void);
/* The listener is closed: so are the flows of its clients. */
void tr_flows_forget(const struct tr_listener *listener);
void tr_flows_idle(void);

#endif
