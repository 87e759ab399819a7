import { closeSync, constants, openSync, rmSync } from 'node:fs';
import type { Draft } from '../build/image-config.ts';
import { makePrivateDirectory } from '../disk/atomic.ts';
import { TinyrunError } from '../errors.ts';
import { storeLayer } from '../image/store-layer.ts';
import { packProgram, unpackProgram } from '../native/library.ts';
import { flock } from '../native/syscalls.ts';
import type { Digest } from '../oci/digest.ts';
import { changeConfig, effectiveConfig } from './change-config.ts';
import { timestamp } from './clock.ts';
import { mountsOf } from './container-files.ts';
import type { Container } from './containers.ts';
import type { Core } from './core.ts';
import { containerEvent } from './events.ts';
import { isPaused, pauseContainer, unpauseContainer } from './pause.ts';
import { findContainer } from './query.ts';

export interface CommitRequest {
  /** `REPOSITORY[:TAG]`; none: the image has an id only. */
  readonly name?: string;
  readonly author?: string;
  readonly message?: string;
  /** Lines of a Dockerfile that change the config. */
  readonly changes?: readonly string[];
  /** Whether the container stands still meanwhile, where it runs; default true. */
  readonly pause?: boolean;
  readonly signal?: AbortSignal;
}

/**
 * Makes an image of a container: its image's layers and one of what it has changed (none where it has changed nothing), the
 * config that it was run with. What is mounted in it (volumes, binds) is not part of it.
 * @returns the image's id
 * @throws TinyrunError `not_found`; `invalid` for a name or a change that is none
 */
export async function commitContainer(
  core: Core,
  text: string,
  request: CommitRequest = {},
): Promise<Digest> {
  const [{ tagNameOf }, { draftOf }, { layersOf }] = await Promise.all([
    import('../image/lookup.ts'),
    import('../build/image-config.ts'),
    import('./build-host.ts'),
  ]);
  const container = await findContainer(core, text);
  const { record } = container;
  const name = request.name === undefined ? undefined : tagNameOf(request.name);
  const store = await core.store();
  // Before its image is looked up: from here on nothing of it is collected.
  const lease = await store.lease();
  try {
    await store.repair();
    const image = store.resolve(record.image.id);
    if (image === undefined) {
      throw new TinyrunError('not_found', `Cannot commit container "${container.name}": its image is gone`);
    }
    const base: Draft = { ...draftOf(image.config, layersOf(image)), config: effectiveConfig(record) };
    // A change that is wrong is told before a large layer is packed.
    const draft = changeConfig(base, request.changes ?? []);
    const layer = await standingStill(core, container, request.pause ?? true, () =>
      storeLayer(core.paths, {
        packer: packProgram(),
        unpacker: unpackProgram(),
        upper: core.paths.upper(container.id),
        lower: store.lowerDirs(image),
        exclude: mountsOf(core, container).map(({ destination }) => destination),
        ...(request.signal === undefined ? {} : { signal: request.signal }),
      }),
    );
    const id = await addImage(core, withCommit(draft, record.args, layer, request), name);
    await containerEvent(core, record, 'commit', { comment: request.message ?? '', imageID: id });
    return id;
  } finally {
    lease.release();
  }
}

/** The history's last step: Docker says what the container ran. */
function withCommit(
  draft: Draft,
  args: readonly string[],
  layer: Awaited<ReturnType<typeof storeLayer>>,
  { author, message }: CommitRequest,
): Draft {
  const step = {
    created: timestamp(),
    created_by: args.join(' '),
    ...(author === undefined ? {} : { author }),
    ...(message === undefined ? {} : { comment: message }),
    ...(layer === undefined ? { empty_layer: true } : {}),
  };
  return {
    ...draft,
    ...(author === undefined ? {} : { author }),
    layers: layer === undefined ? draft.layers : [...draft.layers, layer],
    history: [...draft.history, step],
  };
}

/** Writes the documents of an image whose layers are there, and names it. The caller holds the store's lease. */
export async function addImage(core: Core, draft: Draft, name: string | undefined): Promise<Digest> {
  const { writeImage } = await import('../build/step-image.ts');
  const { id, manifest } = writeImage(core.paths, draft, {});
  const { mediaType, digest, size } = manifest;
  await (await core.store()).add({
    ...(name === undefined ? {} : { name }),
    target: { mediaType, digest, size },
    key: { manifest: digest, id },
    preferred: true,
  });
  return id;
}

/** A killed command leaves the container paused and the lock free: recovery lets it go on. */
async function standingStill<T>(
  core: Core,
  container: Container,
  wanted: boolean,
  action: () => Promise<T>,
): Promise<T> {
  const { id } = container;
  if (!wanted || container.status !== 'running' || isPaused(core, container)) return await action();
  makePrivateDirectory(core.paths.pauses);
  const lock = openSync(core.paths.pause(id), constants.O_RDWR | constants.O_CREAT, 0o600);
  try {
    flock(lock, 'exclusive', false);
    await pauseContainer(core, id);
    try {
      return await action();
    } finally {
      await unpauseContainer(core, id);
    }
  } finally {
    rmSync(core.paths.pause(id), { force: true });
    closeSync(lock);
  }
}
