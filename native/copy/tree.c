/*
 * The new files go into an empty directory of their own, which becomes the layer: what is below is only looked at. A directory
 * that the layers below have is made with their mode, owner and time, so that the layer changes nothing of it; one that
 * they do not have is just a directory (and never opaque: there is nothing for it to hide).
 */
#include "copy.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "../syscalls.h"

#define SMALL (256 * 1024)

/* A directory of the layer that is open, and the same of what is below; -1: it is not there. */
struct place {
    int upper, lower;
    char path[PATH_SIZE]; /* from the layer's root */
};

struct late_time {
    char *path;
    struct moment mtime;
};

struct copier {
    int upper, lower, source;
    struct place base, parent;
    char parent_rest[PATH_SIZE]; /* of `parent` below the base; what it was opened for */
    bool has_base, has_parent, base_is_new;
    char name[NAME_MAX + 1]; /* of the one file that the base record named */
    struct late_time *times;
    size_t time_count, time_room;
    struct twins twins;
    uint64_t files, bytes;
};

struct copier *copier_open(int upper, int lower, int source) {
    struct copier *copier = calloc(1, sizeof *copier);
    if (copier == NULL) return NULL;
    copier->upper = upper;
    copier->lower = lower;
    copier->source = source;
    copier->base.upper = copier->base.lower = copier->parent.upper = copier->parent.lower = -1;
    return copier;
}

uint64_t copier_files(const struct copier *copier) { return copier->files; }
uint64_t copier_bytes(const struct copier *copier) { return copier->bytes; }

static int remember_time(struct copier *copier, const char *path, struct moment mtime) {
    if (copier->time_count == copier->time_room) {
        size_t room = copier->time_room == 0 ? 256 : copier->time_room * 2;
        struct late_time *times = realloc(copier->times, room * sizeof *times);
        if (times == NULL) return -ENOMEM;
        copier->times = times;
        copier->time_room = room;
    }
    char *copy = strdup(*path == 0 ? "." : path);
    if (copy == NULL) return -ENOMEM;
    copier->times[copier->time_count++] = (struct late_time){copy, mtime};
    return 0;
}

static void leave(struct place *place) {
    if (place->upper >= 0) close(place->upper);
    if (place->lower >= 0) close(place->lower);
    place->upper = place->lower = -1;
}

