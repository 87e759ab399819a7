/*
 * tinyrun-monitor: the parent of one container, for as long as it lives.
 *
 *     tinyrun-monitor run            fds as in plan.h; carries out the plan, then pumps, waits, records, tears down
 *     tinyrun-monitor init PID       pid 1 of a container with --init (reaper.c)
 *     tinyrun-monitor recover FILE   the saved release and cleanup of a container whose monitor was killed
 *
 * The order at the end is what others rely on: output is in the log and with the clients, ports and names are free, state.json
 * says so, the clients hear of it; and only then comes what nobody waits for.
 */
#include "monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "interpreter.h"

/* Memory is given back when nothing has happened for so long. */
#define IDLE_MS 1000
/* A client that takes its output more slowly than this no longer holds up the record of the exit (Docker's time, too). */
#define EXIT_PATIENCE_MS 2000
#define FAREWELL_MS 1000
/* For what is left of a container that shares the host's pid namespace; `cleanup` kills with more patience. */
#define KILL_PATIENCE_MS 100
/* How long the interface of the life before may be in the way of the next one's. */
#define VETH_PATIENCE_MS 10000
#define VETH_RETRY_MS 100
/* Docker's exit code of a start that failed for no fault of the program. */
#define START_FAILED 128

static struct tr_plan plan;
static struct tr_context context = TR_CONTEXT_INIT;
static struct tr_state state;
static struct tr_watch death;
static uint64_t oom_kills_before;

static void release_memory(void) {
    tr_stdio_idle();
    tr_log_idle();
    tr_proxy_idle();
}

static struct tr_timer idle_timer = {0, release_memory};

static void nothing(void) {}

static struct tr_timer exit_timer = {0, nothing};

/* ---- ends of our own making ---- */

static bool forced; /* it is started again, whatever its policy says */
static bool final;  /* it is not, whatever it says */
static bool told;   /* the journal knows of the end */

/* It has not been waited for, so the number is still its own. */
static void kill_now(void) { kill(context.child, SIGKILL); }

/* `--timeout`; and where the stop signal was not enough. */
static struct tr_timer life_timer = {0, kill_now}, kill_timer = {0, kill_now};

static void ask_to_stop(void) {
    kill(context.child, (int)plan.care.stop_signal);
    kill_timer.at = tr_now() + (int64_t)plan.care.stop_timeout;
}

static void on_unhealthy(void) {
    switch (plan.care.on_unhealthy) {
    case TR_UNHEALTHY_KILL: kill_now(); break;
    case TR_UNHEALTHY_RESTART:
        forced = true;
        ask_to_stop();
        break;
    case TR_UNHEALTHY_STOP:
        final = true;
        ask_to_stop();
        break;
    default: break;
    }
}

static void turn(void) {
    if (tr_loop_turn() > 0) idle_timer.at = tr_now() + IDLE_MS;
}

/* `tinyrun:[0123456789ab]` in ps; the short name, of 15 characters, shows what fits. */
static void set_name(int argc, char **argv) {
    char name[32] = "tinyrun:[";
    size_t room = (size_t)(argv[argc - 1] + strlen(argv[argc - 1]) - argv[0]), length = strlen(plan.id);
    if (length > 12) length = 12;
    memcpy(name + 9, plan.id, length);
    memcpy(name + 9 + length, "]", 2);
    prctl(PR_SET_NAME, name);
    length += 10;
    if (length > room) length = room;
    memset(argv[0], 0, room);
    memcpy(argv[0], name, length);
}

static void fail(struct tr_failure *failure, int error) {
    failure->phase = TR_MONITOR;
    failure->op_index = -1;
    failure->error = -error;
}

/* What exists apart from the plan's ops: where the streams go. */
static int open_channels(void) {
    int error = tr_clients_open(TR_FD_CONTROL, plan.attach_socket, plan.stdin_once);
    if (error == 0 && plan.log_path != NULL)
        error = tr_log_open(&plan);
    return error;
}

/* The container has become its program: put it on record, tell the launcher, begin to serve. */
static int started(void) {
    int error;
    clock_gettime(CLOCK_REALTIME, &state.started);
    state.pid = context.child;
    state.start_time = tr_start_time(state.pid);
    state.monitor_pid = getpid();
    state.monitor_start_time = tr_start_time(state.monitor_pid);
    error = tr_state_write(plan.state_path, &state);
    if (error != 0) return error;
    error = tr_stdio_start(&plan, &context);
    if (error != 0) return error;
    /* Here and not by the launcher, which may be slower than the container's end. */
    if (!plan.exec) tr_journal(&plan, "start", "");
    tr_clients_started(state.pid, state.start_time);
    tr_proxy_start();
    tr_resolver_begin(&plan, &context);
    if (plan.care.lifetime > 0) {
        tr_timer_add(&life_timer);
        life_timer.at = tr_now_fresh() + (int64_t)plan.care.lifetime;
    }
    if (plan.care.health_interval > 0) {
        tr_timer_add(&kill_timer);
        tr_health_begin(&plan, state.pid, on_unhealthy);
    }
    return 0;
}

