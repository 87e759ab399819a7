/* Between the two halves of the resolver: resolver.c (sockets, upstream) and names.c (messages, names on the networks). */
#ifndef TR_RESOLVER_H
#define TR_RESOLVER_H

#include "monitor.h"

#define TR_DNS_HEADER 12
/* RFC 1035 has 512 bytes for UDP; with EDNS clients may ask in more, which no query for a name needs. */
#define TR_QUERY_MAX 1232
#define TR_ANSWER_MAX 2048

enum tr_dns_code { TR_DNS_OK = 0, TR_DNS_SERVFAIL = 2, TR_DNS_NXDOMAIN = 3 };

/*
 * Answers a query in its place, with TR_ANSWER_MAX bytes of room, where it is for a name of a network or there is nobody else to
 * ask; returns the answer's length, 0 where it has to be passed on.
 */
size_t tr_dns_answer(const struct tr_op_resolver *setup, uint8_t *message, size_t length);
/* Makes an answer without records of a query; returns its length. */
size_t tr_dns_refuse(uint8_t *message, size_t length, enum tr_dns_code code);

#endif