static int begin(const struct copier *copier, struct place *place) {
    place->path[0] = 0;
    place->upper = fcntl(copier->upper, F_DUPFD_CLOEXEC, 3);
    place->lower = copier->lower < 0 ? -1 : openat(copier->lower, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return place->upper < 0 ? -errno : 0;
}

/* As what is below has it. */
static int mirror(struct copier *copier, const char *path, int upper, int lower) {
    struct stat status;
    if (fstat(lower, &status) < 0) return -errno;
    if (fchown(upper, status.st_uid, status.st_gid) < 0 || fchmod(upper, status.st_mode & 07777) < 0) return -errno;
    copy_attributes(lower, upper);
    return remember_time(copier, path, (struct moment){status.st_mtim.tv_sec, (uint32_t)status.st_mtim.tv_nsec});
}

static int make_owned(struct copier *copier, const char *path, int upper, const struct record *record) {
    uint32_t uid = record->uid == KEEP ? 0 : record->uid, gid = record->gid == KEEP ? 0 : record->gid;
    if (fchown(upper, uid, gid) < 0 || fchmod(upper, 0755) < 0) return -errno;
    return remember_time(copier, path, record->mtime);
}

/* A directory on the way to the base, which an earlier pass has made. */
static int keep_time(struct copier *copier, const char *path, int upper) {
    struct stat status;
    if (fstat(upper, &status) < 0) return -errno;
    return remember_time(copier, path, (struct moment){status.st_mtim.tv_sec, (uint32_t)status.st_mtim.tv_nsec});
}

/* Goes one directory down, which is made where it is missing. */
static int enter(struct copier *copier, struct place *place, const char *name, const struct record *record, bool *is_new) {
    int lower = -1;
    *is_new = false;
    if (place->lower >= 0) {
        lower = openat(place->lower, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (lower < 0 && errno != ENOENT) return errno == ELOOP ? -ENOTDIR : -errno;
    }
    bool made = mkdirat(place->upper, name, 0700) == 0;
    int error = made || errno == EEXIST ? 0 : -errno;
    int upper = error < 0 ? -1 : openat(place->upper, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (error == 0 && upper < 0) error = errno == ELOOP ? -ENOTDIR : -errno;
    size_t length = strlen(place->path);
    if (error == 0 && length + strlen(name) + 2 > PATH_SIZE) error = -ENAMETOOLONG;
    if (error == 0) {
        if (length > 0) place->path[length++] = '/';
        strcpy(place->path + length, name);
        *is_new = made && lower < 0;
        if (*is_new) error = make_owned(copier, place->path, upper, record);
        else if (made) error = mirror(copier, place->path, upper, lower);
        else if (!copier->has_base) error = keep_time(copier, place->path, upper);
    }
    if (error < 0) {
        if (upper >= 0) close(upper);
        if (lower >= 0) close(lower);
        return error;
    }
    leave(place);
    place->upper = upper;
    place->lower = lower;
    return 0;
}

static int descend(struct copier *copier, struct place *place, const char *path, const struct record *record, bool *is_new) {
    char name[NAME_MAX + 1];
    *is_new = false;
    for (;;) {
        path += strspn(path, "/");
        size_t length = strcspn(path, "/");
        if (length == 0) return 0;
        if (length > NAME_MAX) return -ENAMETOOLONG;
        memcpy(name, path, length);
        name[length] = 0;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) return -EINVAL;
        path += length;
        int error = enter(copier, place, name, record, is_new);
        if (error < 0) return error;
    }
}

static bool is_directory(const struct copier *copier, const char *real) {
    if (*real == 0) return true;
    int fd = copier->lower < 0 ? -1 : open_below(copier->lower, real, O_PATH | O_DIRECTORY);
    if (fd >= 0) close(fd);
    return fd >= 0;
}

/*
 * Where everything goes. 'B': a directory, 'N': a file of this name, unless a directory is there: then one of the name in
 * `source` below it.
 */
static int take_base(struct copier *copier, const struct record *record, struct trouble *trouble) {
    char real[PATH_SIZE];
    leave(&copier->parent);
    leave(&copier->base);
    copier->has_base = copier->has_parent = false;
    copier->name[0] = 0;
    int error = resolve_path(copier->lower, record->dest, real);
    if (error < 0) return trouble_with(trouble, "destination", -error, record->dest);
    if (record->type == 'N') {
        char *slash = strrchr(real, '/');
        char *name = slash == NULL ? real : slash + 1;
        bool into = is_directory(copier, real);
        const char *chosen = into ? record->source : name;
        if (strlen(chosen) > NAME_MAX || strchr(chosen, '/') != NULL || *chosen == 0 || strcmp(chosen, ".") == 0 || strcmp(chosen, "..") == 0)
            return trouble_with(trouble, "destination", ENAMETOOLONG, record->dest);
        strcpy(copier->name, chosen);
        if (!into) *(slash == NULL ? real : slash) = 0;
    }
    if ((error = begin(copier, &copier->base)) < 0) return trouble_with(trouble, "write", -error, "/");
    if (copier->base.lower >= 0 && (error = mirror(copier, "", copier->upper, copier->base.lower)) < 0)
        return trouble_with(trouble, "write", -error, "/");
    if (copier->base.lower < 0 && remember_time(copier, "", record->mtime) < 0) return trouble_with(trouble, "write", ENOMEM, "/");
    error = descend(copier, &copier->base, real, record, &copier->base_is_new);
    if (error == -ENOTDIR) return trouble_with(trouble, "not-directory", ENOTDIR, record->dest);
    if (error < 0) return trouble_with(trouble, "destination", -error, record->dest);
    copier->has_base = true;
    return 0;
}

/* The directory that the record's last component is in. */
static int open_parent(struct copier *copier, const struct record *record, const char **name) {
    const char *slash = strrchr(record->dest, '/');
    size_t length = slash == NULL ? 0 : (size_t)(slash - record->dest);
    *name = slash == NULL ? record->dest : slash + 1;
    if (record->dest[0] == 0) *name = copier->name;
    if (**name == 0 || strcmp(*name, ".") == 0 || strcmp(*name, "..") == 0 || strlen(*name) > NAME_MAX) return -EINVAL;
    if (copier->has_parent && strlen(copier->parent_rest) == length && memcmp(copier->parent_rest, record->dest, length) == 0) return 0;
    bool is_new;
    char rest[PATH_SIZE];
    if (length >= sizeof rest) return -ENAMETOOLONG;
    memcpy(rest, record->dest, length);
    rest[length] = 0;
    leave(&copier->parent);
    copier->has_parent = false;
    strcpy(copier->parent.path, copier->base.path);
    copier->parent.upper = fcntl(copier->base.upper, F_DUPFD_CLOEXEC, 3);
    copier->parent.lower = copier->base.lower < 0 ? -1 : fcntl(copier->base.lower, F_DUPFD_CLOEXEC, 3);
    if (copier->parent.upper < 0) return -errno;
    int error = descend(copier, &copier->parent, rest, record, &is_new);
    if (error < 0) return error;
    strcpy(copier->parent_rest, rest);
    copier->has_parent = true;
    return 0;
}

static int take_directory(struct copier *copier, const struct record *record, struct trouble *trouble) {
    struct place place = {-1, -1, ""};
    const char *name;
    bool is_new;
    if (record->dest[0] == 0) {
        /* One that was there keeps what it is. */
        if (!copier->base_is_new) return 0;
        if (fchown(copier->base.upper, record->uid, record->gid) < 0 || fchmod(copier->base.upper, record->mode) < 0 ||
            remember_time(copier, copier->base.path, record->mtime) < 0)
            return trouble_with(trouble, "write", errno, copier->base.path);
        return 0;
    }
    int error = open_parent(copier, record, &name);
    if (error == 0) {
        strcpy(place.path, copier->parent.path);
        place.upper = fcntl(copier->parent.upper, F_DUPFD_CLOEXEC, 3);
        place.lower = copier->parent.lower < 0 ? -1 : fcntl(copier->parent.lower, F_DUPFD_CLOEXEC, 3);
        error = place.upper < 0 ? -errno : enter(copier, &place, name, record, &is_new);
    }
    if (error == 0 && (fchown(place.upper, record->uid, record->gid) < 0 || fchmod(place.upper, record->mode) < 0)) error = -errno;
    if (error == 0) error = remember_time(copier, place.path, record->mtime);
    if (error == 0 && record->source_length > 0 && copier->source >= 0) {
        int from = open_below(copier->source, record->source, O_RDONLY | O_DIRECTORY);
        if (from >= 0) {
            copy_attributes(from, place.upper);
            close(from);
        }
    }
    leave(&place);
    if (error == -ENOTDIR) return trouble_with(trouble, "not-directory", ENOTDIR, record->dest);
    return error < 0 ? trouble_with(trouble, "write", -error, record->dest) : 0;
}

/* What is to be made must not be there: a file gives way, a directory does not. */
static int make_room(const struct copier *copier, const char *name) {
    struct stat status;
    const struct place *at = &copier->parent;
    if (at->lower >= 0 && fstatat(at->lower, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(status.st_mode)) return -EISDIR;
    if (unlinkat(at->upper, name, 0) == 0 || errno == ENOENT) return 0;
    return -errno;
}

static int copy_rest(int from, int to, uint64_t *bytes) {
    static char buffer[SMALL];
    for (;;) {
        ssize_t length = read(from, buffer, sizeof buffer);
        if (length == 0) return 0;
        if (length < 0) return -errno;
        for (ssize_t done = 0; done < length;) {
            ssize_t written = write(to, buffer + done, (size_t)(length - done));
            if (written < 0) return -errno;
            done += written;
        }
        *bytes += (uint64_t)length;
    }
}

/* Large ones within the kernel, which shares the blocks where the file system can. */
static int copy_data(int from, int to, off_t size, uint64_t *bytes) {
    while (size > SMALL) {
        ssize_t length = copy_file_range(from, NULL, to, NULL, 1u << 30, 0);
        if (length == 0) return 0;
        if (length < 0) break;
        *bytes += (uint64_t)length;
        size -= length;
    }
    return copy_rest(from, to, bytes);
}

static int full_path(const struct copier *copier, const char *name, char path[PATH_SIZE]) {
    const char *parent = copier->parent.path;
    int length = snprintf(path, PATH_SIZE, "%s%s%s", parent, *parent == 0 ? "" : "/", name);
    return length < 0 || length >= PATH_SIZE ? -ENAMETOOLONG : 0;
}

/* 1: the file was linked to the copy of its twin. */
static int link_twin(struct copier *copier, const struct stat *status, const char *name) {
    char path[PATH_SIZE];
    const char *known;
    int error = full_path(copier, name, path);
    if (error == 0) error = twins_find(&copier->twins, status->st_dev, status->st_ino, path, &known);
    if (error < 0 || known == NULL) return error;
    return linkat(copier->upper, known, copier->parent.upper, name, 0) == 0 ? 1 : -errno;
}

static int fill(int to, const struct record *record, const struct stat *status) {
    uint32_t uid = record->uid == KEEP ? status->st_uid : record->uid, gid = record->gid == KEEP ? status->st_gid : record->gid;
    const struct timespec times[2] = {{.tv_nsec = UTIME_NOW}, {record->mtime.seconds, record->mtime.nanoseconds}};
    /* The owner first: to change it takes set-user-id and capabilities away. */
    if (fchown(to, uid, gid) < 0 || fchmod(to, record->mode) < 0 || futimens(to, times) < 0) return -errno;
    return 0;
}

static int take_file(struct copier *copier, const struct record *record, const char *name, struct trouble *trouble) {
    struct stat status = {0};
    int from = -1, result = 0;
    if (record->type == 'F') {
        from = open_below(copier->source, record->source, O_RDONLY | O_NONBLOCK | O_NOCTTY);
        if (from < 0 || fstat(from, &status) < 0) {
            result = from < 0 ? -from : errno;
            if (from >= 0) close(from);
            return trouble_with(trouble, "read", result, record->source);
        }
        if (!S_ISREG(status.st_mode)) {
            close(from);
            return trouble_with(trouble, "changed", EINVAL, record->source);
        }
        if (status.st_nlink > 1) result = link_twin(copier, &status, name);
    }
    int to = -1;
    if (result == 0) {
        to = openat(copier->parent.upper, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (to < 0) result = -errno;
    }
    if (to >= 0 && from >= 0) {
        result = copy_data(from, to, status.st_size, &copier->bytes);
    } else if (to >= 0) {
        for (size_t done = 0; result == 0 && done < record->source_length;) {
            ssize_t written = write(to, record->source + done, record->source_length - done);
            if (written < 0) result = -errno;
            else done += (size_t)written;
        }
        copier->bytes += record->source_length;
    }
    if (to >= 0 && result == 0) result = fill(to, record, &status);
    if (to >= 0 && from >= 0 && result == 0) copy_attributes(from, to);
    if (to >= 0) close(to);
    if (from >= 0) close(from);
    return result < 0 ? trouble_with(trouble, "write", -result, record->dest) : 0;
}

static int take_other(struct copier *copier, const struct record *record, const char *name) {
    const int upper = copier->parent.upper;
    const struct timespec times[2] = {{.tv_nsec = UTIME_NOW}, {record->mtime.seconds, record->mtime.nanoseconds}};
    if (record->type == 'L') {
        if (symlinkat(record->source, upper, name) < 0) return -errno;
    } else {
        struct tr_statx status;
        int from = open_below(copier->source, record->source, O_PATH);
        if (from < 0) return from;
        long error = sys_fstatx(from, &status);
        close(from);
        if (error < 0) return (int)error;
        if (S_ISREG(status.mode) || S_ISDIR(status.mode) || S_ISLNK(status.mode)) return -EINVAL;
        if (mknodat(upper, name, (status.mode & S_IFMT) | (record->mode & 07777), makedev(status.rdev_major, status.rdev_minor)) < 0) return -errno;
        if (fchmodat(upper, name, record->mode & 07777, 0) < 0) return -errno;
    }
    if (fchownat(upper, name, record->uid, record->gid, AT_SYMLINK_NOFOLLOW) < 0) return -errno;
    return utimensat(upper, name, times, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

int copier_take(struct copier *copier, const struct record *record, struct trouble *trouble) {
    const char *name;
    if (record->type == 'B' || record->type == 'N') return take_base(copier, record, trouble);
    if (!copier->has_base) return trouble_with(trouble, "protocol", EPROTO, record->dest);
    if (record->type == 'D') return take_directory(copier, record, trouble);
    int error = open_parent(copier, record, &name);
    if (error == -ENOTDIR) return trouble_with(trouble, "not-directory", ENOTDIR, record->dest);
    if (error == 0) error = make_room(copier, name);
    if (error == -EISDIR) return trouble_with(trouble, "is-directory", EISDIR, record->dest);
    if (error < 0) return trouble_with(trouble, "write", -error, record->dest);
    copier->files += 1;
    if (record->type == 'F' || record->type == 'C') return take_file(copier, record, name, trouble);
    error = take_other(copier, record, name);
    return error < 0 ? trouble_with(trouble, "write", -error, record->dest) : 0;
}

int copier_finish(struct copier *copier, struct trouble *trouble) {
    /* In the order they were given: of a directory that was told twice the last one holds. */
    for (size_t i = 0; i < copier->time_count; i++) {
        const struct late_time *late = &copier->times[i];
        const struct timespec times[2] = {{.tv_nsec = UTIME_NOW}, {late->mtime.seconds, late->mtime.nanoseconds}};
        if (utimensat(copier->upper, late->path, times, AT_SYMLINK_NOFOLLOW) < 0) return trouble_with(trouble, "write", errno, late->path);
    }
    return 0;
}