static void on_death(struct tr_watch *watch, uint32_t events) {
    siginfo_t info = {0};
    (void)events;
    if (waitid(P_PID, (id_t)context.child, &info, WEXITED) < 0) return;
    clock_gettime(CLOCK_REALTIME, &state.finished);
    state.exited = true;
    state.signal = info.si_code == CLD_EXITED ? 0 : info.si_status;
    state.exit_code = info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
    state.oom_killed = tr_oom_kills(plan.oom_path) > oom_kills_before;
    tr_watch_close(watch);
}

static void release(void) {
    struct tr_failure ignored;
    /* The plan closes the ports when nothing on the host leads to them any more: whoever gets one finds the firewall free of it. */
    tr_run_phase(&plan, TR_RELEASE, &context, &ignored);
    tr_proxy_stop();
}

static void clean_up(void) {
    struct tr_failure ignored;
    /* The file systems are unmounted here. */
    if (context.mount_namespace >= 0) close(context.mount_namespace);
    if (plan.policy_path != NULL) unlink(plan.policy_path);
    tr_run_phase(&plan, TR_CLEANUP, &context, &ignored);
    close(TR_FD_LOCK);
}

/* Waits until all output has been taken; false where time is up. */
static bool drain(int64_t deadline) {
    exit_timer.at = deadline;
    while (!tr_stdio_drained() || !tr_clients_flushed()) {
        if (deadline != 0 && tr_now() >= deadline) return false;
        turn();
    }
    return true;
}

/* In a pid namespace of its own all have died with the first; elsewhere the others would go on and keep the pipes open. */
static void kill_the_rest(void) {
    if ((plan.namespaces & CLONE_NEWPID) == 0 && plan.kill_path != NULL) tr_empty_cgroup(plan.kill_path, KILL_PATIENCE_MS);
}

/* `exec --with-client`: it has no purpose without whoever asked for it. With the group, which is all that it began in its session's foreground. */
static void end_with_client(void) {
    if (!plan.with_client || tr_launcher_listens()) return;
    plan.with_client = 0;
    kill(-context.child, SIGKILL);
    kill(context.child, SIGKILL);
}

/* ---- the container's lives ---- */

/* Until it is dead and what it has said has been taken; false where a client is too slow for that. */
static bool live(void) {
    idle_timer.at = tr_now() + IDLE_MS;
    while (!state.exited) {
        end_with_client();
        turn();
    }
    life_timer.at = kill_timer.at = 0;
    tr_health_end();
    tr_resolver_end();
    kill_the_rest();
    tr_stdio_exited();
    return drain(tr_now_fresh() + EXIT_PATIENCE_MS);
}

static int64_t ran_ms(void) {
    return (state.finished.tv_sec - state.started.tv_sec) * 1000 + (state.finished.tv_nsec - state.started.tv_nsec) / 1000000;
}

static bool is_wanted_again(void) {
    if (final || !tr_restart_wanted(&plan, state.exit_code, ran_ms(), forced)) return false;
    state.restarts++;
    return true;
}

/* Everybody is told of the end of this life. Nothing of it is left but what the next one uses again: ports, address, cgroup. */
static void rest(bool drained) {
    state.restarting = true;
    tr_state_write(plan.state_path, &state);
    if (!drained) {
        tr_clients_drop_slow();
        drain(tr_now_fresh() + EXIT_PATIENCE_MS);
    }
    tr_journal_end(&plan, &state);
    tr_clients_exited(&state);
    exit_timer.at = tr_now_fresh() + FAREWELL_MS;
    while (!tr_clients_flushed() && exit_timer.at != 0) turn();
    tr_clients_drop_slow();
    tr_clients_part();
    tr_proxy_pause();
    tr_stdio_close(&context);
    /* The overlay has one mount at a time. */
    if (context.mount_namespace >= 0) close(context.mount_namespace);
    context.mount_namespace = -1;
    if (plan.kill_path != NULL) tr_empty_cgroup(plan.kill_path, KILL_PATIENCE_MS);
}

static bool spawn(struct tr_failure *failure) {
    int error = tr_stdio_open(&plan, &context);
    if (error == 0) {
        oom_kills_before = tr_oom_kills(plan.oom_path);
        if (tr_spawn(&plan, &context, failure) != 0) return false;
        error = tr_watch_open(&death, context.pidfd, EPOLLIN, on_death);
        if (error == 0) error = started();
        if (error == 0) return true;
        kill(context.child, SIGKILL);
        waitpid(context.child, NULL, 0);
        tr_watch_close(&death);
    }
    fail(failure, error);
    return false;
}

