import { TinyrunError } from '../errors.ts';
import type { BuiltLayer } from '../image/cached-steps.ts';
import { bootId, findStep, saveStep, whileAlone } from './cache.ts';
import type { FileSource } from './copy-source.ts';
import type { StageSource } from './dockerfile/stage.ts';
import type { Draft } from './image-config.ts';
import type { StageWork } from './stage.ts';
import type { Vertex } from './step-events.ts';
import { makeLayer } from './step-layer.ts';

/** A step that makes a layer. */
export interface Making {
  readonly name: string;
  readonly description: string;
  /** 64 hex digits; several, where an exact one can be had later for more work: any of them will do. Undefined: there is none. */
  readonly keys: readonly (() => Promise<string | undefined>)[];
  readonly isCached: boolean;
  readonly fill: (upper: string, scratch: string, vertex: Vertex) => Promise<void>;
}

/** The layer from the cache or made now; of equal steps at the same time one is carried out. */
export async function cachedLayer({ solver }: StageWork, making: Making): Promise<BuiltLayer> {
  const { host, layerHow, signal } = solver.input;
  const { paths } = host;
  return await solver.vertices.step(making.name, [], async (vertex) => {
    const keys: string[] = [];
    for (const key of making.keys) {
      const next = await key();
      if (next === undefined) continue;
      const found = making.isCached ? findStep(paths, next) : undefined;
      if (found !== undefined) {
        for (const known of keys) saveStep(paths, known, found);
        for (const known of [...keys, next]) solver.input.onStep?.(known, found);
        vertex.cached();
        return found.layer;
      }
      keys.push(next);
    }
    const last = keys.at(-1) ?? '';
    return await whileAlone(paths, last, async () => {
      const found = making.isCached ? findStep(paths, last) : undefined;
      if (found !== undefined) {
        solver.input.onStep?.(last, found);
        // Made meanwhile by who had the lock, or by a step of the same outcome.
        for (const known of keys) saveStep(paths, known, found);
        vertex.cached();
        return found.layer;
      }
      const slot = await solver.slots.take();
      try {
        signal.throwIfAborted();
        vertex.started();
        const made = await makeLayer(paths, layerHow, (upper, scratch) =>
          making.fill(upper, scratch, vertex),
        );
        const { layer, bytes } = made;
        const step = { layer, bytes, description: making.description };
        // Before the lock is given up: whoever waits for it takes the result.
        for (const known of keys) saveStep(paths, known, { ...step, boot: bootId() });
        for (const known of keys) solver.input.onStep?.(known, step);
        const saved = made.durable.then(() => {
          for (const known of keys) saveStep(paths, known, step);
        });
        solver.later(saved);
        return layer;
      } finally {
        slot.release();
      }
    });
  });
}

/** What a step finds below it: the content of its root. */
export function diffIds({ layers }: Draft): readonly string[] {
  return layers.map(({ diffId }) => diffId);
}

/** What `--from` or `from=` means; without one, the build context. */
export async function sourceOf(
  { solver }: StageWork,
  sources: ReadonlyMap<string, StageSource>,
  word: string | undefined,
): Promise<FileSource> {
  if (word === undefined) return await solver.contextFiles(undefined);
  const source = sources.get(word);
  if (source === undefined)
    throw new TinyrunError('invalid', `failed to resolve source ${JSON.stringify(word)}`);
  return await solver.files(source);
}
