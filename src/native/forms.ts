import { TinyrunError } from '../errors.ts';
import type { CloneNamespace, MountFlag, Op, Propagation } from './plan.ts';

/** What an op's slots are filled with. */
export type Value = string | undefined | readonly string[] | Uint8Array | number | bigint | boolean;
export type OpOf<K extends Op['op']> = Extract<Op, { op: K }>;

export interface Form<K extends Op['op']> {
  readonly code: number;
  /** As in `TR_OPS` of native/plan.h: string, optional string, list, bytes, number. */
  readonly slots: string;
  readonly values: (op: OpOf<K>) => readonly Value[];
}

/** CLONE_NEW* of linux/sched.h. */
export const NAMESPACES: Readonly<Record<CloneNamespace | 'cgroup' | 'time', number>> = {
  time: 0x80,
  mount: 0x20000,
  cgroup: 0x2000000,
  uts: 0x4000000,
  ipc: 0x8000000,
  user: 0x10000000,
  pid: 0x20000000,
  network: 0x40000000,
};

/** TR_MOUNT_* of native/plan.h. */
const MOUNT_FLAGS: Readonly<Record<MountFlag, number>> = {
  ro: 1,
  nosuid: 2,
  nodev: 4,
  noexec: 8,
  noatime: 16,
  relatime: 32,
  nodiratime: 64,
  strictatime: 128,
  nosymfollow: 256,
};

const MS_REC = 1 << 14;
/** MS_* of linux/mount.h. */
const PROPAGATIONS: Readonly<Record<Propagation, number>> = {
  unbindable: 1 << 17,
  private: 1 << 18,
  slave: 1 << 19,
  shared: 1 << 20,
  runbindable: (1 << 17) | MS_REC,
  rprivate: (1 << 18) | MS_REC,
  rslave: (1 << 19) | MS_REC,
  rshared: (1 << 20) | MS_REC,
};

/** RLIMIT_* of asm-generic/resource.h, which x86-64 and arm64 share. */
const RLIMITS: Readonly<Record<string, number>> = {
  CPU: 0,
  FSIZE: 1,
  DATA: 2,
  STACK: 3,
  CORE: 4,
  RSS: 5,
  NPROC: 6,
  NOFILE: 7,
  MEMLOCK: 8,
  AS: 9,
  LOCKS: 10,
  SIGPENDING: 11,
  MSGQUEUE: 12,
  NICE: 13,
  RTPRIO: 14,
  RTTIME: 15,
};

const NODE_TYPES = { p: 0o010000, c: 0o020000, b: 0o060000 } as const;
const PROTOCOLS = { tcp: 6, udp: 17 } as const;
const NETLINK = { route: 0, netfilter: 12 } as const;
const AWAITED = { connected: 1, mapped: 2 } as const;

const flagsOf = (flags: readonly MountFlag[]): number =>
  flags.reduce((bits, flag) => bits | MOUNT_FLAGS[flag], 0);
const propagationOf = (propagation: Propagation | undefined): number =>
  propagation === undefined ? 0 : PROPAGATIONS[propagation];

