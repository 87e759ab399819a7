import type { BuildContext } from '../build/context.ts';
import type { OnBuildEvent } from '../build/events.ts';
import { Vertices } from '../build/step-events.ts';
import type { BuildSecret, SolveInput } from '../build/step-host.ts';
import type { WrittenImage } from '../build/step-image.ts';
import { type CachedStep, forgetStep } from '../image/cached-steps.ts';
import type { Digest } from '../oci/digest.ts';
import type { Descriptor, Platform } from '../oci/image-spec.ts';
import type { PlannedOutputs } from './build-output.ts';
import type { BuildRunSettings } from './build-run.ts';
import type { BuildSources } from './build-sources.ts';
import type { Core } from './core.ts';

/** A build as it was asked for. Paths are absolute. */
export interface BuildRequest {
  /** A directory, an address, a git repository, or `-`. */
  readonly context: string;
  /** `-f`: a path, an address or `-`; default the context's Dockerfile. */
  readonly file?: string;
  /** Where relative paths begin. */
  readonly cwd: string;
  readonly stdin?: AsyncIterable<Uint8Array>;
  /** Names of the image. */
  readonly tags: readonly string[];
  /** `-o`, each as it was typed; none: the store. */
  readonly outputs: readonly string[];
  /** Where `-o -` goes; absent where that is a terminal. */
  readonly write?: (chunk: Uint8Array) => Promise<void>;
  readonly target?: string;
  readonly buildArgs: Readonly<Record<string, string>>;
  /** `--build-context name=value`. */
  readonly buildContexts: readonly string[];
  readonly secrets: ReadonlyMap<string, BuildSecret>;
  readonly ssh: ReadonlyMap<string, string>;
  readonly labels: Readonly<Record<string, string>>;
  readonly noCache: boolean | readonly string[];
  /** Look for newer base images. */
  readonly pull: boolean;
  /** Empty: this machine's. */
  readonly platforms: readonly string[];
  readonly network: SolveInput['network'];
  readonly allowInsecure: boolean;
  readonly run: BuildRunSettings;
  readonly compression: SolveInput['layerHow']['compression'];
  /** SOURCE_DATE_EPOCH, seconds. */
  readonly epoch?: number;
  /** Places of caches, each as it was typed. */
  readonly cacheFrom: readonly string[];
  readonly cacheTo: readonly string[];
  readonly onEvent: OnBuildEvent;
  readonly signal: AbortSignal;
}

export interface BuiltImage {
  /** Of the first platform. */
  readonly id: Digest;
  /** What the names point to: a manifest, or an index of several platforms. */
  readonly target: Descriptor;
  readonly images: readonly WrittenImage[];
  /** Canonical; those that the store has it under. */
  readonly names: readonly string[];
  /** An output went to standard output. */
  readonly toStdout: boolean;
}

/**
 * `build`: the image of a Dockerfile, in the store under its names.
 * @throws BuildFileError with file, line and excerpt; TinyrunError
 */
export async function buildImage(core: Core, request: BuildRequest): Promise<BuiltImage> {
  const [{ canonicalName, parseReference }, { openSources }, { planOutputs }] = await Promise.all([
    import('../registry/reference.ts'),
    import('./build-sources.ts'),
    import('./build-output.ts'),
  ]);
  const outputs = planOutputs(request);
  const names = outputs.names.map((tag) => canonicalName(parseReference(tag)));
  const store = await core.store();
  await store.repair();
  const lease = await store.lease();
  try {
    const copies = watchCopies(request.onEvent);
    const vertices = new Vertices(copies.onEvent, () => Date.now(), request.signal);
    const sources = await openSources(core, request, vertices);
    try {
      const platforms = await platformsOf(request, store.host);
      const isMany = platforms.length > 1;
      const { packing } = outputs;
      const steps = new Map<string, CachedStep>();
      const common = { sources, vertices, isMany, packing, steps, reported: new Set<string>() };
      if (request.cacheFrom.length > 0) await (await exchange()).importCaches(core, request, vertices);
      const drafts = await Promise.all(
        platforms.map((platform) => buildPlatform(core, request, { ...common, platform })),
      );
      if (copies.made()) forgetUncertain(core, sources.context, steps);
      const built = await exportImage(core, request, { names, outputs, drafts, vertices });
      if (request.cacheTo.length > 0)
        await (await exchange()).exportCaches(core, request, steps, { drafts, vertices });
      return built;
    } finally {
      await sources.close();
    }
  } finally {
    lease.release();
    const { limitBuildCache } = await import('./build-cache.ts');
    await limitBuildCache(core);
  }
}

/** Whether a COPY or ADD was carried out, not only found in the cache. */
function watchCopies(onEvent: OnBuildEvent): { onEvent: OnBuildEvent; made: () => boolean } {
  let made = false;
  return {
    made: () => made,
    onEvent: (event) => {
      made ||= event.type === 'started' && /\] (COPY|ADD) /i.test(event.name);
      onEvent(event);
    },
  };
}

