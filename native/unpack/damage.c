/* What the verifier remembers: differences that may still be explained, and the inodes that belong to an entry. */
#include "verify.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int damage_note(struct verifier *verifier, const char *path, const char *target, struct failure *failure, const char *format, ...) {
    char what[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    if (verifier->damage_count == DAMAGES_KEPT) {
        verifier->uncounted++;
        return 0;
    }
    struct damage damage = {strdup(path), target == NULL ? NULL : strdup(target), strdup(what)};
    if (damage.path == NULL || damage.what == NULL || (target != NULL && damage.target == NULL))
        return fail(failure, FAIL_IO, "out of memory");
    verifier->damages[verifier->damage_count++] = damage;
    return 0;
}

static bool is_below(const char *path, const char *directory, size_t length) {
    return strncmp(path, directory, length) == 0 && path[length] == '/';
}

void damage_forget(struct verifier *verifier, const char *path, bool is_directory) {
    size_t kept = 0, length = strlen(path);
    for (size_t i = 0; i < verifier->damage_count; i++) {
        struct damage *damage = &verifier->damages[i];
        bool explained = strcmp(damage->path, path) == 0 || (damage->target != NULL && strcmp(damage->target, path) == 0) ||
                         (!is_directory && is_below(damage->path, path, length));
        if (!explained) {
            verifier->damages[kept++] = *damage;
            continue;
        }
        free(damage->path);
        free(damage->target);
        free(damage->what);
    }
    verifier->damage_count = kept;
}

static size_t place_of(const struct inodes *set, uint64_t number) {
    size_t at = (size_t)(number * 0x9e3779b97f4a7c15ull >> 20) & (set->capacity - 1);
    while (set->numbers[at] != 0 && set->numbers[at] != number) at = (at + 1) & (set->capacity - 1);
    return at;
}

static int grow(struct inodes *set, struct failure *failure) {
    struct inodes larger = {.capacity = set->capacity == 0 ? 4096 : 2 * set->capacity, .count = set->count};
    larger.numbers = calloc(larger.capacity, sizeof *larger.numbers);
    if (larger.numbers == NULL) return fail(failure, FAIL_IO, "out of memory");
    for (size_t i = 0; i < set->capacity; i++)
        if (set->numbers[i] != 0) larger.numbers[place_of(&larger, set->numbers[i])] = set->numbers[i];
    free(set->numbers);
    *set = larger;
    return 0;
}

int inodes_add(struct inodes *set, uint64_t number, struct failure *failure) {
    if (2 * set->count >= set->capacity && grow(set, failure) < 0) return -1;
    size_t at = place_of(set, number);
    if (set->numbers[at] == 0) set->count++;
    set->numbers[at] = number;
    return 0;
}

bool inodes_have(const struct inodes *set, uint64_t number) {
    return set->capacity > 0 && set->numbers[place_of(set, number)] == number && number != 0;
}
