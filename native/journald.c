/*
 * The log driver journald: every line is a datagram in journald's own protocol, KEY=value lines, after the fields that the plan has
 * prepared. https://systemd.io/JOURNAL_NATIVE_PROTOCOL/
 */
#include "monitor.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/uio.h>
#include <unistd.h>

/* A journald that takes nothing for so long loses the line; the container goes on. */
#define PATIENCE_US 100000

static int journal = -1;
static struct sockaddr_un address = {.sun_family = AF_UNIX};
static const char *fields;

int tr_journald_open(const char *path, const char *prepared) {
    const struct timeval patience = {0, PATIENCE_US};
    if (strlen(path) >= sizeof address.sun_path) return -ENAMETOOLONG;
    strcpy(address.sun_path, path);
    fields = prepared;
    journal = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (journal < 0) return -errno;
    setsockopt(journal, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    return 0;
}

static struct iovec part(const void *at, size_t length) {
    return (struct iovec){(void *)(uintptr_t)at, length};
}

void tr_journald(int stream, const uint8_t *text, size_t length, bool newline) {
    const char *priority = stream == 0 ? "PRIORITY=6\n" : "PRIORITY=3\n";
    const char *partial = newline ? "" : "CONTAINER_PARTIAL_MESSAGE=true\n";
    struct iovec parts[] = {
        part(fields, strlen(fields)), part(priority, strlen(priority)), part(partial, strlen(partial)),
        part("MESSAGE=", 8),          part(text, length),               part("\n", 1),
    };
    /* With its address each time: journald may be started anew. */
    struct msghdr message = {.msg_name = &address, .msg_namelen = sizeof address, .msg_iov = parts, .msg_iovlen = sizeof parts / sizeof *parts};
    ssize_t n;
    do n = sendmsg(journal, &message, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
}
