/* Checks a plan's bytes and carries out its lists. */
#include <linux/sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "interpreter.h"
#include "syscalls.h"

static const char *const op_slots[TR_OP_END] = {
#define TR_OP_SLOTS(code, name, slots) [code] = slots,
    TR_OPS(TR_OP_SLOTS)
#undef TR_OP_SLOTS
};

/* Strings need no search for their end: the data region is not empty and its last byte is NUL. */
static int relocate_string(unsigned char *base, const struct tr_header *header, uint64_t *slot, int may_be_absent) {
    if (*slot == 0) return may_be_absent ? 0 : -EINVAL;
    if (*slot < header->data_at || *slot >= header->size) return -EINVAL;
    *slot = (uint64_t)(uintptr_t)(base + *slot);
    return 0;
}

/*
 * Relocates a list's references. A slot that was relocated before holds an address, which is beyond any
 * plan's size: lists that overlap are refused, and the work is bounded by the region's size.
 */
static int relocate_list(unsigned char *base, const struct tr_header *header, uint64_t *slot) {
    if (*slot < header->lists_at || *slot % 8 != 0) return -EINVAL;
    for (uint64_t at = *slot;; at += 8) {
        if (at >= header->data_at || header->data_at - at < 8) return -EINVAL;
        uint64_t *reference = (uint64_t *)(void *)(base + at);
        if (*reference == 0) break;
        if (relocate_string(base, header, reference, 0) < 0) return -EINVAL;
    }
    *slot = (uint64_t)(uintptr_t)(base + *slot);
    return 0;
}

static int relocate_bytes(unsigned char *base, const struct tr_header *header, uint64_t *slot, uint64_t length) {
    if (*slot < header->data_at || *slot > header->size || length > header->size - *slot) return -EINVAL;
    *slot = (uint64_t)(uintptr_t)(base + *slot);
    return 0;
}

static int check_op(unsigned char *base, const struct tr_header *header, struct tr_op *op) {
    if (op->code == 0 || op->code >= TR_OP_END || op_slots[op->code] == NULL || op->flags > TR_OPTIONAL) return -EINVAL;
    uint64_t *slot = op->slot;
    for (const char *kind = op_slots[op->code]; *kind != 0; kind++, slot++) {
        int error = 0;
        if (*kind == 's' || *kind == 'o') error = relocate_string(base, header, slot, *kind == 'o');
        if (*kind == 'l') error = relocate_list(base, header, slot);
        if (*kind == 'b') {
            error = relocate_bytes(base, header, slot, slot[1]);
            slot++;
        }
        if (error < 0) return error;
    }
    return 0;
}

static int check_phases(unsigned char *base, const struct tr_header *header, struct tr_plan *plan) {
    for (int phase = 0; phase < TR_PHASES; phase++) {
        uint64_t at = header->phase[phase].at, count = header->phase[phase].count;
        if (at < sizeof *header || at % 8 != 0 || at > header->lists_at) return -EINVAL;
        if (count > (header->lists_at - at) / sizeof(struct tr_op)) return -EINVAL;
        struct tr_op *ops = (struct tr_op *)(void *)(base + at);
        for (uint64_t index = 0; index < count; index++)
            if (check_op(base, header, &ops[index]) < 0) return -EINVAL;
        plan->phase[phase].ops = ops;
        plan->phase[phase].count = count;
    }
    return 0;
}

static int check_header(unsigned char *base, size_t size, struct tr_header *header) {
    if (header->magic != TR_PLAN_MAGIC || header->version != TR_PLAN_VERSION || header->size != size) return -EINVAL;
    if (header->lists_at < sizeof *header || header->lists_at % 8 != 0) return -EINVAL;
    if (header->lists_at > header->data_at || header->data_at % 8 != 0 || header->data_at >= size) return -EINVAL;
    if (base[size - 1] != 0) return -EINVAL;
    const uint64_t known = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWUSER;
    return header->namespaces & ~known ? -EINVAL : 0;
}

