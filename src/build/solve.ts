import { availableParallelism } from 'node:os';
import { TinyrunError } from '../errors.ts';
import { Slots } from '../image/slots.ts';
import type { Platform } from '../oci/image-spec.ts';
import type { BuildContext } from './context.ts';
import { contextSource, type FileSource, layerSource } from './copy-source.ts';
import type { Stage, StageSource } from './dockerfile/stage.ts';
import type { Draft } from './image-config.ts';
import { buildStage, contextName } from './stage.ts';
import type { Vertices } from './step-events.ts';
import type { BaseImage, SolveInput } from './step-host.ts';

/** What the stages of one build share: each stage, image and context is had once, however many ask for it. */
export interface Solver {
  readonly input: SolveInput;
  readonly vertices: Vertices;
  /** So many steps at a time. */
  readonly slots: Slots;
  /** Whether several platforms are built. */
  readonly isMany: boolean;
  readonly platformText: string;
  stage(index: number): Promise<Draft>;
  /** @param prefix `[build 1/5] ` */
  baseImage(reference: string, platform: Platform, prefix: string): Promise<BaseImage>;
  referenceOf(source: StageSource): Promise<string>;
  platformOf(stage: Stage): Promise<Platform>;
  files(source: StageSource): Promise<FileSource>;
  /** @param name undefined: the build context */
  contextFiles(name: string | undefined): Promise<FileSource>;
  usesCache(stage: Stage): boolean;
  /** Work that the build waits for in its end only. */
  later(work: Promise<void>): void;
}

/**
 * Builds the stages that the target needs, those that do not need each other at the same time. The caller holds the
 * store's lease.
 * @returns the target
 * @throws BuildFileError with the line, the first of whatever failed; the other steps are stopped
 */
export async function solve(input: SolveInput, vertices: Vertices, isMany = false): Promise<Draft> {
  const abort = new AbortController();
  const signal = AbortSignal.any([input.signal, abort.signal]);
  const shared = { ...input, signal, layerHow: { ...input.layerHow, signal } };
  const pending: Promise<void>[] = [];
  const solver = solverOf(shared, vertices, isMany, pending);
  const { target, needed } = input.stages;
  let failure: { readonly error: unknown } | undefined;
  const stages = needed.map(async ({ index }) => {
    try {
      await solver.stage(index);
    } catch (error) {
      failure ??= { error };
      abort.abort(new TinyrunError('unavailable', 'context canceled'));
    }
  });
  await Promise.all(stages);
  if (failure !== undefined) throw failure.error;
  await Promise.all(pending);
  return await solver.stage(target.index);
}

function solverOf(input: SolveInput, vertices: Vertices, isMany: boolean, pending: Promise<void>[]): Solver {
  const { host, signal, stages } = input;
  const built = new Map<number, Promise<Draft>>();
  const images = new Map<string, Promise<BaseImage>>();
  const contexts = new Map<string, Promise<FileSource>>();
  const solver: Solver = {
    input,
    vertices,
    slots: new Slots(Math.max(2, availableParallelism())),
    isMany,
    platformText: platformText(input.platform),
    stage: (index) =>
      once(built, index, async () => {
        const stage = stages.all[index];
        if (stage === undefined) throw new Error(`no stage ${index}`);
        return await buildStage(solver, stage);
      }),
    baseImage: (reference, platform, prefix) =>
      once(images, `${reference} ${platformText(platform)}`, () =>
        vertices.step(`${prefix}FROM ${reference}`, [], async (vertex) => {
          const image = await host.image(reference, platform, ({ id, current, total, done }) =>
            vertex.status({ id, current, total, done }),
          );
          vertex.cached();
          return image;
        }),
      ),
    referenceOf: async (source) => {
      if (source.type === 'image') return source.reference;
      const named = source.type === 'context' ? contextOf(input, source.name) : undefined;
      if (named?.type === 'image') return named.reference;
      throw new TinyrunError('unsupported', 'a directory cannot be the base of a stage', {
        hint: 'Use FROM scratch and COPY --from with the name of the context',
      });
    },
    platformOf: async (stage) => {
      if (stage.platform === undefined) return input.platform;
      return host.platform(stage.platform);
    },
    files: async (source) => {
      if (source.type === 'stage') {
        return layerSource(host.directories((await solver.stage(source.index)).layers), signal);
      }
      if (source.type === 'scratch') return layerSource(host.directories([]), signal);
      if (source.type === 'context' && contextOf(input, source.name).type === 'files') {
        return await solver.contextFiles(source.name);
      }
      const reference = await solver.referenceOf(source);
      const image = await solver.baseImage(reference, input.platform, '');
      return layerSource(host.directories(image.layers), signal);
    },
    contextFiles: (name) =>
      once(contexts, name ?? '', async () => {
        if (name === undefined) return contextSource(await loaded(input, vertices));
        const named = contextOf(input, name);
        if (named.type !== 'files') throw new Error(`context ${name} is an image`);
        return contextSource(await named.open());
      }),
    usesCache: ({ alias, index }) => {
      const { noCache } = input;
      if (typeof noCache === 'boolean') return !noCache;
      return !noCache.some((name) => name.toLowerCase() === alias || name === String(index));
    },
    later: (work) => {
      work.catch(() => {});
      pending.push(work);
    },
  };
  return solver;
}

/** The walk through the context, as a step that people see. */
async function loaded(input: SolveInput, vertices: Vertices): Promise<BuildContext> {
  return await vertices.step('[internal] load build context', [], async (vertex) => {
    vertex.started();
    const context = await input.context();
    const entries = await context.entries();
    const bytes = entries.reduce((sum, { size, type }) => sum + (type === 'file' ? size : 0), 0);
    vertex.status({ id: 'reading context:', current: bytes, done: true });
    return context;
  });
}

function contextOf({ namedContexts }: SolveInput, name: string) {
  const found =
    namedContexts.get(name) ??
    [...namedContexts].find(([key]) => contextName(key) === contextName(name))?.[1];
  if (found !== undefined) return found;
  throw new TinyrunError('not_found', `no build context ${JSON.stringify(name)}`);
}

function platformText({ os, architecture, variant }: Platform): string {
  return [os, architecture, ...(variant === undefined || variant === '' ? [] : [variant])].join('/');
}

function once<K, T>(known: Map<K, Promise<T>>, key: K, make: () => Promise<T>): Promise<T> {
  const found = known.get(key);
  if (found !== undefined) return found;
  const made = make();
  made.catch(() => {});
  known.set(key, made);
  return made;
}
