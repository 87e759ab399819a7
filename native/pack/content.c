/* The bytes of regular files. A file that shrinks meanwhile is filled with zeros, one that grows is cut: the header is out. */
#include "pack.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Fewer bytes of holes than this are written as zeros: every reader of tar understands those. */
#define HOLES_WORTH (1024 * 1024)

static int copy(struct output *output, int fd, uint64_t from, uint64_t length, const char *path, struct failure *failure) {
    while (length > 0) {
        uint8_t *room;
        size_t space;
        if (output_room(output, &room, &space, failure) < 0) return -1;
        ssize_t n = pread(fd, room, space < length ? space : (size_t)length, (off_t)from);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail_errno(failure, errno, "read", path);
        if (n == 0) return output_zeros(output, length, failure);
        output_filled(output, (size_t)n);
        from += (uint64_t)n, length -= (uint64_t)n;
    }
    return 0;
}

int content_write(struct output *output, int fd, uint64_t size, const char *path, struct failure *failure) {
    if (copy(output, fd, 0, size, path, failure) < 0) return -1;
    return output_pad(output, failure);
}

bool holes_find(int fd, uint64_t size, struct holes *holes) {
    holes->count = 0, holes->data = 0;
    for (uint64_t at = 0; at < size;) {
        off_t data = lseek(fd, (off_t)at, SEEK_DATA);
        if (data < 0 && errno == ENXIO) break; /* a hole up to the end */
        off_t hole = data < 0 ? -1 : lseek(fd, data, SEEK_HOLE);
        if (data < 0 || hole < 0) return false;
        if ((uint64_t)data >= size) break;
        if ((uint64_t)hole > size) hole = (off_t)size;
        if (holes->count == HOLES_EXTENTS) return false;
        holes->extents[holes->count++] = (struct extent){(uint64_t)data, (uint64_t)(hole - data)};
        holes->data += (uint64_t)(hole - data);
        at = (uint64_t)hole;
    }
    return size - holes->data >= HOLES_WORTH;
}

/* GNU's format 1.0: in front of the data, padded to a block: the number of extents, then offset and length of each, a line each.
   The last one, empty, stands where the file ends. */
static size_t map_of(const struct holes *holes, uint64_t size, char *text, size_t capacity) {
    size_t length = (size_t)snprintf(text, capacity, "%zu\n", holes->count + 1);
    for (size_t i = 0; i < holes->count; i++)
        length += (size_t)snprintf(text + length, capacity - length, "%llu\n%llu\n", (unsigned long long)holes->extents[i].offset,
                                   (unsigned long long)holes->extents[i].length);
    return length + (size_t)snprintf(text + length, capacity - length, "%llu\n0\n", (unsigned long long)size);
}

static char map[(HOLES_EXTENTS + 1) * 44];

uint64_t holes_map_length(const struct holes *holes, uint64_t size) {
    return (map_of(holes, size, map, sizeof map) + BLOCK_SIZE - 1) / BLOCK_SIZE * BLOCK_SIZE;
}

int holes_write(struct output *output, int fd, const struct holes *holes, uint64_t size, const char *path, struct failure *failure) {
    size_t length = map_of(holes, size, map, sizeof map);
    if (output_write(output, map, length, failure) < 0 || output_pad(output, failure) < 0) return -1;
    for (size_t i = 0; i < holes->count; i++)
        if (copy(output, fd, holes->extents[i].offset, holes->extents[i].length, path, failure) < 0) return -1;
    return output_pad(output, failure);
}