static int check_plan(unsigned char *base, size_t size, struct tr_plan *plan) {
    struct tr_header *header = (struct tr_header *)(void *)base;
    if (check_header(base, size, header) < 0) return -EINVAL;
    uint64_t *const references[] = {&header->id,       &header->state_path, &header->log_path,        &header->attach_socket,
                                    &header->oom_path, &header->kill_path,  &header->cgroup_directory, &header->journal_path,
                                    &header->journal_actor, &header->policy_path, &header->health_path,
                                    &header->freezer_path, &header->log_attributes};
    for (size_t index = 0; index < sizeof references / sizeof references[0]; index++)
        if (relocate_string(base, header, references[index], index >= 2) < 0) return -EINVAL;
    if (check_phases(base, header, plan) < 0) return -EINVAL;
    plan->id = (const char *)(uintptr_t)header->id;
    plan->state_path = (const char *)(uintptr_t)header->state_path;
    plan->log_path = (const char *)(uintptr_t)header->log_path;
    plan->attach_socket = (const char *)(uintptr_t)header->attach_socket;
    plan->oom_path = (const char *)(uintptr_t)header->oom_path;
    plan->kill_path = (const char *)(uintptr_t)header->kill_path;
    plan->cgroup_directory = (const char *)(uintptr_t)header->cgroup_directory;
    plan->journal_path = (const char *)(uintptr_t)header->journal_path;
    plan->journal_actor = (const char *)(uintptr_t)header->journal_actor;
    plan->policy_path = (const char *)(uintptr_t)header->policy_path;
    plan->health_path = (const char *)(uintptr_t)header->health_path;
    plan->freezer_path = (const char *)(uintptr_t)header->freezer_path;
    plan->log_format = header->log_format;
    plan->log_attributes = (const char *)(uintptr_t)header->log_attributes;
    plan->care = header->care;
    plan->log_max_bytes = header->log_max_bytes;
    plan->log_max_files = header->log_max_files;
    plan->tty = (header->monitor_flags & TR_MONITOR_TTY) != 0;
    plan->open_stdin = (header->monitor_flags & TR_MONITOR_OPEN_STDIN) != 0;
    plan->stdin_once = (header->monitor_flags & TR_MONITOR_STDIN_ONCE) != 0;
    plan->with_client = (header->monitor_flags & TR_MONITOR_WITH_CLIENT) != 0;
    plan->exec = (header->monitor_flags & TR_MONITOR_EXEC) != 0;
    plan->removes = (header->monitor_flags & TR_MONITOR_REMOVES) != 0;
    plan->namespaces = header->namespaces;
    plan->memory = base;
    plan->size = size;
    return 0;
}

/* Read, not mapped: nobody can change or truncate it under us, and relocation would copy the pages anyway. */
static int read_plan(int fd, unsigned char *base, size_t size) {
    for (size_t done = 0; done < size;) {
        ssize_t count = pread(fd, base + done, size - done, (off_t)done);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return -errno;
        if (count == 0) return -EINVAL;
        done += (size_t)count;
    }
    return 0;
}

int tr_plan_open(int fd, struct tr_plan *plan) {
    struct stat status;
    memset(plan, 0, sizeof *plan);
    if (fstat(fd, &status) < 0) return -errno;
    if (status.st_size < (off_t)sizeof(struct tr_header)) return -EINVAL;
    if (status.st_size > (off_t)TR_PLAN_MAX) return -EFBIG;
    size_t size = (size_t)status.st_size;
    unsigned char *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) return -errno;
    int error = read_plan(fd, base, size);
    if (error == 0) error = check_plan(base, size, plan);
    if (error < 0) {
        munmap(base, size);
        memset(plan, 0, sizeof *plan);
    }
    return error;
}

static int missing_is_fine(long result) {
    return result == -ENOENT ? 0 : (int)result;
}

/* Ops on the host's files and network: the only ones of the monitor's phases. `handled` is 0 for all others. */
static int run_host_op(struct tr_run *run, const struct tr_op *op, int *handled) {
    *handled = 1;
    switch (op->code) {
    case TR_OP_mkdir:
        return tr_make_directory(op->mkdir.path, (unsigned)op->mkdir.mode, op->mkdir.existing != 0);
    case TR_OP_writeFile:
        return tr_write_file(op->write_file.path, op->write_file.text, op->write_file.create != 0);
    case TR_OP_unlink:
        return missing_is_fine(sys_unlinkat(AT_FDCWD, op->path.path, 0));
    case TR_OP_rmdir:
        return missing_is_fine(tr_rmdir(op->rmdir.path, (unsigned)op->rmdir.patience_ms));
    case TR_OP_rename:
        return (int)sys_renameat(AT_FDCWD, op->rename.from, AT_FDCWD, op->rename.to);
    case TR_OP_removeTree:
        return missing_is_fine(tr_remove_tree(op->path.path));
    case TR_OP_killCgroup:
        return missing_is_fine(tr_kill_cgroup(op->kill_cgroup.path, (unsigned)op->kill_cgroup.patience_ms));
    case TR_OP_deviceFilter:
        return tr_op_device_filter(&op->device_filter);
    case TR_OP_netlink:
        return tr_op_netlink_run(run, op);
    case TR_OP_listen:
        return run->phase == TR_CHILD ? -EINVAL : tr_listen(run->context, &op->listen);
    case TR_OP_closePorts:
        if (run->phase == TR_CHILD) return -EINVAL;
        tr_proxy_stop();
        return 0;
    default:
        *handled = 0;
        return 0;
    }
}

