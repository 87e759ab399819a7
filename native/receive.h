#ifndef TR_RECEIVE_H
#define TR_RECEIVE_H

#include <stddef.h>
#include <stdint.h>

#define EXPORT __attribute__((visibility("default")))

EXPORT int tinyrun_watch_signals(uint32_t signals);
EXPORT int tinyrun_receive(int fd, void *out, size_t capacity, int32_t *signal);

#endif