/** A file that was changed between its digest and its copy would be found under the wrong digest for ever. */
function forgetUncertain(core: Core, context: BuildContext, steps: Map<string, CachedStep>): void {
  if (context.changed().length === 0) return;
  for (const [key, { description }] of steps) {
    if (!/^(copy|add)\s/i.test(description)) continue;
    forgetStep(core.paths, key);
    steps.delete(key);
  }
}

const exchange = (): Promise<typeof import('./build-cache-exchange.ts')> =>
  import('./build-cache-exchange.ts');

async function platformsOf({ platforms }: BuildRequest, host: Platform): Promise<Platform[]> {
  if (platforms.length === 0) return [host];
  const { parsePlatform } = await import('../registry/platform.ts');
  return platforms.map((text) => parsePlatform(text, host));
}

type Draft = Awaited<ReturnType<typeof import('../build/solve.ts')['solve']>>;

interface PlatformBuild {
  readonly sources: BuildSources;
  readonly vertices: Vertices;
  readonly platform: Platform;
  readonly isMany: boolean;
  readonly packing: PlannedOutputs['packing'];
  /** What the build used of the cache, and added to it. */
  readonly steps: Map<string, CachedStep>;
  /** Warnings that were told: each once, whatever the platforms. */
  readonly reported: Set<string>;
}

async function buildPlatform(core: Core, request: BuildRequest, build: PlatformBuild): Promise<Draft> {
  const { sources, vertices, platform, isMany } = build;
  const [{ stages, platformArgs }, { solve }, { stepHost }, { reportChecks }] = await Promise.all([
    import('../build/dockerfile/stages.ts'),
    import('../build/solve.ts'),
    import('./build-host.ts'),
    import('./build-lint.ts'),
  ]);
  const store = await core.store();
  const { buildArgs, target, epoch } = request;
  const { dockerfile, context, namedContexts } = sources;
  const predefined = platformArgs(store.host, platform, target);
  const read = stages(dockerfile, {
    buildArgs,
    platformArgs: predefined,
    namedContexts: [...namedContexts.keys()],
    ...(target === undefined ? {} : { target }),
  });
  const ignore = sources.ignore === undefined ? {} : { ignore: sources.ignore };
  const linted = { dockerfile, stages: read, platformArgs: predefined, ...ignore };
  await reportChecks(core, request, linted, build.reported);
  const input: SolveInput = {
    host: stepHost(core, store, request),
    dockerfile,
    stages: read,
    platform,
    buildPlatform: store.host,
    buildArgs: {
      ...(epoch === undefined ? {} : { SOURCE_DATE_EPOCH: String(epoch) }),
      ...buildArgs,
    },
    platformArgs: predefined,
    context: async () => context,
    namedContexts,
    secrets: request.secrets,
    ssh: request.ssh,
    labels: request.labels,
    noCache: request.noCache,
    network: request.network,
    allowInsecure: request.allowInsecure,
    layerHow: {
      compression: build.packing.compression ?? request.compression,
      ...(build.packing.level === undefined ? {} : { level: build.packing.level }),
      now: () => new Date().toISOString(),
      ...(epoch === undefined ? {} : { epoch }),
    },
    onEvent: request.onEvent,
    onStep: (key, step) => void build.steps.set(key, step),
    signal: request.signal,
    now: () => Date.now(),
  };
  const draft = await solve(input, vertices, isMany);
  // More is known now of the images that were pulled for it.
  await reportChecks(core, request, linted, build.reported);
  return draft;
}

interface Export {
  readonly names: readonly string[];
  readonly outputs: PlannedOutputs;
  readonly drafts: readonly Draft[];
  readonly vertices: Vertices;
}

async function exportImage(core: Core, request: BuildRequest, built: Export): Promise<BuiltImage> {
  const { names, outputs, drafts, vertices } = built;
  const { writeImage, writeIndex } = await import('../build/step-image.ts');
  const store = await core.store();
  const { epoch } = request;
  const image = await vertices.step('exporting to image', [], async (vertex) => {
    vertex.started();
    const images = drafts.map((draft) => writeImage(core.paths, draft, epoch === undefined ? {} : { epoch }));
    const [first] = images;
    if (first === undefined) throw new Error('a build of no platform');
    const target = images.length === 1 ? first.manifest : writeIndex(core.paths, images);
    vertex.status({ id: `writing image ${first.id}`, current: 0, done: true });
    const { mediaType, digest, size } = target;
    const kept = outputs.keeps ? (names.length === 0 ? [undefined] : names) : [];
    for (const name of kept) {
      for (const [at, { id, manifest }] of images.entries()) {
        await store.add({
          ...(name === undefined ? {} : { name }),
          target: { mediaType, digest, size },
          key: { manifest: manifest.digest, id },
          preferred: at === 0,
        });
      }
      if (name !== undefined) vertex.status({ id: `naming to ${name}`, current: 0, done: true });
    }
    const toStdout = outputs.files.some(({ dest }) => dest === '-');
    return { id: first.id, target, images, names: outputs.keeps ? names : [], toStdout };
  });
  const { writeOutputs } = await import('./build-output.ts');
  await writeOutputs(core, request, outputs, {
    drafts,
    images: image.images,
    target: image.target,
    vertices,
  });
  return image;
}
