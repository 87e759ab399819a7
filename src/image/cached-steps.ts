import { readdirSync, rmSync, statSync } from 'node:fs';
import { readJson } from '../disk/atomic.ts';
import type { Paths } from '../disk/paths.ts';
import { errorCode, TinyrunError } from '../errors.ts';
import { type Digest, parseDigest } from '../oci/digest.ts';
import type { Descriptor } from '../oci/image-spec.ts';

/** A layer that is in the store, blob and directory. */
export interface BuiltLayer {
  readonly diffId: Digest;
  readonly descriptor: Descriptor;
  /** RFC 3339; when it was made. */
  readonly created?: string;
}

/** What a step came to: `build-cache/steps/<key>.json`. Its file's mtime is when it was last used. */
export interface CachedStep {
  readonly layer: BuiltLayer;
  /** Bytes of the layer's tar. */
  readonly bytes: number;
  /** Of the instruction, for `builder du`. */
  readonly description: string;
  /**
   * The boot of the machine in which it was made, while its blob may not be on the medium yet: after another boot nobody knows what
   * is in the blob.
   */
  readonly boot?: string;
}

/** A cached step as `builder du` and `builder prune` see it. */
export interface StoredStep extends CachedStep {
  readonly key: string;
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

export function forgetStep(paths: Paths, key: string): void {
  rmSync(paths.buildStep(key), { force: true });
}

function keysIn(directory: string): string[] {
  try {
    return readdirSync(directory).flatMap((name) => /^([0-9a-f]{64})\.json$/.exec(name)?.[1] ?? []);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return [];
    throw error;
  }
}

/** A damaged record is none: the step is carried out again. */
export function readStep(paths: Paths, key: string): CachedStep | undefined {
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
  const { bytes, description, boot } = step;
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
    ...(typeof boot === 'string' ? { boot } : {}),
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
