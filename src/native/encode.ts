import { TinyrunError } from '../errors.ts';
import type { CloneNamespace, LaunchPlan, MountFlag, Op, Phase, Propagation } from './plan.ts';

/** The lists in the order of the binary header and of `enum tr_phase`. */
export const PHASES: readonly Phase[] = ['prepare', 'child', 'connect', 'release', 'cleanup'];

type Value = string | undefined | readonly string[] | Uint8Array | number | bigint | boolean;
type OpOf<K extends Op['op']> = Extract<Op, { op: K }>;

interface Form<K extends Op['op']> {
  readonly code: number;
  /** As in `TR_OPS` of native/plan.h: string, optional string, list, bytes, number. */
  readonly slots: string;
  readonly values: (op: OpOf<K>) => readonly Value[];
}

const MAGIC = 0x4e4c5052594e4954n;
const VERSION = 1;
const HEADER_SIZE = 26 * 8;
const OP_SIZE = 64;
const OPTIONAL = 1;

/** CLONE_NEW* of linux/sched.h. */
const NAMESPACES: Readonly<Record<CloneNamespace | 'cgroup' | 'time', number>> = {
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
  netlink: { code: 8, slots: 'nbn', values: (op) => [NETLINK[op.protocol], op.messages, op.pidOffset ?? 0] },
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
};

/** `RLIMIT_NOFILE` (OCI) and `nofile` (Docker) alike. */
function resourceOf(name: string): number {
  const resource = RLIMITS[name.toUpperCase().replace(/^RLIMIT_/, '')];
  if (resource === undefined)
    throw new TinyrunError('invalid', `Cannot set limit "${name}": unknown resource`);
  return resource;
}

interface Row {
  readonly op: Op;
  readonly form: { readonly code: number; readonly slots: string };
  readonly values: readonly Value[];
}

function rowOf<K extends Op['op']>(op: OpOf<K>): Row {
  const form: Form<K> = FORMS[op.op as K];
  return { op, form, values: form.values(op) };
}

/**
 * The plan's bytes as `native/plan.h` describes them: header, ops of 64 bytes, string lists, data.
 * @throws TinyrunError invalid where a string has a NUL byte or a value does not exist in the kernel's terms
 */
export function encodePlan(plan: LaunchPlan): Uint8Array {
  const lists = PHASES.map((phase) =>
    (plan[phase as keyof LaunchPlan] as readonly Op[]).map((op) => rowOf(op)),
  );
  const rows = lists.flat();
  const listsAt = HEADER_SIZE + rows.length * OP_SIZE;
  const listSlots = rows.reduce((sum, row) => sum + slotsOfLists(row.values), 0);
  const writer = new PlanWriter(listsAt, listsAt + listSlots * 8);
  rows.forEach((row, index) => {
    writer.op(HEADER_SIZE + index * OP_SIZE, row);
  });
  writeHeader(writer, plan, lists);
  return writer.finish();
}

function slotsOfLists(values: readonly Value[]): number {
  return values.reduce((sum: number, value) => sum + (Array.isArray(value) ? value.length + 1 : 0), 0);
}

function writeHeader(writer: PlanWriter, plan: LaunchPlan, lists: readonly (readonly Row[])[]): void {
  const { monitor } = plan;
  const flags = (monitor.tty ? 1 : 0) | (monitor.openStdin ? 2 : 0) | (monitor.stdinOnce ? 4 : 0);
  const strings = [
    monitor.id,
    monitor.statePath,
    monitor.log?.path,
    monitor.attachSocket,
    monitor.oomPath,
    monitor.killPath,
    plan.cgroupDirectory,
  ].map((text) => (text === undefined ? 0 : writer.string(text, 'start the container')));
  const phases: number[] = [];
  let at = HEADER_SIZE;
  for (const list of lists) {
    phases.push(at, list.length);
    at += list.length * OP_SIZE;
  }
  const namespaces = plan.namespaces.reduce((bits, name) => bits + NAMESPACES[name], 0);
  const log = [monitor.log?.maxBytes ?? 0, monitor.log?.maxFiles ?? 0];
  // The size is not known before the last string is written: `finish` puts it at its place.
  const fields = [
    MAGIC,
    VERSION,
    0,
    writer.listsAt,
    writer.dataAt,
    namespaces,
    flags,
    ...log,
    ...strings,
    ...phases,
  ];
  fields.forEach((field, index) => {
    writer.number(index * 8, field);
  });
}

/** Writes into one growing buffer; host byte order, which is little-endian on both architectures. */
class PlanWriter {
  readonly listsAt: number;
  readonly dataAt: number;
  private buffer: Buffer;
  private listEnd: number;
  private end: number;
  private readonly known = new Map<string, number>();

  constructor(listsAt: number, dataAt: number) {
    this.listsAt = listsAt;
    this.dataAt = dataAt;
    this.listEnd = listsAt;
    this.end = dataAt;
    this.buffer = Buffer.alloc(dataAt + 16384);
  }

  op(at: number, row: Row): void {
    this.buffer.writeUInt32LE(row.form.code, at);
    this.buffer.writeUInt32LE(row.op.optional === true ? OPTIONAL : 0, at + 4);
    let slot = at + 8;
    for (const value of row.values) slot = this.value(slot, value, row.op.what);
  }

  number(at: number, value: number | bigint): void {
    this.buffer.writeBigUInt64LE(BigInt(value), at);
  }

  /** @returns where its data begins */
  string(text: string, what: string): number {
    const before = this.known.get(text);
    if (before !== undefined) return before;
    if (text.includes('\0')) throw new TinyrunError('invalid', `Cannot ${what}: a value contains a NUL byte`);
    const at = this.end;
    this.reserve(Buffer.byteLength(text) + 1);
    this.end = at + this.buffer.write(text, at) + 1;
    this.known.set(text, at);
    return at;
  }

  finish(): Uint8Array {
    // The reader relies on it: the last byte of a plan is NUL.
    this.reserve(1);
    this.end += 1;
    this.number(16, this.end);
    return this.buffer.subarray(0, this.end);
  }

  private value(at: number, value: Value, what: string): number {
    if (value instanceof Uint8Array) {
      this.number(at, this.bytes(value));
      this.number(at + 8, value.length);
      return at + 16;
    }
    if (value === undefined) this.number(at, 0);
    else if (typeof value === 'string') this.number(at, this.string(value, what));
    else if (typeof value === 'object') this.number(at, this.list(value, what));
    else this.number(at, typeof value === 'boolean' ? Number(value) : value);
    return at + 8;
  }

  private list(texts: readonly string[], what: string): number {
    const at = this.listEnd;
    this.listEnd += (texts.length + 1) * 8;
    texts.forEach((text, index) => {
      this.number(at + index * 8, this.string(text, what));
    });
    return at;
  }

  private bytes(bytes: Uint8Array): number {
    const at = Math.ceil(this.end / 8) * 8;
    this.end = at;
    this.reserve(bytes.length);
    this.buffer.set(bytes, at);
    this.end = at + bytes.length;
    return at;
  }

  /** Fresh bytes are zero: that is every string's end. */
  private reserve(more: number): void {
    if (this.end + more <= this.buffer.length) return;
    const larger = Buffer.alloc(Math.max(this.buffer.length * 2, this.end + more));
    this.buffer.copy(larger, 0, 0, this.end);
    this.buffer = larger;
  }
}
