/*
 * pid 1 of a container with --init: follows one child, reaps whatever else dies, hands every signal on, ends as the child did.
 * The same binary as the monitor, executed from a sealed copy.
 */
#include "monitor.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* Not handed on: what is ours, what speaks of our own faults, and what the kernel sends to a background process for touching the terminal. */
static bool is_ours(int number) {
    switch (number) {
    case SIGCHLD:
    case SIGSEGV:
    case SIGBUS:
    case SIGFPE:
    case SIGILL:
    case SIGTRAP:
    case SIGSYS:
    case SIGABRT:
    case SIGTTIN:
    case SIGTTOU: return true;
    default: return false;
    }
}

static void reap(pid_t child) {
    int status, code = -1;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        if (pid == child) code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    /* All that are left die with pid 1. */
    if (code >= 0) _exit(code);
}

void tr_reaper(pid_t child) {
    sigset_t all;
    siginfo_t info;
    prctl(PR_SET_NAME, "tinyrun-init");
    /* Blocked signals reach even pid 1, which the kernel otherwise spares all that it does not catch. */
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    for (;;) {
        int number;
        /* First: the child may have died before the signals were blocked. */
        reap(child);
        number = sigwaitinfo(&all, &info);
        if (number > 0 && !is_ours(number)) kill(child, number);
    }
}
