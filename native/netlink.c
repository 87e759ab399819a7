/* Sends netlink messages that TypeScript has encoded, and waits for the kernel's answers. */
#include <fcntl.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "interpreter.h"
#include "syscalls.h"

#define REPLY_MAX 32768 /* the kernel's own largest for a dump */
#define TIMEOUT_S 10

int tr_netlink_open(int protocol) {
    struct timeval patience = {TIMEOUT_S, 0};
    int size = 1 << 20, on = 1;
    long fd = syscall(SYS_socket, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
    if (fd < 0) return -errno;
    /* Answers come while the message is sent; the timeout is only there so that nothing can ever hang. */
    syscall(SYS_setsockopt, fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    /* Room for a batch's answers; forced sizes need rights that are not always there. */
    syscall(SYS_setsockopt, fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    syscall(SYS_setsockopt, fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    /* An error's answer without a copy of the request. */
    syscall(SYS_setsockopt, fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
    return (int)fd;
}

struct exchange {
    const unsigned char *messages;
    size_t length;
    int pending; /* answers that must still come */
    int error;   /* the first one, -errno */
    unsigned char *out;
    size_t capacity, used;
};

/* Bytes of the message at `at`, with its padding, or 0 where it does not fit into what is left. */
static size_t message_at(const unsigned char *at, size_t left, struct nlmsghdr *header) {
    if (left < sizeof *header) return 0;
    memcpy(header, at, sizeof *header);
    if (header->nlmsg_len < sizeof *header || header->nlmsg_len > left) return 0;
    size_t padded = NLMSG_ALIGN((size_t)header->nlmsg_len);
    return padded < left ? padded : left;
}

static int wants_answer(const struct nlmsghdr *header) {
    /* A dump ends with NLMSG_DONE, also where an acknowledgement was asked for. Its flags mean other things on NEW requests. */
    return (header->nlmsg_flags & NLM_F_ACK) != 0 || (header->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
}

static int count_answers(struct exchange *exchange) {
    struct nlmsghdr header;
    for (size_t at = 0; at < exchange->length;) {
        size_t size = message_at(exchange->messages + at, exchange->length - at, &header);
        if (size == 0) return -EINVAL;
        if (wants_answer(&header)) exchange->pending++;
        at += size;
    }
    return 0;
}

/* Whether the message with this number is one whose answer is counted. */
static int was_counted(const struct exchange *exchange, uint32_t sequence) {
    struct nlmsghdr header;
    for (size_t at = 0, size; at < exchange->length; at += size) {
        size = message_at(exchange->messages + at, exchange->length - at, &header);
        if (size == 0) return 0;
        if (header.nlmsg_seq == sequence && wants_answer(&header)) return 1;
    }
    return 0;
}

/* Returns 1 where no more answers will come. */
static int take_reply(struct exchange *exchange, const unsigned char *reply, size_t length) {
    struct nlmsghdr header;
    for (size_t at = 0, size; at < length; at += size) {
        int32_t code = 0;
        size = message_at(reply + at, length - at, &header);
        if (size == 0) break;
        if (header.nlmsg_type != NLMSG_ERROR && header.nlmsg_type != NLMSG_DONE) continue;
        if (header.nlmsg_len >= sizeof header + sizeof code) memcpy(&code, reply + at + sizeof header, sizeof code);
        if (code < 0 && exchange->error == 0) exchange->error = code;
        if (was_counted(exchange, header.nlmsg_seq)) exchange->pending--;
        /* An error for a batch's frame (no rights, a newer ruleset): the batch as a whole was not looked at. */
        else if (code < 0) return 1;
    }
    return exchange->pending <= 0;
}

static int keep_reply(struct exchange *exchange, const unsigned char *reply, size_t length) {
    if (exchange->out == NULL) return 0;
    if (length > exchange->capacity - exchange->used) return -ENOBUFS;
    memcpy(exchange->out + exchange->used, reply, length);
    exchange->used += length;
    return 0;
}

static long receive_all(int fd, struct exchange *exchange) {
    unsigned char reply[REPLY_MAX];
    while (exchange->pending > 0) {
        long count = syscall(SYS_recvfrom, fd, reply, sizeof reply, MSG_TRUNC, 0L, 0L);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return exchange->error < 0 ? exchange->error : errno == EAGAIN ? -ETIMEDOUT : -errno;
        if ((size_t)count > sizeof reply) return -EMSGSIZE;
        int error = keep_reply(exchange, reply, (size_t)count);
        if (error < 0) return error;
        if (take_reply(exchange, reply, (size_t)count)) break;
    }
    return exchange->error < 0 ? exchange->error : (long)exchange->used;
}

long tr_netlink_exchange(int fd, const void *messages, size_t length, unsigned char *out, size_t capacity) {
    struct exchange exchange = {messages, length, 0, 0, out, capacity, 0};
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    int error = count_answers(&exchange);
    if (error < 0) return error;
    if (syscall(SYS_sendto, fd, messages, length, 0, &kernel, sizeof kernel) < 0) return -errno;
    return receive_all(fd, &exchange);
}

/* The monitor keeps its sockets: they belong to the host's namespace, where it always is. */
static int monitor_socket(struct tr_context *context, int protocol) {
    int *fd = protocol == TR_NETLINK_ROUTE ? &context->route_socket : &context->netfilter_socket;
    if (*fd < 0) *fd = tr_netlink_open(protocol);
    return *fd;
}

/* Sends what somebody has put in the place of the plan's messages since it was made; false where nobody has. */
static int exchange_file(int fd, const char *path, long *result) {
    struct stat status;
    int file = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (file < 0) return 0;
    *result = fstat(file, &status) < 0 ? -errno : 0;
    if (*result == 0 && status.st_size > 0) {
        size_t size = (size_t)status.st_size;
        void *bytes = mmap(NULL, size, PROT_READ, MAP_PRIVATE, file, 0);
        *result = bytes == MAP_FAILED ? -errno : tr_netlink_exchange(fd, bytes, size, NULL, 0);
        if (bytes != MAP_FAILED) munmap(bytes, size);
    }
    close(file);
    return 1;
}

int tr_op_netlink_run(struct tr_run *run, const struct tr_op *op) {
    const struct tr_op_netlink *netlink = &op->netlink;
    const int in_child = run->phase == TR_CHILD;
    if (netlink->protocol != TR_NETLINK_ROUTE && netlink->protocol != TR_NETLINK_NETFILTER) return -EINVAL;
    if (netlink->pid_offset != 0) {
        uint32_t pid = in_child ? 0 : (uint32_t)run->context->child;
        if (pid == 0 || netlink->messages.length < sizeof pid || netlink->pid_offset > netlink->messages.length - sizeof pid)
            return -EINVAL;
        /* The plan's memory is ours and writable; only its view is const. */
        memcpy((unsigned char *)(uintptr_t)netlink->messages.at + netlink->pid_offset, &pid, sizeof pid);
    }
    /* The child's socket is a new one each time: it belongs to the namespace the child is in now. */
    int fd = in_child ? tr_netlink_open((int)netlink->protocol) : monitor_socket(run->context, (int)netlink->protocol);
    if (fd < 0) return fd;
    long result = 0;
    if (!exchange_file(fd, in_child ? NULL : netlink->instead, &result) && netlink->messages.length > 0)
        result = tr_netlink_exchange(fd, netlink->messages.at, netlink->messages.length, NULL, 0);
    if (in_child) sys_close(fd);
    return result < 0 ? (int)result : 0;
}
