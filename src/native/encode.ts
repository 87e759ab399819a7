import { TinyrunError } from '../errors.ts';
import { FORMS, type Form, NAMESPACES, type OpOf, type Value } from './forms.ts';
import {
  type LaunchPlan,
  type MonitorOptions,
  type Op,
  type Phase,
  RESTART_POLICIES,
  UNHEALTHY_ACTIONS,
} from './plan.ts';

/** The lists in the order of the binary header and of `enum tr_phase`. */
export const PHASES: readonly Phase[] = ['prepare', 'child', 'connect', 'release', 'cleanup', 'probe'];

const MAGIC = 0x4e4c5052594e4954n;
const VERSION = 1;
const HEADER_SIZE = 44 * 8;
const OP_SIZE = 64;
const OPTIONAL = 1;

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
    ((plan[phase as keyof LaunchPlan] ?? []) as readonly Op[]).map((op) => rowOf(op)),
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
  const flags =
    (monitor.tty ? 1 : 0) |
    (monitor.openStdin ? 2 : 0) |
    (monitor.stdinOnce ? 4 : 0) |
    (monitor.withClient === true ? 8 : 0) |
    (monitor.journal?.of === 'exec' ? 16 : 0) |
    (monitor.removes === true ? 32 : 0);
  const strings = [
    monitor.id,
    monitor.statePath,
    monitor.log?.path,
    monitor.attachSocket,
    monitor.oomPath,
    monitor.killPath,
    plan.cgroupDirectory,
    monitor.journal?.path,
    monitor.journal?.actor,
    monitor.restart?.policyPath,
    monitor.health?.path,
    monitor.health?.freezerPath,
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
    ...careOf(monitor),
    ...phases,
  ];
  fields.forEach((field, index) => {
    writer.number(index * 8, field);
  });
}

/** `struct tr_care`. */
function careOf({ restart, health, lifetimeMs }: MonitorOptions): number[] {
  return [
    restart === undefined ? 0 : RESTART_POLICIES.indexOf(restart.policy),
    restart?.max ?? 0,
    health?.stopSignal ?? 0,
    health?.stopTimeoutMs ?? 0,
    lifetimeMs ?? 0,
    health?.intervalMs ?? 0,
    health?.timeoutMs ?? 0,
    health?.retries ?? 0,
    health?.startPeriodMs ?? 0,
    health?.startIntervalMs ?? 0,
    health === undefined ? 0 : UNHEALTHY_ACTIONS.indexOf(health.onUnhealthy),
  ];
}

/** Writes into one growing buffer; host byte order, which is little-endian on both architectures. */
class PlanWriter {
  readonly listsAt: number;
  readonly dataAt: number;
  private buffer: Buffer;
  private view: DataView;
  private listEnd: number;
  private end: number;
  private readonly known = new Map<string, number>();

  constructor(listsAt: number, dataAt: number) {
    this.listsAt = listsAt;
    this.dataAt = dataAt;
    this.listEnd = listsAt;
    this.end = dataAt;
    this.buffer = Buffer.alloc(dataAt + 16384);
    this.view = viewOf(this.buffer);
  }

  op(at: number, row: Row): void {
    this.view.setUint32(at, row.form.code, true);
    this.view.setUint32(at + 4, row.op.optional === true ? OPTIONAL : 0, true);
    let slot = at + 8;
    for (const value of row.values) slot = this.value(slot, value, row.op.what);
  }

  /** Once per place: its upper half is zero before. */
  number(at: number, value: number | bigint): void {
    // Nearly all of the thousand of a plan; through BigInt they take a millisecond.
    if (typeof value === 'number' && value >>> 0 === value) this.view.setUint32(at, value, true);
    else this.buffer.writeBigUInt64LE(BigInt(value), at);
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
    this.view = viewOf(larger);
  }
}

function viewOf({ buffer, byteOffset, byteLength }: Buffer): DataView {
  return new DataView(buffer, byteOffset, byteLength);
}
