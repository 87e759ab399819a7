/*
 * What is below a path of the source, one record per name, depth first:
 *
 *     type mode uid gid size seconds nanoseconds digest path [target]
 *
 * separated by NUL, the list ended by an empty field. `digest` is the sha256 of a file's content and of its
 * extended attributes, if any, in hex; or empty. Paths are
 * from the source's root.
 */
#include "copy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "../syscalls.h"
#include "../unpack/sha256.h"

#define DEPTH_MAX 512

struct listing {
    FILE *out;
    bool with_digests;
    struct trouble *trouble;
};

static char letter_of(mode_t mode) {
    if (S_ISDIR(mode)) return 'd';
    if (S_ISREG(mode)) return 'f';
    return S_ISLNK(mode) ? 'l' : 's';
}

static void hash_attributes(int fd, struct sha256 *hash) {
    static char names[65536], value[65536];
    ssize_t length = flistxattr(fd, names, sizeof names);
    for (ssize_t at = 0; at < length; at += (ssize_t)strlen(names + at) + 1) {
        if (!is_copied_attribute(names + at)) continue;
        ssize_t size = fgetxattr(fd, names + at, value, sizeof value);
        sha256_update(hash, names + at, strlen(names + at) + 1);
        if (size > 0) sha256_update(hash, value, (size_t)size);
    }
}

static int digest_file(int directory, const char *name, char hex[65]) {
    static char buffer[256 * 1024];
    struct sha256 hash;
    int fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0) return -errno;
    sha256_init(&hash);
    ssize_t length;
    while ((length = read(fd, buffer, sizeof buffer)) > 0) sha256_update(&hash, buffer, (size_t)length);
    int error = length < 0 ? -errno : 0;
    /* A program with a capability is another one than the same without. */
    hash_attributes(fd, &hash);
    close(fd);
    sha256_hex(&hash, hex);
    return error;
}

static int list_one(struct listing *listing, int directory, const char *name, const char *path, struct stat *status) {
    char digest[65] = "", target[PATH_SIZE] = "";
    if (fstatat(directory, name, status, AT_SYMLINK_NOFOLLOW) < 0) return -errno;
    if (S_ISREG(status->st_mode) && listing->with_digests) {
        int error = digest_file(directory, name, digest);
        if (error < 0) return error;
    }
    if (S_ISLNK(status->st_mode)) {
        ssize_t length = readlinkat(directory, name, target, sizeof target - 1);
        if (length < 0) return -errno;
        target[length] = 0;
    }
    fprintf(listing->out, "%c%c%u%c%u%c%u%c%lld%c%lld%c%ld%c%s%c%s%c%s%c", letter_of(status->st_mode), 0, (unsigned)status->st_mode & 07777, 0,
            (unsigned)status->st_uid, 0, (unsigned)status->st_gid, 0, (long long)status->st_size, 0, (long long)status->st_mtim.tv_sec, 0,
            (long)status->st_mtim.tv_nsec, 0, digest, 0, path, 0, target, 0);
    return 0;
}

static int compare_names(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int list_directory(struct listing *listing, int directory, const char *path, int depth, int level);

static int list_child(struct listing *listing, int directory, const char *name, const char *parent, int depth, int level) {
    char path[PATH_SIZE];
    struct stat status;
    int length = snprintf(path, sizeof path, "%s%s%s", parent, *parent == 0 ? "" : "/", name);
    if (length < 0 || length >= (int)sizeof path) return trouble_with(listing->trouble, "read", ENAMETOOLONG, parent);
    int error = list_one(listing, directory, name, path, &status);
    if (error < 0) return trouble_with(listing->trouble, "read", -error, path);
    if (!S_ISDIR(status.st_mode) || depth == 0) return 0;
    int below = openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (below < 0) return trouble_with(listing->trouble, "read", errno, path);
    error = list_directory(listing, below, path, depth - 1, level + 1);
    close(below);
    return error;
}

static int list_directory(struct listing *listing, int directory, const char *path, int depth, int level) {
    struct dirent **names;
    if (level > DEPTH_MAX) return trouble_with(listing->trouble, "read", ELOOP, path);
    int count = scandirat(directory, ".", &names, NULL, compare_names);
    if (count < 0) return trouble_with(listing->trouble, "read", errno, path);
    int error = 0;
    for (int i = 0; i < count; i++) {
        const char *name = names[i]->d_name;
        if (error == 0 && strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
            error = list_child(listing, directory, name, path, depth, level);
        free(names[i]);
    }
    free(names);
    return error;
}

/* The path itself first, under its real name. Nothing, where it is not there. */
int list_tree(int root, const char *path, bool with_digests, int depth, FILE *out, struct trouble *trouble) {
    struct listing listing = {out, with_digests, trouble};
    char real[PATH_SIZE];
    int error = resolve_path(root, path, real);
    if (error < 0) return trouble_with(trouble, "read", -error, path);
    struct stat status;
    char *slash = strrchr(real, '/');
    char parent[PATH_SIZE];
    strcpy(parent, real);
    parent[slash == NULL ? 0 : slash - real] = 0;
    int directory = open_below(root, parent, O_RDONLY | O_DIRECTORY);
    if (directory == -ENOENT || directory == -ENOTDIR) {
        fputc(0, out);
        return 0;
    }
    if (directory < 0) return trouble_with(trouble, "read", -directory, path);
    const char *name = *real == 0 ? "." : slash == NULL ? real : slash + 1;
    error = list_one(&listing, directory, name, real, &status);
    if (error == 0 && S_ISDIR(status.st_mode) && depth != 0) {
        int below = openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        error = below < 0 ? -errno : list_directory(&listing, below, real, depth < 0 ? -1 : depth - 1, 1);
        if (below >= 0) close(below);
    } else if (error == -ENOENT) error = 0;
    close(directory);
    if (error < -1) return trouble_with(trouble, "read", -error, path);
    fputc(0, out);
    return error;
}
