/*
 * Where the decoders and the tar parser run: in a mount namespace whose root is the layer directory (root.c), without a network, with
 * the few capabilities that making files takes, and at last behind a filter of system calls (seccomp.c). A hostile path
 * cannot leave because there is nowhere else; a bug in a decoder finds nothing to open and nothing to call.
 */
#include "unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../syscalls.h"

/* Parents that are kept open, and what one entry needs besides. */
#define OPEN_FILES 256
/* A packer keeps the directories open that it is in: as many as a path has parts. */
#define OPEN_DIRECTORIES 4096
/* A zstd window of 128 MiB, an entry's headers, the list of directories. */
#define ADDRESS_SPACE (1024UL * 1024 * 1024)

/*
 * A mount of its own that is attached nowhere: a plain descriptor would be a way back, by "..", for code that is not ours
 * any more. Kernels before 5.12 lack one or both calls: there the directory itself has to do.
 */
int sandbox_open_lower(const char *path, struct failure *failure) {
    const struct tr_mount_attr attributes = {.attr_set = TR_ATTR_RDONLY | TR_ATTR_NOSUID | TR_ATTR_NODEV | TR_ATTR_NOEXEC};
    int fd = (int)sys_open_tree(AT_FDCWD, path, TR_OPEN_TREE_CLONE);
    if (fd >= 0) sys_mount_setattr(fd, 0, &attributes);
    if (fd != -ENOSYS) return fd >= 0 ? fd : fail_errno(failure, -fd, "open", path);
    fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 ? fd : fail_errno(failure, errno, "open", path);
}

static int drop_capabilities(uint64_t kept, struct failure *failure) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct has[2], want[2] = {{0}};
    if (syscall(SYS_capget, &header, has) < 0) return fail_errno(failure, errno, "read", "capabilities");
    for (int i = 0; i < 2; i++) want[i].permitted = want[i].effective = has[i].permitted & (uint32_t)(kept >> (32 * i));
    if (syscall(SYS_capset, &header, want) < 0) return fail_errno(failure, errno, "drop", "capabilities");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return fail_errno(failure, errno, "set", "no_new_privs");
    return 0;
}

static int set_limit(int resource, rlim_t value, struct failure *failure) {
    struct rlimit limit;
    if (getrlimit(resource, &limit) < 0) return fail_errno(failure, errno, "read", "resource limits");
    if (limit.rlim_max < value) value = limit.rlim_max;
    limit.rlim_cur = limit.rlim_max = value;
    return setrlimit(resource, &limit) < 0 ? fail_errno(failure, errno, "set", "resource limits") : 0;
}

/* SYS_ADMIN for trusted.overlay.opaque. No SYS_RESOURCE: the last blocks of the disk are not for images. */
const struct sandbox SANDBOX_TO_WRITE = {
    .capabilities = 1ull << CAP_CHOWN | 1ull << CAP_DAC_OVERRIDE | 1ull << CAP_FOWNER | 1ull << CAP_FSETID | 1ull << CAP_MKNOD |
                    1ull << CAP_SETFCAP | 1ull << CAP_SYS_ADMIN,
    .open_files = OPEN_FILES,
};
/* Into a container or out of one: trusted.* is neither's to say. */
const struct sandbox SANDBOX_TO_COPY = {
    .capabilities = 1ull << CAP_CHOWN | 1ull << CAP_DAC_OVERRIDE | 1ull << CAP_FOWNER | 1ull << CAP_FSETID | 1ull << CAP_MKNOD |
                    1ull << CAP_SETFCAP,
    .open_files = OPEN_FILES,
};
/* SYS_ADMIN for the attributes trusted.*. */
const struct sandbox SANDBOX_TO_READ = {
    .capabilities = 1ull << CAP_DAC_READ_SEARCH | 1ull << CAP_SYS_ADMIN,
    .open_files = OPEN_DIRECTORIES,
    .read_only = true,
};

int sandbox_enter(const struct sandbox *sandbox, const struct root *root, struct failure *failure) {
    umask(0);
    /* A write to a caller that is gone must be an error with a report, not a silent end; and its end is ours. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    if (root_enter(root, sandbox->read_only, failure) < 0) return -1;
    if (set_limit(RLIMIT_CORE, 0, failure) < 0 || set_limit(RLIMIT_NOFILE, sandbox->open_files, failure) < 0) return -1;
#ifndef __SANITIZE_ADDRESS__ /* whose shadow takes terabytes */
    if (set_limit(RLIMIT_AS, ADDRESS_SPACE, failure) < 0) return -1;
#endif
    return drop_capabilities(sandbox->capabilities, failure);
}
