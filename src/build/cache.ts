import { createHash } from 'node:crypto';
import { existsSync, readFileSync, rmSync, utimesSync } from 'node:fs';
import { makePrivateDirectory, writeJson } from '../disk/atomic.ts';
import { withLock } from '../disk/lock.ts';
import type { Paths } from '../disk/paths.ts';
import { errorCode } from '../errors.ts';
import { blobSize } from '../image/blobs.ts';
import { type CachedStep, readStep } from '../image/cached-steps.ts';

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
  const { layer, boot } = step;
  if (boot !== undefined && boot !== bootId()) return undefined;
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

/** Remembers a result at once; what its blob is after a power cut, only a second call tells, without `boot`. */
export function saveStep(paths: Paths, key: StepKey, step: CachedStep): void {
  makePrivateDirectory(paths.buildSteps);
  writeJson(paths.buildStep(key), { version: 1, ...step }, { durable: false });
}

/** Of this boot of the machine. */
export function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
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
