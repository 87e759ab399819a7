/*
 * Identity and rights. All by raw system calls: the C library's would change the ids of every thread it knows of, which in a
 * fresh clone is a list from another life.
 */
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "interpreter.h"
#include "syscalls.h"

int tr_op_rlimit_run(const struct tr_op_rlimit *op) {
    const uint64_t limit[2] = {op->soft, op->hard};
    return syscall(SYS_prlimit64, 0, (int)op->resource, limit, 0L) < 0 ? -errno : 0;
}

/*
 * The program may reopen /dev/stdout and the like only if the pipe or terminal behind it is its own. The group stays: a
 * terminal's is `tty`. Failing is no reason not to start.
 */
static void own_stdio(uint64_t uid) {
    for (int fd = 0; fd <= 2; fd++) {
        struct tr_statx status;
        if (sys_fstatx(fd, &status) < 0 || status.uid == uid) continue;
        int is_terminal = S_ISCHR(status.mode) && status.rdev_major >= 136 && status.rdev_major <= 143;
        if (S_ISFIFO(status.mode) || S_ISSOCK(status.mode) || is_terminal)
            sys_fchownat(fd, "", (unsigned)uid, (unsigned)-1, TR_AT_EMPTY_PATH);
    }
}

int tr_op_user_run(struct tr_run *run, const struct tr_op_user *op) {
    if (op->groups.length % sizeof(uint32_t) != 0 || op->uid >= UINT32_MAX || op->gid >= UINT32_MAX) return -EINVAL;
    own_stdio(op->uid);
    run->disarmed = 1;
    if (op->keep_caps) {
        long result = sys_prctl(PR_SET_KEEPCAPS, 1, 0);
        if (result < 0) return (int)result;
    }
    /* Groups first and always: those inherited from the host must go even where the list is empty (CVE-2022-36109). */
    if (syscall(SYS_setgroups, op->groups.length / sizeof(uint32_t), op->groups.at) < 0) return -errno;
    if (syscall(SYS_setresgid, op->gid, op->gid, op->gid) < 0) return -errno;
    if (syscall(SYS_setresuid, op->uid, op->uid, op->uid) < 0) return -errno;
    /* A change of ids sets it to what fs.suid_dumpable says. */
    long result = sys_prctl(PR_SET_DUMPABLE, 0, 0);
    return op->keep_caps && result >= 0 ? (int)sys_prctl(PR_SET_KEEPCAPS, 0, 0) : (int)result;
}

int tr_op_bounding_caps(const struct tr_op_boundingCaps *op) {
    for (unsigned capability = 0; capability < 64; capability++) {
        if (op->mask >> capability & 1) continue;
        long result = sys_prctl(PR_CAPBSET_DROP, capability, 0);
        /* Beyond the last one that this kernel knows. */
        if (result == -EINVAL && capability > CAP_BLOCK_SUSPEND) break;
        if (result < 0) return (int)result;
    }
    return 0;
}

int tr_op_caps_run(struct tr_run *run, const struct tr_op_caps *op) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    for (int half = 0; half < 2; half++) {
        data[half].effective = (uint32_t)(op->effective >> (32 * half));
        data[half].permitted = (uint32_t)(op->permitted >> (32 * half));
        data[half].inheritable = (uint32_t)(op->inheritable >> (32 * half));
    }
    run->disarmed = 1;
    long result = sys_prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0);
    if (result < 0) return (int)result;
    if (syscall(SYS_capset, &header, data) < 0) return -errno;
    for (unsigned capability = 0; capability < 64; capability++) {
        if ((op->ambient >> capability & 1) == 0) continue;
        result = sys_prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability);
        if (result < 0) return (int)result;
    }
    return 0;
}

int tr_op_no_new_privileges(void) {
    return (int)sys_prctl(PR_SET_NO_NEW_PRIVS, 1, 0);
}

int tr_op_seccomp_run(struct tr_run *run, const struct tr_op_seccomp *op) {
    const size_t count = op->program.length / sizeof(struct sock_filter);
    if (count == 0 || count > BPF_MAXINSNS || op->program.length % sizeof(struct sock_filter) != 0) return -EINVAL;
    struct sock_fprog program = {(unsigned short)count, (struct sock_filter *)(uintptr_t)op->program.at};
    /* What can be done before the filter is: a filter of the user's need not allow what only we need. */
    int error = tr_finish(run);
    if (error < 0) return error;
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, op->flags, &program) < 0 ? -errno : 0;
}