/* The interface of the life before goes with its namespace, which the kernel clears away when it has time. */
static bool spawn_patiently(struct tr_failure *failure) {
    const int64_t deadline = tr_now_fresh() + VETH_PATIENCE_MS;
    while (!spawn(failure)) {
        tr_stdio_close(&context);
        if (failure->phase != TR_CONNECT || failure->error != EEXIST || tr_now() >= deadline) return false;
        exit_timer.at = tr_now_fresh() + VETH_RETRY_MS;
        while (exit_timer.at != 0) turn();
    }
    return true;
}

/* An attempt that fails counts as a life that failed at once. True when it runs again. */
static bool live_again(void) {
    struct tr_failure failure = {TR_MONITOR, -1, 0};
    struct tr_state before;
    while (tr_restart_wait(&plan, forced, turn)) {
        before = state;
        state.exited = state.restarting = state.oom_killed = false;
        state.failure.error = 0;
        if (spawn_patiently(&failure)) {
            forced = false;
            return true;
        }
        state = before;
        state.failure = failure;
        state.exit_code = START_FAILED;
        state.signal = 0;
        clock_gettime(CLOCK_REALTIME, &state.finished);
        state.started = state.finished;
        if (!is_wanted_again()) break;
        tr_state_write(plan.state_path, &state);
    }
    return false;
}

static void supervise(void) {
    bool drained;
    tr_timer_add(&idle_timer);
    tr_timer_add(&exit_timer);
    for (;;) {
        drained = live();
        if (!is_wanted_again()) break;
        rest(drained);
        if (live_again()) continue;
        state.restarting = false;
        told = drained = true;
        break;
    }
    release();
    /* First: who waits for the state to tell the end, such as `stop`, adds events of its own behind this one. */
    if (!told) tr_journal_end(&plan, &state);
    tr_state_write(plan.state_path, &state);
    if (drained) tr_clients_exited(&state);
    clean_up();
    if (!drained) {
        /* The launcher is still busy with the output. The container is over and gone for everyone else. */
        drain(0);
        tr_clients_exited(&state);
    }
    while (!tr_clients_flushed()) turn();
    tr_log_close();
    exit_timer.at = tr_now_fresh() + FAREWELL_MS;
    while (tr_clients_hang_up() && exit_timer.at != 0) turn();
}

/* prepare, clone and child, connect. Whatever has been acquired by then is released by the caller. */
static bool start(struct tr_failure *failure) {
    int error = tr_loop_open();
    if (error == 0) error = open_channels();
    if (error != 0) {
        fail(failure, error);
        return false;
    }
    context.plan = &plan;
    if (tr_run_phase(&plan, TR_PREPARE, &context, failure) != 0) return false;
    return spawn(failure);
}

static int run(int argc, char **argv) {
    struct tr_failure failure = {TR_MONITOR, -1, 0};
    sigset_t all;
    int error = tr_plan_open(TR_FD_PLAN, &plan);
    /* Nobody stops a container by signalling its monitor, and a client that is gone is no reason to die of SIGPIPE. */
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    if (error != 0) {
        fail(&failure, error);
        tr_clients_open(TR_FD_CONTROL, NULL, false);
        tr_clients_failed(&failure);
        return 1;
    }
    close(TR_FD_PLAN);
    fcntl(TR_FD_LOCK, F_SETFD, FD_CLOEXEC);
    prctl(PR_SET_DUMPABLE, 0);
    setsid();
    umask(0); /* a plan's modes mean what they say */
    if (chdir("/") < 0) return 1; /* a directory of the launcher's would stay busy */
    set_name(argc, argv);
    if (start(&failure)) {
        supervise();
        return 0;
    }
    tr_clients_failed(&failure);
    release();
    clean_up();
    return 1;
}

static int recover(const char *path) {
    struct tr_failure failure;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat status;
    int error = fd < 0 ? -errno : 0;
    /* One at a time: who came second would take away what a successor has already got, such as its port's entry in the firewall. */
    if (error == 0 && (flock(fd, LOCK_EX) < 0 || fstat(fd, &status) < 0)) error = -errno;
    if (error == 0 && status.st_nlink == 0) error = -ENOENT;
    if (error == 0) error = tr_plan_open(fd, &plan);
    if (error == -ENOENT) return 0; /* someone else has done it */
    if (error != 0) return 1;
    context.plan = &plan;
    tr_run_phase(&plan, TR_RELEASE, &context, &failure);
    return tr_run_phase(&plan, TR_CLEANUP, &context, &failure) == 0 ? 0 : 2;
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "run") == 0) return run(argc, argv);
    if (argc == 3 && strcmp(argv[1], "init") == 0) tr_reaper(atoi(argv[2]));
    if (argc == 3 && strcmp(argv[1], "recover") == 0) return recover(argv[2]);
    return 2;
}
