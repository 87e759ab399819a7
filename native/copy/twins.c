/* Files with several names: the second name of a file in the source becomes a second name of its copy. */
#include "copy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The slot of a file, or the free one for it. `room` is a power of two, and some of it is free. */
static struct twin *find(struct twin *slots, size_t room, uint64_t device, uint64_t inode) {
    for (size_t at = (size_t)(inode * 0x9e3779b97f4a7c15u >> 20);; at++) {
        struct twin *slot = &slots[at & (room - 1)];
        if (slot->path == NULL || (slot->inode == inode && slot->device == device)) return slot;
    }
}

static int grow(struct twins *twins) {
    if (twins->count * 2 < twins->room) return 0;
    size_t room = twins->room == 0 ? 256 : twins->room * 2;
    struct twin *slots = calloc(room, sizeof *slots);
    if (slots == NULL) return -ENOMEM;
    for (size_t i = 0; i < twins->room; i++) {
        const struct twin *old = &twins->slots[i];
        if (old->path != NULL) *find(slots, room, old->device, old->inode) = *old;
    }
    free(twins->slots);
    twins->slots = slots;
    twins->room = room;
    return 0;
}

int twins_find(struct twins *twins, uint64_t device, uint64_t inode, const char *path, const char **known) {
    int error = grow(twins);
    if (error < 0) return error;
    struct twin *slot = find(twins->slots, twins->room, device, inode);
    *known = slot->path;
    if (slot->path != NULL) return 0;
    *slot = (struct twin){device, inode, strdup(path)};
    twins->count += 1;
    return slot->path == NULL ? -ENOMEM : 0;
}
