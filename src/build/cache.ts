import { createHash } from 'node:crypto';
import { existsSync, readdirSync, rmSync, statSync, utimesSync } from 'node:fs';
import { makePrivateDirectory, readJson, writeJson } from '../disk/atomic.ts';
import { withLock } from '../disk/lock.ts';
import type { Paths } from '../disk/paths.ts';
import { errorCode, TinyrunError } from '../errors.ts';
import { blobSize } from '../image/blobs.ts';
import { parseDigest } from '../oci/digest.ts';
import type { BuiltLayer } from './image-config.ts';

/** What a step came to: `build-cache/steps/<key>.json`. Its file's mtime is when it was last used. */
export interface CachedStep {
  readonly layer: BuiltLayer;
  /** Bytes of the layer's tar. */
  readonly bytes: number;
  /** Of the instruction, for `builder du`. */
  readonly description: string;
}

/** 64 hex digits over everything that a step's result depends on. */
export type StepKey = string;

/** @param parts whatever decides: plain values, in a fixed order of fields */
export function stepKey(kind: string, parts: unknown): StepKey {
  return createHash('sha256')
    .update(JSON.stringify([kind, parts]))
    .digest('hex');
}

/**
 * The result of a step from the cache, undefined where there is none or where its layer is not in the store any more. Marks it
 * as used.
 */
export function findStep(paths: Paths, key: StepKey): CachedStep | undefined {
  const step = readStep(paths, key);
  if (step === undefined) return undefined;
  const { layer } = step;
  if (!existsSync(paths.layerFs(layer.diffId))) return undefined;
  if (blobSize(paths, layer.descriptor.digest) !== layer.descriptor.size) return undefined;
  try {
    const now = new Date();
    utimesSync(paths.buildStep(key), now, now);
  } catch (error) {
    // Pruned this moment; what it names is kept by our lease.
    if (errorCode(error) !== 'ENOENT') throw error;
  }
  return step;
}

/** Remembers a result. Its blob must be on the medium: a record outlives a power cut. */
export function saveStep(paths: Paths, key: StepKey, step: CachedStep): void {
  makePrivateDirectory(paths.buildSteps);
  writeJson(paths.buildStep(key), { version: 1, ...step }, { durable: false });
}

/** Runs `fn` while no other build, of this process or another, carries out the step of that key. */
export async function whileAlone<T>(paths: Paths, key: StepKey, fn: () => Promise<T>): Promise<T> {
  const path = paths.buildLock(key);
  return await withLock(path, 'exclusive', async () => {
    try {
      return await fn();
    } finally {
      // Those who wait see that the file is another one now, and make it anew.
      rmSync(path, { force: true });
    }
  });
}

/** A cached step as `builder du` and `builder prune` see it. */
export interface StoredStep extends CachedStep {
  readonly key: StepKey;
  readonly lastUsed: Date;
}

/** Everything in the cache of steps, damaged records left out, the one used longest ago first. */
export function storedSteps(paths: Paths): StoredStep[] {
  const steps = keysIn(paths.buildSteps).flatMap((key) => {
    const step = readStep(paths, key);
    const found = statSync(paths.buildStep(key), { throwIfNoEntry: false });
    return step === undefined || found === undefined ? [] : [{ ...step, key, lastUsed: found.mtime }];
  });
  return steps.sort((a, b) => a.lastUsed.getTime() - b.lastUsed.getTime());
}

export function forgetStep(paths: Paths, key: StepKey): void {
  rmSync(paths.buildStep(key), { force: true });
}

function keysIn(directory: string): StepKey[] {
  try {
    return readdirSync(directory).flatMap((name) => /^([0-9a-f]{64})\.json$/.exec(name)?.[1] ?? []);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return [];
    throw error;
  }
}

/** A damaged record is none: the step is carried out again. */
function readStep(paths: Paths, key: StepKey): CachedStep | undefined {
  try {
    return readJson(paths.buildStep(key), parseStep);
  } catch (error) {
    if (error instanceof TinyrunError) return undefined;
    throw error;
  }
}

function parseStep(value: unknown): CachedStep {
  const step = fieldsOf(value);
  const layer = fieldsOf(step.layer);
  const descriptor = fieldsOf(layer.descriptor);
  const { mediaType, size } = descriptor;
  const { bytes, description } = step;
  if (
    step.version !== 1 ||
    typeof mediaType !== 'string' ||
    typeof size !== 'number' ||
    typeof bytes !== 'number' ||
    typeof description !== 'string'
  ) {
    throw new TinyrunError('internal', 'Cannot read a cached step: it is not of this version');
  }
  return {
    bytes,
    description,
    layer: {
      diffId: parseDigest(layer.diffId),
      descriptor: { mediaType, size, digest: parseDigest(descriptor.digest) },
      ...(typeof layer.created === 'string' ? { created: layer.created } : {}),
    },
  };
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? { ...value } : {};
}
