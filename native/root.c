/*
 * Paths below a root that may be hostile: an image, a layer, another container. openat2(RESOLVE_IN_ROOT) where the
 * kernel has it (5.6) and nothing is missing; else a walk of our own, one component at a time from an open directory and never
 * following a link in the kernel, which is as safe, makes what is missing, and needs no new system call. Symbolic
 * links are followed as if the root were "/", also dangling ones: Docker, too, makes what they point to.
 * (CVE-2021-30465, CVE-2024-45310, CVE-2026-41579: check and use of a path in the host's name space.)
 */
#include <string.h>
#include <sys/stat.h>

#include "interpreter.h"
#include "syscalls.h"

#define LINKS_MAX 40
#define ATTEMPTS 32

struct walk {
    int root;
    int at;                  /* O_PATH, the directory reached */
    int links;
    char done[TR_PATH_MAX];    /* how it was reached from the root, without links */
    char pending[TR_PATH_MAX]; /* what is still to be resolved */
};

const char *tr_digits_of(int number, struct tr_digits *digits) {
    int at = sizeof digits->text - 1;
    digits->text[at] = 0;
    do digits->text[--at] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    return digits->text + at;
}

const char *tr_fd_path(int fd, struct tr_fd_path *path) {
    struct tr_digits digits;
    strcpy(path->text, "/proc/self/fd/");
    strcat(path->text, tr_digits_of(fd, &digits));
    return path->text;
}

static void set_at(struct walk *walk, long fd) {
    if (walk->at >= 0) sys_close(walk->at);
    walk->at = (int)fd;
}

static int to_root(struct walk *walk) {
    long fd = sys_fcntl(walk->root, F_DUPFD_CLOEXEC, 3);
    if (fd < 0) return (int)fd;
    set_at(walk, fd);
    walk->done[0] = 0;
    return 0;
}

/* `..` without trusting the directory tree: again from the root, one component less. */
static int to_parent(struct walk *walk) {
    char path[TR_PATH_MAX];
    char *slash = strrchr(walk->done, '/');
    if (slash != NULL) *slash = 0;
    else walk->done[0] = 0;
    memcpy(path, walk->done, sizeof path);
    int error = to_root(walk);
    memcpy(walk->done, path, sizeof path);
    for (char *name = path; error == 0 && *name != 0;) {
        char *end = strchrnul(name, '/');
        int last = *end == 0;
        *end = 0;
        long fd = sys_openat(walk->at, name, O_PATH | O_NOFOLLOW | O_DIRECTORY, 0);
        if (fd < 0) return (int)fd;
        set_at(walk, fd);
        name = last ? end : end + 1;
    }
    return error;
}

static int append_done(struct walk *walk, const char *name) {
    size_t length = strlen(walk->done), more = strlen(name);
    if (length + more + 2 > sizeof walk->done) return -ENAMETOOLONG;
    if (length > 0) walk->done[length++] = '/';
    memcpy(walk->done + length, name, more + 1);
    return 0;
}

/* Puts a link's target before what is pending. */
static int follow(struct walk *walk, int link) {
    char target[TR_PATH_MAX];
    if (++walk->links > LINKS_MAX) return -ELOOP;
    long length = sys_readlinkat(link, "", target, sizeof target);
    if (length < 0) return (int)length;
    size_t rest = strlen(walk->pending);
    if (length == 0 || (size_t)length + rest + 2 > sizeof walk->pending) return length == 0 ? -ENOENT : -ENAMETOOLONG;
    memmove(walk->pending + length + 1, walk->pending, rest + 1);
    memcpy(walk->pending, target, (size_t)length);
    walk->pending[length] = '/';
    return target[0] == '/' ? to_root(walk) : 0;
}

/* Takes the next component off `pending` into `name`. Returns its length; 0: none is left. */
static int next_name(struct walk *walk, char *name) {
    size_t skip = strspn(walk->pending, "/");
    size_t length = strcspn(walk->pending + skip, "/");
    if (length > 255) return -ENAMETOOLONG;
    memcpy(name, walk->pending + skip, length);
    name[length] = 0;
    size_t after = skip + length + strspn(walk->pending + skip + length, "/");
    /* A slash at the end asks for a directory; `pending` keeps it out, O_DIRECTORY comes from the caller. */
    memmove(walk->pending, walk->pending + after, strlen(walk->pending + after) + 1);
    return (int)length;
}

static long make_missing(struct walk *walk, const char *name, enum tr_make make, unsigned mode, int *made) {
    int last = walk->pending[0] == 0;
    long result;
    if (last && make == TR_MAKE_FILE) result = sys_mknodat(walk->at, name, S_IFREG | mode, 0);
    else result = sys_mkdirat(walk->at, name, last ? mode : 0755);
    if (result == 0 && last && made != NULL) *made = 1;
    return result == -EEXIST ? 0 : result;
}

