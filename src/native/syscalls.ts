import { SyscallError } from '../errors.ts';
import { errnoName } from './errno.ts';
import { hostFunction, monitorProgram } from './library.ts';

/** What the C files of libtinyrun.so export; one more argument than six needs a change of native/addon.c. `void *` takes any typed array and is filled in place. */
const PROTOTYPES = {
  flock: 'int tinyrun_flock(int fd, int exclusive, int wait)',
  lockIsHeld: 'int tinyrun_lock_is_held(const char *path)',
  signal: 'int tinyrun_signal(int pid, uint64_t startTime, int signal)',
  netlink: 'int tinyrun_netlink(int protocol, void *messages, size_t length, void *out, size_t capacity)',
  openRoot: 'int tinyrun_open_root(void *lower, size_t count)',
  openOverlay: 'int tinyrun_open_overlay(void *lower, size_t count, const char *upper, const char *work)',
  openDirectory: 'int tinyrun_open_directory(const char *path)',
  readInRoot: 'int tinyrun_read_in_root(int root, const char *path, void *out, size_t capacity)',
  statInRoot: 'int tinyrun_stat_in_root(int root, const char *path, void *out)',
  close: 'int tinyrun_close(int fd)',
  removeTree: 'int tinyrun_remove_tree(const char *path)',
  spread: 'int tinyrun_spread(const char *path)',
  socketpair: 'int tinyrun_socketpair(void *out)',
  memfd: 'int tinyrun_memfd(const char *name, void *bytes, size_t length)',
  start: 'int tinyrun_start(const char *path, void *arguments, size_t count, void *fds, size_t fdCount)',
  watchSignals: 'int tinyrun_watch_signals(uint32_t signals)',
  receive: 'int tinyrun_receive(int fd, void *out, size_t capacity, void *signal)',
  wait: 'int tinyrun_wait(int pid, int wait, void *status)',
} as const;

const bound = new Map<keyof typeof PROTOTYPES, (...values: unknown[]) => number>();

/** Calls one of them; bound at its first use. @throws SyscallError */
function call(name: keyof typeof PROTOTYPES, object: string, ...values: unknown[]): number {
  const result = functionOf(name)(...values);
  if (result < 0) throw new SyscallError(name, object, errnoName(-result));
  return result;
}

function functionOf(name: keyof typeof PROTOTYPES): (...values: unknown[]) => number {
  let native = bound.get(name);
  if (native === undefined) {
    native = hostFunction(PROTOTYPES[name]);
    bound.set(name, native);
  }
  return native;
}

/** Strings one behind the other, each with its NUL. A NUL inside would make two of one. */
function listOf(texts: readonly string[], call: string): Buffer {
  const hostile = texts.find((text) => text.includes('\0'));
  if (hostile !== undefined) throw new SyscallError(call, hostile, 'EINVAL');
  return Buffer.from(texts.map((text) => `${text}\0`).join(''));
}

/**
 * A lock on an open file, kept as long as any copy of the fd is open in any process.
 * @param wait blocks the whole process: see withLock() for what does not
 * @returns false where somebody else holds it (only without `wait`)
 */
export function flock(fd: number, how: 'shared' | 'exclusive', wait: boolean): boolean {
  return call('flock', `fd ${fd}`, fd, how === 'exclusive' ? 1 : 0, wait ? 1 : 0) === 1;
}

/** Whether somebody holds that file exclusively; false where it is missing. */
export function lockIsHeld(path: string): boolean {
  return call('lockIsHeld', path, path) === 1;
}

/**
 * Signals a process by pidfd, so never another one that got its number.
 * @param process.startTime field 22 of /proc/<pid>/stat
 * @returns false where it is gone
 */
export function sendSignal(process: { pid: number; startTime: number }, signal: number): boolean {
  return call('signal', `process ${process.pid}`, process.pid, process.startTime, signal) === 1;
}

const REPLIES_MAX = 1 << 20;

/**
 * Sends messages in the host's network namespace and waits for the answer to each that asks for one (NLM_F_ACK, dumps).
 * @returns all replies, one after the other
 * @throws SyscallError with the errno of the first message that failed; ENOBUFS beyond 1 MiB of replies
 */
export function netlink(protocol: 'route' | 'netfilter', messages: Uint8Array): Uint8Array {
  // Not zeroed: the kernel gives pages only to what is filled.
  const replies = Buffer.allocUnsafeSlow(REPLIES_MAX);
  const number = protocol === 'route' ? 0 : 12;
  const length = call('netlink', protocol, number, messages, messages.length, replies, replies.length);
  return Uint8Array.prototype.slice.call(replies, 0, length);
}

/**
 * A read-only view of layers as one tree, mounted nowhere: it goes when the fd is closed.
 * @param lower absolute directories, top first; each once
 * @returns an fd for {@link readInRoot}; close it with {@link closeFd}
 */
export function openRoot(lower: readonly string[]): number {
  return call('openRoot', lower[0] ?? '', listOf(lower, 'openRoot'), lower.length);
}

/**
 * A container's files while it does not run, to write to: as {@link openRoot}, with an upper directory. Nobody else may
 * have that mounted at the same time.
 */
