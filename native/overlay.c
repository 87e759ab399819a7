/*
 * The container's root file system. Three ways to name the layers, in this order:
 *   fsconfig "lowerdir+", one call per layer (6.5): no limit on their number, no separators to escape
 *   mount(2) with the paths in one string, which may have a page
 *   the same from inside /proc/self/fd, where a layer is called "12": some 800 layers fit
 */
#include <string.h>
#include <sys/mount.h>

#include "interpreter.h"
#include "syscalls.h"

#define DATA_MAX 4095
#define FSCONFIG_MAX 255
#define LAYERS_MAX 1024

static long set_path(int fs, const char *key, const char *path) {
    struct tr_fd_path of_fd;
    if (strlen(path) <= FSCONFIG_MAX) return sys_fsconfig(fs, TR_FSCONFIG_SET_STRING, key, path, 0);
    long fd = sys_openat(AT_FDCWD, path, O_PATH | O_DIRECTORY, 0);
    if (fd < 0) return fd;
    /* Resolved in this call: the fd is not needed afterwards. */
    long result = sys_fsconfig(fs, TR_FSCONFIG_SET_STRING, key, tr_fd_path((int)fd, &of_fd), 0);
    sys_close((int)fd);
    return result;
}

/* One file system option, "key=value" or "key". */
long tr_fs_option(int fs, const char *option) {
    char key[64];
    const char *value = strchr(option, '=');
    if (value == NULL) return sys_fsconfig(fs, TR_FSCONFIG_SET_FLAG, option, NULL, 0);
    size_t length = (size_t)(value - option);
    if (length >= sizeof key) return -EINVAL;
    memcpy(key, option, length);
    key[length] = 0;
    return sys_fsconfig(fs, TR_FSCONFIG_SET_STRING, key, value + 1, 0);
}

static long configure(int fs, char *const *lower, const char *upper, const char *work, char *const *options) {
    long result = sys_fsconfig(fs, TR_FSCONFIG_SET_STRING, "source", "overlay", 0);
    for (; result >= 0 && *lower != NULL; lower++) result = set_path(fs, "lowerdir+", *lower);
    if (result >= 0 && upper != NULL) result = set_path(fs, "upperdir", upper);
    if (result >= 0 && work != NULL) result = set_path(fs, "workdir", work);
    for (; result >= 0 && options != NULL && *options != NULL; options++) result = tr_fs_option(fs, *options);
    return result < 0 ? result : sys_fsconfig(fs, TR_FSCONFIG_CMD_CREATE, NULL, NULL, 0);
}

/* A detached overlay mount, or -errno; on kernels before 6.5 it is -EINVAL or -ENOSYS. */
int tr_overlay_open(char *const *lower, const char *upper, const char *work, char *const *options) {
    long fs = sys_fsopen("overlay");
    if (fs < 0) return (int)fs;
    long result = configure((int)fs, lower, upper, work, options);
    if (result >= 0) result = sys_fsmount((int)fs, 0);
    sys_close((int)fs);
    return (int)result;
}

struct text {
    char data[DATA_MAX + 1];
    size_t length;
    int error;
    /* The directories that are named by number, open until the mount has its own references. */
    int fds[LAYERS_MAX];
    int fd_count;
};

static void append(struct text *text, const char *part) {
    size_t length = strlen(part);
    if (length > DATA_MAX - text->length) {
        text->error = -E2BIG;
        return;
    }
    memcpy(text->data + text->length, part, length + 1);
    text->length += length;
}

static void append_escaped(struct text *text, const char *path) {
    char one[3] = {'\\', 0, 0};
    for (; *path != 0; path++) {
        one[1] = *path;
        append(text, *path == ':' || *path == ',' || *path == '\\' ? one : one + 1);
    }
}

static void append_path(struct text *text, const char *path, int by_fd) {
    struct tr_fd_path of_fd;
    if (!by_fd) {
        append_escaped(text, path);
        return;
    }
    long fd = text->fd_count < LAYERS_MAX ? sys_openat(AT_FDCWD, path, O_PATH | O_DIRECTORY, 0) : -E2BIG;
    if (fd < 0) {
        text->error = (int)fd;
        return;
    }
    text->fds[text->fd_count++] = (int)fd;
    append(text, tr_fd_path((int)fd, &of_fd) + sizeof "/proc/self/fd/" - 1);
}

static int build(struct text *text, const struct tr_op_overlay *op, int by_fd) {
    text->length = 0;
    text->error = 0;
    text->fd_count = 0;
    append(text, "lowerdir=");
    for (char *const *lower = op->lower; *lower != NULL; lower++) {
        if (lower != op->lower) append(text, ":");
        append_path(text, *lower, by_fd);
    }
    if (op->upper != NULL) {
        append(text, ",upperdir=");
        append_path(text, op->upper, by_fd);
    }
    if (op->work != NULL) {
        append(text, ",workdir=");
        append_path(text, op->work, by_fd);
    }
    for (char *const *option = op->options; *option != NULL; option++) {
        /* Before 5.10 nobody knows it, and it only saves time. */
        if (strcmp(*option, "volatile") == 0) continue;
        append(text, ",");
        append(text, *option);
    }
    return text->error;
}

/* mount(2); leaves the working directory at "/" where the paths were too long. */
int tr_overlay_classic(const struct tr_op_overlay *op) {
    struct text text;
    long result = build(&text, op, 0);
    if (result == 0) return (int)sys_mount("overlay", op->target, "overlay", 0, text.data);
    result = build(&text, op, 1);
    if (result == 0) result = sys_chdir("/proc/self/fd");
    if (result == 0) result = sys_mount("overlay", op->target, "overlay", 0, text.data);
    sys_chdir("/");
    while (text.fd_count > 0) sys_close(text.fds[--text.fd_count]);
    return (int)result;
}
