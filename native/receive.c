/*
 * Waiting for a monitor in the thread that runs JavaScript: for a command that has nothing else to do. Node's own way, a net.Socket and
 * listeners for signals, takes it longer to set up than a short container runs. The signals that go on to the container are
 * caught here, because no listener of Node's is called meanwhile.
 */
#include "receive.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include "syscalls.h"

#define SIGNALS 32

static int caught[2] = {-1, -1}; /* a byte for each signal, in the order in which they came */
static uint32_t watched;
static struct sigaction before[SIGNALS];

/* In whichever thread the kernel chose. */
static void catch(int signal) {
    int error = errno;
    unsigned char byte = (unsigned char)signal;
    /* Full: thousands are waiting already. */
    if (write(caught[1], &byte, 1) < 0) errno = error;
    errno = error;
}

static void restore(void) {
    for (int signal = 1; signal < SIGNALS; signal++)
        if (watched >> signal & 1) sigaction(signal, &before[signal], NULL);
    watched = 0;
}

/* Bit n: signal n is caught from now on; 0: all as it was before. */
int tinyrun_watch_signals(uint32_t signals) {
    struct sigaction action = {.sa_handler = catch, .sa_flags = SA_RESTART};
    /* Not given back for a moment: the one that comes then would end the process. */
    if (signals == watched) return 0;
    restore();
    if (signals == 0) return 0;
    if (caught[0] < 0 && syscall(SYS_pipe2, caught, O_CLOEXEC | O_NONBLOCK) < 0) return -errno;
    sigfillset(&action.sa_mask);
    for (int signal = 1; signal < SIGNALS; signal++) {
        if ((signals >> signal & 1) == 0) continue;
        if (sigaction(signal, &action, &before[signal]) < 0) {
            int error = errno;
            restore();
            return -error;
        }
        watched |= 1U << signal;
    }
    return 0;
}

/* Bytes from fd, 0 at its end; or -EINTR with the number of a watched signal that came before them. */
int tinyrun_receive(int fd, void *out, size_t capacity, int32_t *signal) {
    struct pollfd sources[2] = {{fd, POLLIN, 0}, {caught[0], POLLIN, 0}};
    for (;;) {
        unsigned char byte;
        if (poll(sources, 2, -1) < 0) {
            if (errno == EINTR) continue;
            return -errno;
        }
        if ((sources[1].revents & POLLIN) != 0 && sys_read(caught[0], &byte, 1) == 1) {
            *signal = byte;
            return -EINTR;
        }
        if (sources[0].revents == 0) continue;
        long count = sys_read(fd, out, capacity);
        if (count != -EINTR && count != -EAGAIN) return (int)count;
    }
}
