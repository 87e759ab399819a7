import { TinyrunError } from '../errors.ts';
import { FORMS, type Form, NAMESPACES, type OpOf, type Value } from './forms.ts';
import {
  type LaunchPlan,
  LOG_FORMATS,
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
const HEADER_SIZE = 46 * 8;
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
  const bytes = encodeRows(plan, lists, (text) => text.length) ?? encodeRows(plan, lists, Buffer.byteLength);
  if (bytes === undefined)
    throw new TinyrunError('internal', 'Cannot encode the plan: a string has two lengths');
  return bytes;
}

/** @param lengthOf a string's bytes; undefined is returned where it was wrong, as `length` is for all but ASCII */
function encodeRows(
  plan: LaunchPlan,
  lists: readonly (readonly Row[])[],
  lengthOf: (text: string) => number,
): Uint8Array | undefined {
  const rows = lists.flat();
  const listsAt = HEADER_SIZE + rows.length * OP_SIZE;
  let listSlots = 0;
  let blobBytes = 0;
  for (const { values } of rows) {
    for (const value of values) {
      if (value instanceof Uint8Array) blobBytes += aligned(value.length);
      else if (Array.isArray(value)) listSlots += value.length + 1;
    }
  }
  const writer = new PlanWriter(listsAt, listsAt + listSlots * 8, blobBytes, lengthOf);
  rows.forEach((row, index) => {
    writer.op(HEADER_SIZE + index * OP_SIZE, row);
  });
  writeHeader(writer, plan, lists);
  return writer.finish();
}

const aligned = (length: number): number => Math.ceil(length / 8) * 8;

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
    monitor.log?.attributes,
  ].map((text) => (text === undefined ? 0 : writer.string(text, 'start the container')));
  const phases: number[] = [];
  let at = HEADER_SIZE;
  for (const list of lists) {
    phases.push(at, list.length);
    at += list.length * OP_SIZE;
  }
  const namespaces = plan.namespaces.reduce((bits, name) => bits + NAMESPACES[name], 0);
  const log = [
    monitor.log?.maxBytes ?? 0,
    monitor.log?.maxFiles ?? 0,
    LOG_FORMATS.indexOf(monitor.log?.format ?? 'json'),
  ];
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

/**
 * Header, ops and lists as words of 32 bits, blobs and strings behind them; host byte order, which is little-endian on both
 * architectures. A plan has a thousand numbers and three hundred strings: all of the latter become bytes in one go.
 */
class PlanWriter {
  readonly listsAt: number;
  readonly dataAt: number;
  readonly #words: Uint32Array;
  readonly #blobs: Uint8Array;
  readonly #texts: string[] = [];
  readonly #lengthOf: (text: string) => number;
  readonly #stringsAt: number;
  #listEnd: number;
  #blobEnd = 0;
  #end: number;

  constructor(listsAt: number, dataAt: number, blobBytes: number, lengthOf: (text: string) => number) {
    this.listsAt = listsAt;
    this.dataAt = dataAt;
    this.#words = new Uint32Array(dataAt / 4);
    this.#blobs = new Uint8Array(blobBytes);
    this.#lengthOf = lengthOf;
    this.#listEnd = listsAt;
    this.#stringsAt = dataAt + blobBytes;
    this.#end = this.#stringsAt;
  }

  op(at: number, { form, op, values }: Row): void {
    this.#words[at / 4] = form.code;
    this.#words[at / 4 + 1] = op.optional === true ? OPTIONAL : 0;
    let slot = at + 8;
    for (const value of values) slot = this.#value(slot, value, op.what);
  }

  number(at: number, value: number | bigint): void {
    if (typeof value === 'number' && value >>> 0 === value) {
      this.#words[at / 4] = value;
      return;
    }
    const bits = BigInt(value);
    if (bits !== BigInt.asUintN(64, bits)) throw new RangeError(`${value} does not fit into 64 bits`);
    this.#words[at / 4] = Number(bits & 0xffffffffn);
    this.#words[at / 4 + 1] = Number(bits >> 32n);
  }

  /** @returns where its data begins */
  string(text: string, what: string): number {
    if (text.includes('\0')) throw new TinyrunError('invalid', `Cannot ${what}: a value contains a NUL byte`);
    const at = this.#end;
    this.#texts.push(text);
    this.#end = at + this.#lengthOf(text) + 1;
    return at;
  }

  /** Undefined where a string was longer than was thought. */
  finish(): Uint8Array | undefined {
    // The reader relies on it: the last byte of a plan is NUL.
    this.string('', 'end the plan');
    this.number(16, this.#end);
    const strings = Buffer.from(`${this.#texts.join('\0')}\0`);
    if (this.#stringsAt + strings.length !== this.#end) return undefined;
    const { buffer } = this.#words;
    return Buffer.concat([new Uint8Array(buffer), this.#blobs, strings]);
  }

  #value(at: number, value: Value, what: string): number {
    if (typeof value === 'string') this.number(at, this.string(value, what));
    else if (typeof value === 'number' || typeof value === 'bigint') this.number(at, value);
    else if (typeof value === 'boolean') this.number(at, value ? 1 : 0);
    else if (value instanceof Uint8Array) {
      this.number(at, this.#blob(value));
      this.number(at + 8, value.length);
      return at + 16;
    } else if (value !== undefined) this.number(at, this.#list(value, what));
    return at + 8;
  }

  #list(texts: readonly string[], what: string): number {
    const at = this.#listEnd;
    this.#listEnd += (texts.length + 1) * 8;
    texts.forEach((text, index) => {
      this.number(at + index * 8, this.string(text, what));
    });
    return at;
  }

  #blob(bytes: Uint8Array): number {
    const at = this.#blobEnd;
    this.#blobs.set(bytes, at);
    this.#blobEnd += aligned(bytes.length);
    return this.dataAt + at;
  }
}