static long open_component(struct walk *walk, const char *name, enum tr_make make, unsigned mode, int *made) {
    long fd = sys_openat(walk->at, name, O_PATH | O_NOFOLLOW, 0);
    if (fd != -ENOENT || make == TR_MAKE_NOTHING) return fd;
    long result = make_missing(walk, name, make, mode, made);
    return result < 0 ? result : sys_openat(walk->at, name, O_PATH | O_NOFOLLOW, 0);
}

static int step(struct walk *walk, const char *name, enum tr_make make, unsigned mode, int *made) {
    struct tr_statx status;
    if (strcmp(name, ".") == 0) return 0;
    if (strcmp(name, "..") == 0) return to_parent(walk);
    long fd = open_component(walk, name, make, mode, made);
    if (fd < 0) return (int)fd;
    long error = sys_fstatx((int)fd, &status);
    if (error == 0 && S_ISLNK(status.mode)) error = follow(walk, (int)fd);
    else if (error == 0) error = append_done(walk, name);
    if (error < 0 || S_ISLNK(status.mode)) {
        sys_close((int)fd);
        return (int)error;
    }
    set_at(walk, fd);
    return 0;
}

/* Opens (O_PATH) what the path means below the root, making what is missing. Returns the fd or -errno. */
static int walk_path(int root, const char *path, enum tr_make make, unsigned mode, int *made) {
    char name[256];
    struct walk walk = {.root = root, .at = -1, .links = 0};
    if (strlen(path) >= sizeof walk.pending) return -ENAMETOOLONG;
    strcpy(walk.pending, path);
    int result = to_root(&walk);
    while (result == 0) {
        int length = next_name(&walk, name);
        if (length <= 0) {
            result = length;
            break;
        }
        result = step(&walk, name, make, mode, made);
    }
    if (result == 0) return walk.at;
    set_at(&walk, -1);
    return result;
}

static long open_in_root(int root, const char *path, int flags) {
    long fd = -EAGAIN;
    /* EAGAIN: something was renamed or mounted meanwhile, so the kernel cannot vouch for a `..`. */
    for (int attempt = 0; fd == -EAGAIN && attempt < ATTEMPTS; attempt++)
        fd = sys_openat2(root, path, (uint64_t)flags, 0, TR_RESOLVE_IN_ROOT);
    return fd;
}

/* Opens an existing path. With flags other than O_PATH the file itself is opened: pass O_NONBLOCK for what may be a FIFO. */
int tr_root_open(int root, const char *path, int flags) {
    struct tr_fd_path of_fd;
    long fd = open_in_root(root, path, flags);
    if (fd != -ENOSYS && fd != -EAGAIN && fd != -EPERM) return (int)fd;
    int at = walk_path(root, path, TR_MAKE_NOTHING, 0, NULL);
    if (at < 0) return at;
    struct tr_statx status;
    if (flags & O_DIRECTORY && sys_fstatx(at, &status) == 0 && !S_ISDIR(status.mode)) {
        sys_close(at);
        return -ENOTDIR;
    }
    if (flags & O_PATH) return at;
    fd = sys_openat(AT_FDCWD, tr_fd_path(at, &of_fd), flags & ~O_NOFOLLOW, 0);
    sys_close(at);
    return (int)fd;
}

/* O_PATH to what is there or was made now; the made parents have mode 0755. *made (may be NULL) tells. */
int tr_root_make(int root, const char *path, enum tr_make make, unsigned mode, int *made) {
    if (made != NULL) *made = 0;
    long fd = open_in_root(root, path, O_PATH);
    if (fd >= 0 || (fd != -ENOENT && fd != -ENOSYS && fd != -EAGAIN && fd != -EPERM)) return (int)fd;
    mode_t mask = umask(0);
    int result = walk_path(root, path, make, mode, made);
    umask(mask);
    return result;
}

/* O_PATH to the directory that holds the path's last component (made where missing), and that component. */
int tr_root_parent(int root, const char *path, char *name, size_t capacity) {
    char parent[TR_PATH_MAX];
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') length--;
    size_t start = length;
    while (start > 0 && path[start - 1] != '/') start--;
    if (length - start >= capacity || start >= sizeof parent) return -ENAMETOOLONG;
    memcpy(name, path + start, length - start);
    name[length - start] = 0;
    if (name[0] == 0 || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, "/") == 0) return -EINVAL;
    memcpy(parent, path, start);
    parent[start] = 0;
    return tr_root_make(root, start == 0 ? "/" : parent, TR_MAKE_DIRECTORY, 0755, NULL);
}
