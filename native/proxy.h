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
    union tr_address target;
    bool udp;
};

static inline socklen_t tr_address_size(const union tr_address *address) {
    return address->any.sa_family == AF_INET6 ? sizeof address->v6 : sizeof address->v4;
}

/* A listener's socket has datagrams. */
void tr_on_datagram(struct tr_watch *watch, uint32_t events);
void tr_flows_open(void);
void tr_flows_close(void);
void tr_flows_idle(void);

#endif
