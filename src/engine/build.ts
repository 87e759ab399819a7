import type { OnBuildEvent } from '../build/events.ts';
import { Vertices } from '../build/step-events.ts';
import type { BuildSecret, SolveInput } from '../build/step-host.ts';
import type { WrittenImage } from '../build/step-image.ts';
import type { Digest } from '../oci/digest.ts';
import type { Descriptor, Platform } from '../oci/image-spec.ts';
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
  /** All layers of the build as one. */
  readonly squash: boolean;
  readonly onEvent: OnBuildEvent;
  readonly signal: AbortSignal;
}

export interface BuiltImage {
  /** Of the first platform. */
  readonly id: Digest;
  /** What the names point to: a manifest, or an index of several platforms. */
  readonly target: Descriptor;
  readonly images: readonly WrittenImage[];
  /** Canonical. */
  readonly names: readonly string[];
}

/**
 * `build`: the image of a Dockerfile, in the store under its names.
 * @throws BuildFileError with file, line and excerpt; TinyrunError
 */
export async function buildImage(core: Core, request: BuildRequest): Promise<BuiltImage> {
  const [{ canonicalName, parseReference }, { openSources }] = await Promise.all([
    import('../registry/reference.ts'),
    import('./build-sources.ts'),
  ]);
  const names = request.tags.map((tag) => canonicalName(parseReference(tag)));
  const store = await core.store();
  await store.repair();
  const lease = await store.lease();
  try {
    const vertices = new Vertices(request.onEvent, () => Date.now(), request.signal);
    const sources = await openSources(core, request, vertices);
    try {
      const platforms = await platformsOf(request, store.host);
      const isMany = platforms.length > 1;
      const drafts = await Promise.all(
        platforms.map((platform) => buildPlatform(core, request, { sources, vertices, platform, isMany })),
      );
      return await exportImage(core, request, { names, drafts, vertices });
    } finally {
      await sources.close();
    }
  } finally {
    lease.release();
    const { limitBuildCache } = await import('./build-cache.ts');
    await limitBuildCache(core);
  }
}

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
}

async function buildPlatform(core: Core, request: BuildRequest, build: PlatformBuild): Promise<Draft> {
  const { sources, vertices, platform, isMany } = build;
  const [{ stages, platformArgs }, { solve }, { stepHost }] = await Promise.all([
    import('../build/dockerfile/stages.ts'),
    import('../build/solve.ts'),
    import('./build-host.ts'),
  ]);
  const store = await core.store();
  const { buildArgs, target, epoch } = request;
  const { dockerfile, context, namedContexts } = sources;
  const predefined = platformArgs(store.host, platform, target);
  const input: SolveInput = {
    host: stepHost(core, store, request),
    dockerfile,
    stages: stages(dockerfile, {
      buildArgs,
      platformArgs: predefined,
      namedContexts: [...namedContexts.keys()],
      ...(target === undefined ? {} : { target }),
    }),
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
      compression: request.compression,
      now: () => new Date().toISOString(),
      ...(epoch === undefined ? {} : { epoch }),
    },
    onEvent: request.onEvent,
    signal: request.signal,
    now: () => Date.now(),
  };
  return await solve(input, vertices, isMany);
}

interface Export {
  readonly names: readonly string[];
  readonly drafts: readonly Draft[];
  readonly vertices: Vertices;
}

async function exportImage(core: Core, request: BuildRequest, built: Export): Promise<BuiltImage> {
  const { names, drafts, vertices } = built;
  const { writeImage, writeIndex } = await import('../build/step-image.ts');
  const store = await core.store();
  const { epoch } = request;
  return await vertices.step('exporting to image', [], async (vertex) => {
    vertex.started();
    const images = drafts.map((draft) => writeImage(core.paths, draft, epoch === undefined ? {} : { epoch }));
    const [first] = images;
    if (first === undefined) throw new Error('a build of no platform');
    const target = images.length === 1 ? first.manifest : writeIndex(core.paths, images);
    vertex.status({ id: `writing image ${first.id}`, current: 0, done: true });
    const { mediaType, digest, size } = target;
    for (const name of names.length === 0 ? [undefined] : names) {
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
    return { id: first.id, target, images, names };
  });
}
