import { readdirSync, readFileSync } from 'node:fs';
import { readJson } from '../disk/atomic.ts';
import type { Paths } from '../disk/paths.ts';
import { errorCode, TinyrunError } from '../errors.ts';
import type { StateRecord } from '../native/launch.ts';
import type { Digest } from '../oci/digest.ts';
import type { ProcessDefaults } from '../oci/image-spec.ts';
import { idOfName } from './names.ts';
import type { CreateOptions, MountRequest } from './options.ts';

export type { StateRecord };

/** container.json: what was asked for and what it was made from. Written again only by `rename` and `update`. */
export interface ContainerRecord {
  readonly version: 1;
  readonly id: string;
  readonly name: string;
  /** RFC 3339 with nanoseconds, UTC. */
  readonly created: string;
  readonly image: {
    readonly id: Digest;
    readonly manifestDigest: Digest;
    readonly platform: { readonly os: string; readonly architecture: string; readonly variant?: string };
    readonly config: ProcessDefaults;
  };
  /** The command line: entrypoint and command of image and options put together. */
  readonly args: readonly string[];
  readonly options: CreateOptions;
  /** `options.mounts` where volumes make a difference: each has its name, with those of the image and of other containers. */
  readonly mounts?: readonly MountRequest[];
}

/** All that is mounted in a container besides the defaults. */
export function containerMounts({
  mounts,
  options,
}: Pick<ContainerRecord, 'mounts' | 'options'>): readonly MountRequest[] {
  return mounts ?? options.mounts;
}

export type Status = 'created' | 'running' | 'paused' | 'restarting' | 'removing' | 'exited' | 'dead';

/** A container as it is now: facts from the disk and the status that follows from them. */
export interface Container {
  readonly id: string;
  readonly name: string;
  readonly record: ContainerRecord;
  readonly state?: StateRecord;
  readonly status: Status;
}

/** Exit code that a container gets whose monitor died with it: it was killed. */
export const KILLED = 137;

/**
 * The status that follows from the facts: it runs where the kernel says that the monitor's lock is held and the state
 * has no end. A flag in a file would survive a power cut; a lock does not.
 */
export function statusOf(state: StateRecord | undefined, lockHeld: boolean): Status {
  if (state === undefined) return 'created';
  if (state.error !== undefined && state.pid === 0) return 'created';
  if (!lockHeld) return 'exited';
  if (state.finishedAt === undefined) return 'running';
  return state.restarting === true ? 'restarting' : 'exited';
}

/** Whether a container is in use: its monitor has it running, standing still, or about to run again. */
export function isUp(status: Status): boolean {
  return status === 'running' || status === 'paused' || status === 'restarting';
}

/** The state of a container whose monitor is dead: nobody wrote how it ended, so it was killed. */
export function endedState(state: StateRecord): StateRecord {
  if (state.finishedAt !== undefined || state.pid === 0) return state;
  return { ...state, exitCode: KILLED, signal: 9 };
}

export function readRecord(paths: Paths, id: string): ContainerRecord | undefined {
  return readJson(paths.containerRecord(id), (value) => {
    if (isRecord(value)) return value;
    throw new TinyrunError('internal', 'not a container record of this version');
  });
}

export function readState(paths: Paths, id: string): StateRecord | undefined {
  return readJson(paths.state(id), (value) => {
    if (isState(value)) return value;
    throw new TinyrunError('internal', 'not a state record');
  });
}

/** Reads one container. @param lockIsHeld of native/syscalls.ts @returns undefined where there is none (any more) */
export function readContainer(
  paths: Paths,
  id: string,
  lockIsHeld: (path: string) => boolean,
): Container | undefined {
  const record = readRecord(paths, id);
  if (record === undefined) return undefined;
  // The lock before the state: a container that ends in between is then seen as ended, never as running without end.
  const held = lockIsHeld(paths.lock(id));
  const state = readState(paths, id);
  const status = statusOf(state, held);
  const shown = state === undefined || held ? state : endedState(state);
  return { id, name: record.name, record, status, ...(shown === undefined ? {} : { state: shown }) };
}

/** Ids of all containers, also of those that are just being made. */
export function containerIds(paths: Paths): string[] {
  try {
    return readdirSync(paths.containers).filter((name) => /^[0-9a-f]{64}$/.test(name));
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return [];
    throw error;
  }
}

/**
 * The id that a name, an id or the beginning of an id means.
 * @throws TinyrunError `not_found` in Docker's words; `conflict` where a prefix fits several
 */
export function resolveId(paths: Paths, text: string): string {
  const missing = new TinyrunError('not_found', `No such container: ${text}`);
  if (text === '') throw missing;
  const ids = containerIds(paths);
  if (ids.includes(text)) return text;
  const named = idOfName(paths, text.replace(/^\//, ''));
  if (named !== undefined && ids.includes(named)) return named;
  if (!/^[0-9a-f]{1,64}$/.test(text)) throw missing;
  const [first, ...more] = ids.filter((id) => id.startsWith(text));
  if (first === undefined) throw missing;
  if (more.length > 0) {
    throw new TinyrunError('conflict', `multiple IDs found with provided prefix: ${text}`);
  }
  return first;
}

/** JSON text of a small file of the run directory, or undefined where it is gone. */
export function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

function isRecord(value: unknown): value is ContainerRecord {
  return (
    isObject(value) &&
    value.version === 1 &&
    typeof value.id === 'string' &&
    typeof value.name === 'string' &&
    isObject(value.image) &&
    isObject(value.options) &&
    Array.isArray(value.args)
  );
}

function isState(value: unknown): value is StateRecord {
  return (
    isObject(value) &&
    typeof value.pid === 'number' &&
    typeof value.startedAt === 'string' &&
    (value.exitCode === undefined || typeof value.exitCode === 'number')
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
