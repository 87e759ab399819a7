/*
 * DNS messages (RFC 1035) and the names on the container's networks. A message is what a container wrote: every length in it
 * is checked, and no name in it becomes a path.
 */
#include "resolver.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "interpreter.h"
#include "syscalls.h"

#define NAME_MAX_TEXT 254
#define ANSWERS 16
/* Seconds: names move with every restart of a container. */
#define TTL 2
enum { TYPE_A = 1, TYPE_PTR = 12, TYPE_AAAA = 28, TYPE_ANY = 255, CLASS_IN = 1 };
#define SUFFIX ".names"

/* Under which a program finds the host it runs on; the second is Docker's. */
static const char *const HOST_NAMES[] = {"host.tinyrun.internal", "host.docker.internal", "gateway.docker.internal"};

struct question {
    char name[NAME_MAX_TEXT + 1]; /* lower case, without the last dot */
    uint16_t type, class;
    size_t end; /* of the question in the message */
};

/* What is being answered. */
struct found {
    const struct question *question;
    uint8_t *message;
    size_t length;
    int count;
    bool known; /* the name is one of ours, whether or not there is a record of the wanted type */
};

static bool read_question(const uint8_t *message, size_t length, struct question *out) {
    size_t at = TR_DNS_HEADER, filled = 0;
    if (message[4] != 0 || message[5] != 1) return false; /* one question */
    for (;;) {
        if (at >= length) return false;
        size_t label = message[at++];
        if (label == 0) break;
        if (label > 63 || at + label > length || filled + label + 1 > NAME_MAX_TEXT) return false;
        if (filled > 0) out->name[filled++] = '.';
        for (size_t i = 0; i < label; i++) {
            uint8_t byte = message[at++];
            if (byte <= ' ' || byte >= 0x7f) return false;
            out->name[filled++] = (char)(byte >= 'A' && byte <= 'Z' ? byte + 32 : byte);
        }
    }
    out->name[filled] = 0;
    if (at + 4 > length) return false;
    out->type = (uint16_t)(message[at] << 8 | message[at + 1]);
    out->class = (uint16_t)(message[at + 2] << 8 | message[at + 3]);
    out->end = at + 4;
    return true;
}

/* An answer begins as the query: the question stays, everything behind it (EDNS) goes. */
static size_t begin_answer(uint8_t *message, size_t end, enum tr_dns_code code) {
    message[2] = (uint8_t)(0x84 | (message[2] & 0x01)); /* an answer, authoritative; recursion as it was wanted */
    message[3] = (uint8_t)(0x80 | code);
    memset(message + 6, 0, 6);
    return end;
}

size_t tr_dns_refuse(uint8_t *message, size_t length, enum tr_dns_code code) {
    struct question question;
    bool readable = read_question(message, length, &question);
    if (!readable) message[5] = message[4] = 0;
    return begin_answer(message, readable ? question.end : TR_DNS_HEADER, code);
}

static void add_record(struct found *found, uint16_t type, const void *data, size_t length) {
    if (found->count == ANSWERS || found->length + 12 + length > TR_ANSWER_MAX) return;
    uint8_t *out = found->message + found->length;
    /* The name of the question, by a pointer to it. */
    const uint8_t head[] = {0xc0, TR_DNS_HEADER, 0, (uint8_t)type, 0, CLASS_IN, 0, 0, 0, TTL, (uint8_t)(length >> 8), (uint8_t)length};
    memcpy(out, head, sizeof head);
    memcpy(out + sizeof head, data, length);
    found->length += sizeof head + length;
    found->message[7] = (uint8_t)++found->count;
}

static void add_address(struct found *found, const char *text) {
    uint8_t bytes[16];
    uint16_t type = strchr(text, ':') == NULL ? TYPE_A : TYPE_AAAA;
    if (found->question->type != type && found->question->type != TYPE_ANY) return;
    if (inet_pton(type == TYPE_A ? AF_INET : AF_INET6, text, bytes) == 1) add_record(found, type, bytes, type == TYPE_A ? 4 : 16);
}

static void add_pointer(struct found *found, const char *name, const char *network) {
    uint8_t data[2 * NAME_MAX_TEXT];
    char whole[NAME_MAX_TEXT + 1];
    size_t filled = 0;
    if (strlen(name) + 1 + strlen(network) >= sizeof whole) return;
    strcpy(tr_put_text(tr_put_text(whole, name), "."), network);
    for (char *rest = whole, *label; (label = strsep(&rest, ".")) != NULL;) {
        size_t length = strlen(label);
        if (length == 0 || length > 63) return;
        data[filled++] = (uint8_t)length;
        memcpy(data + filled, label, length);
        filled += length;
    }
    data[filled++] = 0;
    add_record(found, TYPE_PTR, data, filled);
}

/* ---- the records of a network ---- */

/* A lease's names: `text` gets the file, lines become strings one behind the other; NULL where it cannot be read. */
static char *read_record(int directory, const char *file, char *text, size_t capacity) {
    long fd = sys_openat(directory, file, O_RDONLY | O_NOFOLLOW, 0);
    long length = fd < 0 ? fd : sys_read((int)fd, text, capacity - 1);
    if (fd >= 0) sys_close((int)fd);
    if (length <= 0) return NULL;
    text[length] = 0;
    return text;
}

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

