/* Fuzz target: questions that a container's programs write. `make -C native fuzz-names`, then run it with a time limit. */
#include <stdlib.h>
#include <string.h>

#include "resolver.h"

char *tr_put_text(char *out, const char *text) {
    size_t length = strlen(text);
    memcpy(out, text, length + 1);
    return out + length;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const none[] = {NULL};
    const char *directories[] = {getenv("NAMES_DIR"), NULL};
    const struct tr_op_resolver setup = {directories[0] == NULL ? none : directories, none, "/etc/resolv.conf", "10.0.0.1"};
    if (size < TR_DNS_HEADER || size > TR_QUERY_MAX) return 0;
    /* On the heap, so that a byte beyond the room is seen. */
    uint8_t *message = malloc(TR_ANSWER_MAX);
    memcpy(message, data, size);
    size_t length = tr_dns_answer(&setup, message, size);
    if (length > TR_ANSWER_MAX || (length == 0 && memcmp(message, data, size) != 0)) abort();
    free(message);
    return 0;
}
