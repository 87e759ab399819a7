/* The container's pseudo-terminal, made in its own devpts. */
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <termios.h>

#include "interpreter.h"
#include "syscalls.h"

#define DEVPTS_SUPER_MAGIC 0x1cd1

/* The multiplexer of a real devpts: an image's or a volume's file of that name is not one. */
static int open_multiplexer(struct tr_run *run) {
    struct statfs fs;
    int fd = tr_root_open(run->root, "/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_NOFOLLOW);
    if (fd < 0) return fd;
    if (syscall(SYS_fstatfs, fd, &fs) == 0 && fs.f_type == DEVPTS_SUPER_MAGIC) return fd;
    sys_close(fd);
    return -EXDEV;
}

/*
 * The slave's mount is cloned from the fd that TIOCGPTPEER gave: looked up as /dev/pts/N it could be a link by now, and this
 * happens before paths are masked (CVE-2025-52565).
 */
static int bind_console(struct tr_run *run, int slave) {
    struct tr_fd_path from, to;
    int target = tr_root_make(run->root, "/dev/console", TR_MAKE_FILE, 0600, NULL);
    if (target < 0) return target;
    long mount = sys_open_tree(slave, "", TR_OPEN_TREE_CLONE | TR_AT_EMPTY_PATH), result = mount;
    if (mount >= 0) {
        result = sys_move_mount((int)mount, target);
        sys_close((int)mount);
    } else if (mount == -ENOSYS) {
        result = sys_mount(tr_fd_path(slave, &from), tr_fd_path(target, &to), NULL, MS_BIND, NULL);
    }
    sys_close(target);
    return (int)result;
}

static long take_over(struct tr_run *run, int slave) {
    /* A session leader without a terminal gets this one. */
    long result = sys_ioctl(slave, TIOCSCTTY, 0);
    for (int fd = 0; fd <= 2 && result >= 0; fd++) result = sys_dup3(slave, fd, 0);
    if (result >= 0) run->has_terminal = 1;
    return result;
}

int tr_op_console_run(struct tr_run *run, const struct tr_op_console *op) {
    int unlocked = 0;
    struct winsize size = {.ws_row = (unsigned short)op->rows, .ws_col = (unsigned short)op->columns};
    if (run->root < 0) return -EINVAL;
    int master = open_multiplexer(run);
    if (master < 0) return master;
    long result = sys_ioctl(master, TR_TIOCSPTLCK, (unsigned long)(uintptr_t)&unlocked);
    if (result >= 0 && op->rows > 0 && op->columns > 0) result = sys_ioctl(master, TIOCSWINSZ, (unsigned long)(uintptr_t)&size);
    long slave = result < 0 ? result : sys_ioctl(master, TR_TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    result = slave;
    if (slave >= 0) {
        /* In a container that runs already /dev/console is its first process's. */
        result = run->joined ? 0 : bind_console(run, (int)slave);
        if (result >= 0) result = take_over(run, (int)slave);
        if (result >= 0) result = tr_sync_send(run, TR_SYNC_CONSOLE, 0, master);
        sys_close((int)slave);
    }
    sys_close(master);
    return result < 0 ? (int)result : 0;
}