/* "web" and "web.network" are the same on that network. */
static bool is_called(const char *wanted, const char *name, const char *network) {
    size_t length = strlen(name);
    if (strncmp(wanted, name, length) != 0) return false;
    return wanted[length] == 0 || (wanted[length] == '.' && strcasecmp(wanted + length + 1, network) == 0);
}

static void look_at(struct found *found, int directory, const char *file, const char *network, const char *reverse) {
    char text[4096], address[64];
    size_t length = strlen(file) - strlen(SUFFIX);
    char *rest = read_record(directory, file, text, sizeof text);
    if (rest == NULL || length >= sizeof address) return;
    memcpy(address, file, length);
    address[length] = 0;
    const char *ipv6 = strsep(&rest, "\n");
    if (reverse != NULL) {
        const char *name = strcmp(reverse, address) == 0 || strcmp(reverse, ipv6) == 0 ? strsep(&rest, "\n") : NULL;
        if (name == NULL || name[0] == 0) return;
        found->known = true;
        if (found->question->type == TYPE_PTR || found->question->type == TYPE_ANY) add_pointer(found, name, network);
        return;
    }
    for (const char *name; (name = strsep(&rest, "\n")) != NULL;) {
        if (name[0] == 0 || !is_called(found->question->name, name, network)) continue;
        found->known = true;
        add_address(found, address);
        if (ipv6[0] != '-') add_address(found, ipv6);
        return;
    }
}

static void search(struct found *found, const char *path, const char *reverse) {
    _Alignas(8) char buffer[4096];
    long directory = sys_openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
    if (directory < 0) return;
    for (long count; (count = sys_getdents((int)directory, buffer, sizeof buffer)) > 0;) {
        for (long at = 0; at < count;) {
            const struct tr_dirent *entry = (const struct tr_dirent *)(const void *)(buffer + at);
            at += entry->length;
            size_t length = strlen(entry->name);
            if (length <= strlen(SUFFIX) || strcmp(entry->name + length - strlen(SUFFIX), SUFFIX) != 0) continue;
            look_at(found, (int)directory, entry->name, base_name(path), reverse);
        }
    }
    sys_close((int)directory);
}

/* ---- reverse ---- */

/* "4.3.2.1.in-addr.arpa" is 1.2.3.4; nibbles for IPv6. The text is in the kernel's form, as the records have it. */
static bool reverse_of(const char *name, char *out, size_t capacity) {
    uint8_t bytes[16] = {0};
    const char *suffix = strstr(name, ".in-addr.arpa");
    if (suffix != NULL && strcmp(suffix, ".in-addr.arpa") == 0) {
        size_t length = (size_t)(suffix - name), filled = 0;
        if (length >= capacity) return false;
        /* Part by part from behind; whether it is an address tells the record that has it, or has not. */
        for (size_t end = length, at = length;; at--) {
            if (at > 0 && name[at - 1] != '.') continue;
            memcpy(out + filled, name + at, end - at);
            filled += end - at;
            if (at == 0) break;
            out[filled++] = '.';
            end = at - 1;
        }
        out[filled] = 0;
        return true;
    }
    for (int i = 31; i >= 0; i--, name += 2) {
        const char *digits = "0123456789abcdef", *digit = name[0] == 0 ? NULL : strchr(digits, name[0]);
        if (digit == NULL || name[1] != '.') return false;
        bytes[i / 2] |= (uint8_t)((digit - digits) << (i % 2 == 0 ? 4 : 0));
    }
    return strcmp(name, "ip6.arpa") == 0 && inet_ntop(AF_INET6, bytes, out, (socklen_t)capacity) != NULL;
}

/* ---- the whole ---- */

size_t tr_dns_answer(const struct tr_op_resolver *setup, uint8_t *message, size_t length) {
    struct question question;
    char address[64];
    uint8_t header[TR_DNS_HEADER];
    if (!read_question(message, length, &question)) return tr_dns_refuse(message, length, TR_DNS_SERVFAIL);
    if (question.class != CLASS_IN) return 0;
    memcpy(header, message, sizeof header);
    uint8_t behind[TR_QUERY_MAX];
    memcpy(behind, message + question.end, length - question.end);
    struct found found = {.question = &question, .message = message, .length = begin_answer(message, question.end, TR_DNS_OK)};
    const char *reverse = reverse_of(question.name, address, sizeof address) ? address : NULL;
    for (const char *const *directory = setup->directories; *directory != NULL; directory++) search(&found, *directory, reverse);
    for (size_t i = 0; !found.known && setup->host != NULL && i < sizeof HOST_NAMES / sizeof *HOST_NAMES; i++) {
        if (strcmp(question.name, HOST_NAMES[i]) != 0) continue;
        found.known = true;
        add_address(&found, setup->host);
    }
    if (found.known) return found.length;
    if (setup->servers[0] == NULL && setup->resolv_conf == NULL) return tr_dns_refuse(message, length, TR_DNS_NXDOMAIN);
    /* Not ours: as it came. */
    memcpy(message, header, sizeof header);
    memcpy(message + question.end, behind, length - question.end);
    return 0;
}