/** The binary form of every op; `native/plan.h` has the same table and a test compares them. */
export const FORMS: { readonly [K in Op['op']]: Form<K> } = {
  mkdir: { code: 1, slots: 'snn', values: (op) => [op.path, op.mode, op.existing ?? false] },
  writeFile: { code: 2, slots: 'ssn', values: (op) => [op.path, op.text, op.create ?? false] },
  unlink: { code: 3, slots: 's', values: (op) => [op.path] },
  rmdir: { code: 4, slots: 'sn', values: (op) => [op.path, op.patienceMs ?? 0] },
  rename: { code: 5, slots: 'ss', values: (op) => [op.from, op.to] },
  removeTree: { code: 6, slots: 's', values: (op) => [op.path] },
  killCgroup: { code: 7, slots: 'sn', values: (op) => [op.path, op.patienceMs] },
  netlink: {
    code: 8,
    slots: 'nbno',
    values: (op) => [NETLINK[op.protocol], op.messages, op.pidOffset ?? 0, op.instead],
  },
  listen: {
    code: 9,
    slots: 'nsnsn',
    values: (op) => [PROTOCOLS[op.protocol], op.address, op.port, op.targetAddress, op.targetPort],
  },
  joinNamespace: { code: 10, slots: 'sn', values: (op) => [op.path, NAMESPACES[op.type]] },
  unshare: { code: 11, slots: 'n', values: (op) => [NAMESPACES[op.type]] },
  await: { code: 12, slots: 'n', values: (op) => [AWAITED[op.tag]] },
  mapIds: { code: 13, slots: 'ss', values: (op) => [op.uidMap, op.gidMap] },
  rootPropagation: { code: 14, slots: 'n', values: (op) => [propagationOf(op.propagation)] },
  overlay: { code: 15, slots: 'lools', values: (op) => [op.lower, op.upper, op.work, op.options, op.target] },
  bindRoot: { code: 16, slots: 's', values: (op) => [op.source] },
  mount: {
    code: 17,
    slots: 'sssnsn',
    values: (op) => [
      op.fstype,
      op.source,
      op.target,
      flagsOf(op.flags),
      op.data,
      propagationOf(op.propagation),
    ],
  },
  bind: {
    code: 18,
    slots: 'ssnnnn',
    values: (op) => [
      op.source,
      op.target,
      op.recursive,
      flagsOf(op.flags),
      op.recursiveFlags ?? false,
      propagationOf(op.propagation),
    ],
  },
  mkdirInRoot: { code: 19, slots: 'snnn', values: (op) => [op.path, op.mode, op.uid, op.gid] },
  symlinkInRoot: { code: 20, slots: 'ss', values: (op) => [op.target, op.path] },
  mknod: {
    code: 21,
    slots: 'snnnnnn',
    values: (op) => [op.path, NODE_TYPES[op.type], op.mode, op.major, op.minor, op.uid, op.gid],
  },
  pivotRoot: { code: 22, slots: '', values: () => [] },
  readonlyRoot: { code: 23, slots: '', values: () => [] },
  maskPath: { code: 24, slots: 's', values: (op) => [op.path] },
  readonlyPath: { code: 25, slots: 's', values: (op) => [op.path] },
  sysctl: { code: 26, slots: 'ss', values: (op) => [op.key, op.value] },
  hostname: { code: 27, slots: 's', values: (op) => [op.name] },
  domainname: { code: 28, slots: 's', values: (op) => [op.name] },
  console: { code: 29, slots: 'nn', values: (op) => [op.rows, op.columns] },
  bindForeign: { code: 44, slots: 'sss', values: (op) => [op.namespace, op.source, op.target] },
  resolver: {
    code: 43,
    slots: 'lloo',
    values: (op) => [op.directories, op.servers, op.resolvConf, op.host],
  },
  rlimit: { code: 30, slots: 'nnn', values: (op) => [resourceOf(op.resource), op.soft, op.hard] },
  cwd: { code: 31, slots: 'sn', values: (op) => [op.path, op.create] },
  umask: { code: 32, slots: 'n', values: (op) => [op.mask] },
  user: {
    code: 33,
    slots: 'nnbn',
    values: (op) => [op.uid, op.gid, new Uint8Array(Uint32Array.from(op.groups).buffer), op.keepCaps],
  },
  boundingCaps: { code: 34, slots: 'n', values: (op) => [op.mask] },
  caps: {
    code: 35,
    slots: 'nnnn',
    values: (op) => [op.effective, op.permitted, op.inheritable, op.ambient],
  },
  noNewPrivileges: { code: 36, slots: '', values: () => [] },
  seccomp: { code: 37, slots: 'bn', values: (op) => [op.program, op.flags] },
  init: { code: 38, slots: '', values: () => [] },
  exec: { code: 39, slots: 'lll', values: (op) => [op.paths, op.argv, op.env] },
  deviceFilter: { code: 40, slots: 'sb', values: (op) => [op.path, op.program] },
  closePorts: { code: 41, slots: '', values: () => [] },
  bindBelow: {
    code: 42,
    slots: 'loosssn',
    values: (op) => [op.layers, op.upper, op.work, op.stage, op.path, op.target, flagsOf(op.flags)],
  },
};

/** `RLIMIT_NOFILE` (OCI) and `nofile` (Docker) alike. */
function resourceOf(name: string): number {
  const resource = RLIMITS[name.toUpperCase().replace(/^RLIMIT_/, '')];
  if (resource === undefined)
    throw new TinyrunError('invalid', `Cannot set limit "${name}": unknown resource`);
  return resource;
}
