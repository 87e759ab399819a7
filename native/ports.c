/*
 * Published ports that change while the container runs. Whoever wants that writes a file with all ports there are to be, a line
 * each, in the terms of the op `listen`, and then asks for it with a frame:
 *
 *     <protocol> <address> <port> <target address> <target port>
 *
 * Either all of it is done or nothing.
 */
#include "proxy.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE 160

static bool word(char **rest, const char **out) {
    char *end = strchr(*rest, ' ');
    *out = *rest;
    if (end != NULL) *end++ = '\0';
    *rest = end == NULL ? *rest + strlen(*rest) : end;
    return **out != '\0';
}

static bool number(char **rest, uint64_t *out) {
    const char *digits;
    if (!word(rest, &digits) || strlen(digits) > 5) return false;
    for (*out = 0; *digits >= '0' && *digits <= '9'; digits++) *out = *out * 10 + (uint64_t)(*digits - '0');
    return *digits == '\0';
}

static int want(const char *text, size_t length) {
    struct tr_op_listen op = {0};
    char line[LINE], *rest = line;
    if (length >= sizeof line) return -EINVAL;
    memcpy(line, text, length);
    line[length] = '\0';
    if (!number(&rest, &op.protocol) || !word(&rest, &op.address) || !number(&rest, &op.port) ||
        !word(&rest, &op.target_address) || !number(&rest, &op.target_port))
        return -EINVAL;
    return tr_listener_want(&op);
}

static int want_all(const char *text, size_t size, uint32_t *line) {
    int error = 0;
    for (*line = 0; size > 0 && error == 0;) {
        const char *end = memchr(text, '\n', size);
        size_t length = end == NULL ? size : (size_t)(end - text);
        error = want(text, length);
        if (error != 0) break;
        (*line)++;
        text += length + (end != NULL);
        size -= length + (end != NULL);
    }
    return error;
}

int tr_ports_change(const char *path, uint32_t *line) {
    struct stat status;
    int error, fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    *line = 0;
    if (fd < 0) return -errno;
    error = fstat(fd, &status) < 0 ? -errno : 0;
    if (error == 0 && status.st_size > 0) {
        void *text = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        error = text == MAP_FAILED ? -errno : want_all(text, (size_t)status.st_size, line);
        if (text != MAP_FAILED) munmap(text, (size_t)status.st_size);
    }
    close(fd);
    tr_listeners_settle(error == 0);
    return error;
}
