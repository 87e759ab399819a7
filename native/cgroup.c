/* Empties a cgroup: everything in it is killed, and the groups that the container made below it are removed. Filters devices on v2. */
#include <linux/bpf.h>
#include <string.h>

#include "interpreter.h"
#include "syscalls.h"

#define DEPTH_MAX 16

static long write_at(int dir, const char *name, const char *text) {
    long fd = sys_openat(dir, name, O_WRONLY | O_NOFOLLOW, 0);
    if (fd < 0) return fd;
    long result = sys_write((int)fd, text, strlen(text));
    sys_close((int)fd);
    return result < 0 ? result : 0;
}

/* Kills what is listed. A pid of 0 belongs to another pid namespace and cannot be reached from here. Returns the number. */
static long kill_listed(int dir) {
    char buffer[4096];
    long fd = sys_openat(dir, "cgroup.procs", O_RDONLY | O_NOFOLLOW, 0);
    if (fd < 0) return fd;
    long killed = 0, pid = 0, count;
    int digits = 0;
    while ((count = sys_read((int)fd, buffer, sizeof buffer)) > 0) {
        for (long at = 0; at < count; at++) {
            if (buffer[at] >= '0' && buffer[at] <= '9') {
                pid = pid * 10 + (buffer[at] - '0');
                digits++;
            } else if (digits > 0) {
                if (pid > 1) sys_kill((int)pid, 9 /* SIGKILL */);
                killed++;
                pid = digits = 0;
            }
        }
    }
    sys_close((int)fd);
    /* A threaded group of v2 refuses to be listed; its tasks stand in the domain above. */
    if (count == -EOPNOTSUPP) return killed;
    return count < 0 ? count : killed;
}

/* Number of processes still seen in the group and below; removes groups below that have become empty. */
static long kill_below(int dir, int depth) {
    _Alignas(8) char buffer[1024];
    long seen = kill_listed(dir);
    if (seen < 0 || depth == 0) return seen;
    sys_rewind(dir);
    for (long count; (count = sys_getdents(dir, buffer, sizeof buffer)) > 0;) {
        for (long at = 0; at < count;) {
            const struct tr_dirent *entry = (const struct tr_dirent *)(const void *)(buffer + at);
            at += entry->length;
            if (entry->type != 4 /* DT_DIR */ || entry->name[0] == '.') continue;
            long fd = sys_openat(dir, entry->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
            if (fd < 0) continue;
            long below = kill_below((int)fd, depth - 1);
            sys_close((int)fd);
            if (below > 0) seen += below;
            else if (below == 0) sys_unlinkat(dir, entry->name, AT_REMOVEDIR);
        }
    }
    return seen;
}

static int empty(const char *path, unsigned patience_ms, int at_once) {
    long dir = sys_openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
    if (dir < 0) return (int)dir;
    /* v2 since 5.14: all at once, nothing can fork away. Then only the wait is left. */
    if (at_once) write_at((int)dir, "cgroup.kill", "1");
    long seen;
    for (unsigned waited = 0;; waited++) {
        /* Again and again: between the reading and the killing a process may have forked. */
        seen = kill_below((int)dir, DEPTH_MAX);
        if (seen <= 0 || waited >= patience_ms) break;
        sys_sleep_ms(1);
    }
    sys_close((int)dir);
    if (seen < 0) return seen == -ENODEV ? 0 : (int)seen; /* ENODEV: the group was removed meanwhile */
    return seen == 0 ? 0 : -EBUSY;
}

int tr_kill_cgroup(const char *path, unsigned patience_ms) {
    return empty(path, patience_ms, 1);
}

/* Linux 6.18 kills whatever is cloned into a cgroup whose cgroup.kill has been used before. */
int tr_empty_cgroup(const char *path, unsigned patience_ms) {
    return empty(path, patience_ms, 0);
}

int tr_op_device_filter(const struct tr_op_deviceFilter *op) {
    const size_t count = op->program.length / sizeof(struct bpf_insn);
    if (count == 0 || op->program.length % sizeof(struct bpf_insn) != 0) return -EINVAL;
    union bpf_attr load = {0}, attach = {0};
    load.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
    load.insns = (uint64_t)(uintptr_t)op->program.at;
    load.insn_cnt = (uint32_t)count;
    load.license = (uint64_t)(uintptr_t) "MIT";
    long dir = sys_openat(AT_FDCWD, op->path, O_RDONLY | O_DIRECTORY, 0);
    if (dir < 0) return (int)dir;
    long program = sys_bpf(BPF_PROG_LOAD, &load, sizeof load), result = program;
    if (program >= 0) {
        attach.target_fd = (uint32_t)dir;
        attach.attach_bpf_fd = (uint32_t)program;
        attach.attach_type = BPF_CGROUP_DEVICE;
        /* Together with those of the groups above: each of them must allow. The group keeps the program alive. */
        attach.attach_flags = BPF_F_ALLOW_MULTI;
        result = sys_bpf(BPF_PROG_ATTACH, &attach, sizeof attach);
        sys_close((int)program);
    }
    sys_close((int)dir);
    return result < 0 ? (int)result : 0;
}
