import type { BaseImage, OnLayerProgress, StepHost } from '../build/step-host.ts';
import type { BuiltLayer } from '../image/cached-steps.ts';
import { lowerDirectories } from '../image/layers.ts';
import type { PullEvent } from '../image/pull-events.ts';
import type { Store } from '../image/store.ts';
import type { StoredImage } from '../image/stored-image.ts';
import type { Platform } from '../oci/image-spec.ts';
import { formatPlatform, parsePlatform } from '../registry/platform.ts';
import type { BuildRequest } from './build.ts';
import type { Core } from './core.ts';
import { accountIn } from './image-root.ts';

/** What a build needs of this machine and this store. */
export function stepHost(core: Core, store: Store, request: BuildRequest): StepHost {
  const directories = (layers: readonly BuiltLayer[]): string[] =>
    lowerDirectories(
      core.paths,
      layers.map(({ diffId }) => diffId),
    );
  return {
    paths: core.paths,
    env: core.env,
    directories,
    image: (reference, platform, onLayer) =>
      baseImage(core, store, request, { reference, platform, onLayer }),
    platform: (text) => parsePlatform(text, store.host),
    account: (layers, text) => ownerIn(directories(layers), text),
    isDirectory: async (layers, path) => isDirectory(directories(layers), path),
    run: async (run) => (await import('./build-run.ts')).runBuildStep(core, run, request.run),
  };
}

interface Wanted {
  readonly reference: string;
  readonly platform: Platform;
  readonly onLayer: OnLayerProgress;
}

async function baseImage(
  core: Core,
  store: Store,
  request: BuildRequest,
  wanted: Wanted,
): Promise<BaseImage> {
  const { reference, platform } = wanted;
  const present = request.pull ? undefined : store.resolve(reference, platform);
  const image =
    present === undefined
      ? await pulled(core, request, wanted)
      : await unpacked(core, present, request.signal);
  return { config: image.config, layers: layersOf(image), name: reference };
}

/** Of an image that was only pushed or copied here the layers are still packed. */
async function unpacked(
  core: Core,
  image: StoredImage,
  signal: AbortSignal | undefined,
): Promise<StoredImage> {
  const { isUnpacked } = await import('../image/layers.ts');
  if (isUnpacked(core.paths, image.config.rootfs.diff_ids)) return image;
  return (await import('./unpack-stored.ts')).unpackStored(core, image, signal);
}

async function pulled(core: Core, request: BuildRequest, wanted: Wanted): Promise<StoredImage> {
  const { pullImage } = await import('./pull.ts');
  const { image } = await pullImage(core, wanted.reference, {
    platform: formatPlatform(wanted.platform),
    onEvent: (event) => report(event, wanted.onLayer),
    signal: request.signal,
  });
  return image;
}

function report(event: PullEvent, onLayer: OnLayerProgress): void {
  if (event.type !== 'layer') return;
  const { id, current = 0, total = 0, status } = event;
  const done = status === 'Pull complete' || status === 'Already exists';
  if (status === 'Downloading' || done) onLayer({ id, current, total, done });
}

/** The layers of an image that is in the store. */
export function layersOf({ config, manifest }: StoredImage): BuiltLayer[] {
  return config.rootfs.diff_ids.map((diffId, at) => {
    const descriptor = manifest.layers[at];
    if (descriptor === undefined) throw new Error(`no layer ${at} in the manifest`);
    return { diffId, descriptor };
  });
}

/** `--chown`: a number alone is the group, too; a name alone brings its group. */
async function ownerIn(directories: readonly string[], text: string): Promise<{ uid: number; gid: number }> {
  const both = /^[0-9]+$/.test(text) ? `${text}:${text}` : text;
  const { uid, gid } = await accountIn({ directories }, both, []);
  return { uid, gid };
}

async function isDirectory(directories: readonly string[], path: string): Promise<boolean> {
  const { closeFd, openRoot, statInRoot } = await import('../native/syscalls.ts');
  const root = openRoot(directories);
  try {
    return statInRoot(root, path).type === 'directory';
  } catch {
    // Missing, or a link in a circle: what makes it says so.
    return false;
  } finally {
    closeFd(root);
  }
}
