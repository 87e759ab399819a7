/* Files with several names, by device and inode: a hash table with open addressing. */
#include "pack.h"

#include <stdlib.h>
#include <string.h>

struct link {
    dev_t device;
    ino_t inode;
    char *name; /* NULL: the slot is free */
};

static struct link *slot_of(struct link *slots, size_t capacity, dev_t device, ino_t inode) {
    uint64_t hash = ((uint64_t)inode ^ (uint64_t)device << 32) * 0x9e3779b97f4a7c15ull;
    for (size_t at = (size_t)(hash >> 20);; at++) {
        struct link *slot = &slots[at & (capacity - 1)];
        if (slot->name == NULL || (slot->inode == inode && slot->device == device)) return slot;
    }
}

static int grow(struct links *links, struct failure *failure) {
    size_t capacity = links->capacity == 0 ? 1024 : 2 * links->capacity;
    struct link *slots = calloc(capacity, sizeof *slots);
    if (slots == NULL) return fail(failure, FAIL_IO, "out of memory");
    for (size_t i = 0; i < links->capacity; i++) {
        const struct link *link = &links->slots[i];
        if (link->name != NULL) *slot_of(slots, capacity, link->device, link->inode) = *link;
    }
    free(links->slots);
    links->slots = slots, links->capacity = capacity;
    return 0;
}

const char *links_find(struct links *links, const struct stat *st, const char *name, struct failure *failure) {
    if (2 * links->count >= links->capacity && grow(links, failure) < 0) return NULL;
    struct link *slot = slot_of(links->slots, links->capacity, st->st_dev, st->st_ino);
    if (slot->name != NULL) return slot->name;
    if ((slot->name = strdup(name)) == NULL) return fail(failure, FAIL_IO, "out of memory"), NULL;
    slot->device = st->st_dev, slot->inode = st->st_ino;
    links->count++;
    return NULL;
}