static int run_root_op(struct tr_run *run, const struct tr_op *op, int *handled) {
    *handled = 1;
    switch (op->code) {
    case TR_OP_rootPropagation:
        return tr_op_root_propagation(&op->root_propagation);
    case TR_OP_overlay:
        return tr_op_overlay_run(run, &op->overlay);
    case TR_OP_bindRoot:
        return tr_op_bind_root(run, &op->bind_root);
    case TR_OP_mount:
        return tr_op_mount_run(run, &op->mount);
    case TR_OP_bind:
        return tr_op_bind_run(run, &op->bind);
    case TR_OP_bindForeign:
        return tr_op_bind_foreign(run, &op->bind_foreign);
    case TR_OP_bindBelow:
        return tr_op_bind_below(run, &op->bind_below);
    case TR_OP_mkdirInRoot:
        return tr_op_mkdir_in_root(run, &op->mkdir_in_root);
    case TR_OP_symlinkInRoot:
        return tr_op_symlink_in_root(run, &op->symlink_in_root);
    case TR_OP_mknod:
        return tr_op_mknod_run(run, &op->mknod);
    case TR_OP_pivotRoot:
        return tr_op_pivot_root(run);
    case TR_OP_readonlyRoot:
        return tr_op_readonly_root(run);
    case TR_OP_maskPath:
        return tr_op_mask_path(run, op->path.path);
    case TR_OP_readonlyPath:
        return tr_op_readonly_path(run, op->path.path);
    case TR_OP_sysctl:
        return tr_op_sysctl_run(run, &op->sysctl);
    case TR_OP_console:
        return tr_op_console_run(run, &op->console);
    default:
        *handled = 0;
        return 0;
    }
}

static long set_name(long number, const char *name) {
    return syscall(number, name, strlen(name)) < 0 ? -errno : 0;
}

static int run_process_op(struct tr_run *run, const struct tr_op *op) {
    switch (op->code) {
    case TR_OP_joinNamespace:
        return tr_op_join(run, &op->join);
    case TR_OP_unshare:
        return (int)sys_unshare((int)op->unshare.type);
    case TR_OP_await:
        return tr_sync_await(run, (unsigned)op->await.tag);
    case TR_OP_mapIds:
        return tr_sync_send(run, TR_SYNC_MAP_IDS, 0, -1);
    case TR_OP_resolver:
        return tr_op_resolver_run(run);
    case TR_OP_hostname:
        return (int)set_name(SYS_sethostname, op->hostname.name);
    case TR_OP_domainname:
        return (int)set_name(SYS_setdomainname, op->hostname.name);
    case TR_OP_rlimit:
        return tr_op_rlimit_run(&op->rlimit);
    case TR_OP_cwd:
        return tr_op_cwd_run(run, &op->cwd);
    case TR_OP_umask:
        umask((mode_t)op->umask.mask & 0777);
        return 0;
    case TR_OP_user:
        return tr_op_user_run(run, &op->user);
    case TR_OP_boundingCaps:
        return tr_op_bounding_caps(&op->bounding_caps);
    case TR_OP_caps:
        return tr_op_caps_run(run, &op->caps);
    case TR_OP_noNewPrivileges:
        return tr_op_no_new_privileges();
    case TR_OP_seccomp:
        return tr_op_seccomp_run(run, &op->seccomp);
    case TR_OP_init:
        return tr_op_init(run);
    case TR_OP_exec:
        return tr_op_exec_run(run, &op->exec);
    default:
        return -EINVAL;
    }
}

static int run_op(struct tr_run *run, const struct tr_op *op) {
    int handled;
    int error = run_host_op(run, op, &handled);
    if (handled) return error;
    /* A monitor that left its namespaces or executed something else would be no monitor any more. */
    if (run->phase != TR_CHILD) return -EINVAL;
    error = run_root_op(run, op, &handled);
    return handled ? error : run_process_op(run, op);
}

/* What undoes goes on after a failure: the rest must not stay behind because one thing did. */
int tr_run_list(struct tr_run *run, struct tr_failure *failure) {
    const struct tr_ops *list = &run->plan->phase[run->phase];
    const int goes_on = run->phase == TR_RELEASE || run->phase == TR_CLEANUP;
    int result = 0;
    for (size_t index = 0; index < list->count; index++) {
        run->op_index = (int)index;
        int error = run_op(run, &list->ops[index]);
        if (error >= 0 || list->ops[index].flags & TR_OPTIONAL) continue;
        if (result == 0) *failure = (struct tr_failure){run->phase, (int32_t)index, -error};
        result = -1;
        if (!goes_on) break;
    }
    return result;
}

int tr_run_phase(const struct tr_plan *plan, int phase, struct tr_context *context, struct tr_failure *failure) {
    if (phase == TR_CHILD || phase == TR_PROBE || phase < 0 || phase >= TR_PHASES) {
        *failure = (struct tr_failure){phase, -1, EINVAL};
        return -1;
    }
    struct tr_run run = {.plan = plan, .context = context, .phase = phase, .sync = -1, .root = -1, .null_source = -1};
    return tr_run_list(&run, failure);
}