export function openOverlay(lower: readonly string[], upper: string, work: string): number {
  return call('openOverlay', upper, listOf(lower, 'openOverlay'), lower.length, upper, work);
}

/** @returns an O_PATH fd of a directory of the host, such as /proc/<pid>/root */
export function openDirectory(path: string): number {
  return call('openDirectory', path, path);
}

/**
 * A regular file below a root that may be hostile: links are followed as if the root were `/`, devices and FIFOs are not opened.
 * @throws SyscallError EFBIG beyond `maxBytes`, EINVAL and EISDIR for what is no regular file, ENOENT…
 */
export function readInRoot(rootFd: number, path: string, maxBytes: number): Uint8Array {
  const out = Buffer.allocUnsafeSlow(maxBytes);
  const length = call('readInRoot', path, rootFd, checked(path, 'readInRoot'), out, out.length);
  return Uint8Array.prototype.slice.call(out, 0, length);
}

const S_IFMT = 0o170000;
const TYPES = new Map<number, 'file' | 'directory' | 'symlink'>([
  [0o100000, 'file'],
  [0o040000, 'directory'],
  [0o120000, 'symlink'],
]);

export interface StatInRoot {
  readonly type: 'file' | 'directory' | 'symlink' | 'other';
  /** Permission bits, setuid, setgid and sticky. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Bytes. */
  readonly size: number;
}

/** What a path means below a root that may be hostile; follows links, in root. @throws SyscallError ENOENT… */
export function statInRoot(rootFd: number, path: string): StatInRoot {
  const out = new BigUint64Array(5);
  call('statInRoot', path, rootFd, checked(path, 'statInRoot'), out);
  const [mode = 0, uid = 0, gid = 0, size = 0] = Array.from(out, Number);
  return { type: TYPES.get(mode & S_IFMT) ?? 'other', mode: mode & ~S_IFMT, uid, gid, size };
}

/** A path from an image's files: cut short at a NUL byte it would be another one. */
function checked(path: string, call: string): string {
  if (path.includes('\0')) throw new SyscallError(call, path, 'EINVAL');
  return path;
}

export function closeFd(fd: number): void {
  call('close', `fd ${fd}`, fd);
}

/** Removes a tree: follows no links and crosses no mounts. @throws SyscallError ENOENT where it is missing, EBUSY for a mount in it */
export function removeTree(path: string): void {
  call('removeTree', path, path);
}

/**
 * Has ext4 spread the directories below one over the disk, which do not belong together. Files of one layer lie together
 * then, layers that are unpacked side by side do not compete for one block group, and a layer does not land among
 * the inodes of one that was just removed, each of which ext4 looks at before it takes the next (`recently_deleted`).
 * @returns false where the file system knows no such thing
 */
export function spreadDirectories(path: string): boolean {
  return functionOf('spread')(path) >= 0;
}

/** Two connected stream sockets, both closed on exec. */
export function socketPair(): [number, number] {
  const out = new Int32Array(2);
  call('socketpair', 'unix', out);
  return [out[0] ?? -1, out[1] ?? -1];
}

/** A sealed file in memory, closed on exec. @param name only seen in /proc */
export function memoryFile(name: string, bytes: Uint8Array): number {
  return call('memfd', name, name, bytes, bytes.length);
}

/**
 * Starts tinyrun-monitor in a session of its own, with no environment, stdio from /dev/null, and `fds[0]` as its fd 3 and so on.
 * @returns its pid; it must be reaped with {@link waitProcess}, libuv does not know it
 */
export function startMonitor(args: readonly string[], fds: readonly number[]): number {
  const program = monitorProgram();
  const argv = listOf([program, ...args], 'start');
  return call('start', program, program, argv, args.length + 1, Int32Array.from(fds), fds.length);
}

/**
 * Reaps what {@link startMonitor} started.
 * @param wait blocks the whole process until it has ended
 * @returns its exit code, 128 + n for signal n; undefined: it still runs
 */
export function waitProcess(pid: number, wait: boolean): number | undefined {
  const status = new Int32Array(1);
  if (call('wait', `process ${pid}`, pid, wait ? 1 : 0, status) === 0) return undefined;
  const value = status[0] ?? 0;
  const signal = value & 0x7f;
  return signal === 0 ? (value >> 8) & 0xff : 128 + signal;
}

const EINTR = 4;

/**
 * From now on these signals are caught by {@link receive}; an empty list gives them back to Node.
 * @param numbers below 32
 */
export function watchSignals(numbers: readonly number[]): void {
  call(
    'watchSignals',
    'process',
    numbers.reduce((bits, number) => bits | (1 << number), 0),
  );
}

/**
 * Reads what has come, waiting for it in this thread: nothing else of this process goes on meanwhile.
 * @returns how many bytes, 0 at the end; or the signal that came before them
 */
export function receive(fd: number, out: Uint8Array): { length: number } | { signal: number } {
  const signal = new Int32Array(1);
  const length = functionOf('receive')(fd, out, out.length, signal);
  if (length >= 0) return { length };
  if (length === -EINTR) return { signal: signal[0] ?? 0 };
  throw new SyscallError('receive', `fd ${fd}`, errnoName(-length));
}
