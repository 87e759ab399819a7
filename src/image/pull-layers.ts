import { type Digest, shortId } from '../oci/digest.ts';
import type { Descriptor } from '../oci/image-spec.ts';
import { blobSize } from './blobs.ts';
import { giveBack } from './collect.ts';
import { readIndex } from './index-file.ts';
import { dropPartial } from './ingest.ts';
import { layerName } from './layers.ts';
import type { ChosenImage, PullOptions, PullSource } from './pull.ts';
import type { LayerStatus } from './pull-events.ts';
import { type LayerTask, type LayerWork, pullLayer } from './pull-layer.ts';
import { Slots } from './slots.ts';
import { unpackLayer } from './unpack.ts';

const DOWNLOADS = 3;
/** Measured on two processors: a third unpacker at a time gains nothing. */
const UNPACKS = 2;
/** Milliseconds between two reports of a layer's progress. */
const PROGRESS_INTERVAL = 100;

export interface PulledLayers {
  /** Settles when every layer has: with the first error, after all others have stopped. */
  readonly done: Promise<{ readonly fetched: boolean }>;
  /** Frees what this pull took, unless others rely on it by now; after the end of its lease. */
  giveBack(): void;
}

/** Brings the layers of an image into the store, several at a time; events begin before this returns. */
export function pullLayers(source: PullSource, chosen: ChosenImage, options: PullOptions): PulledLayers {
  const { paths } = source.store;
  const tasks = tasksOf(chosen);
  const missing = tasks.filter(
    ({ descriptor, diffIds, position }) =>
      blobSize(paths, descriptor.digest) !== descriptor.size ||
      layerName(paths, diffIds, position) === undefined,
  );
  announce(source, options, { tasks, missing, isKnown: !chosen.fetched });
  const made = { blobs: new Set<Digest>(), layers: new Set<Digest>() };
  const run = async (): Promise<{ fetched: boolean }> => {
    await runTasks(missing, { source, options, made });
    return { fetched: missing.length > 0 };
  };
  return {
    done: run(),
    giveBack: () => {
      for (const { descriptor } of missing) dropPartial(paths, descriptor.digest);
      giveBack(paths, made, () => readIndex(paths).entries);
    },
  };
}

type Task = Omit<LayerTask, 'below'>;

/** A blob that stands several times in the manifest is one task, that of its lowest place. */
function tasksOf({ manifest, config }: ChosenImage): Task[] {
  const diffIds = config.rootfs.diff_ids;
  const tasks = new Map<string, Task>();
  for (const [position, descriptor] of manifest.layers.entries()) {
    const key = `${descriptor.digest} ${diffIds[position]}`;
    if (!tasks.has(key)) tasks.set(key, { descriptor, diffIds, position });
  }
  return [...tasks.values()];
}

/** Docker's order: all layers first, then what waits. Where nothing at all is missing there are no layer lines. */
function announce(
  { reference }: PullSource,
  { onEvent }: PullOptions,
  state: { tasks: readonly Task[]; missing: readonly Task[]; isKnown: boolean },
): void {
  const { tasks, missing, isKnown } = state;
  const layers = tasks.map(({ descriptor: { digest, size } }) => ({ digest, size }));
  onEvent({ type: 'start', reference, layers });
  if (missing.length === 0 && isKnown) return;
  for (const task of tasks) {
    const status = missing.includes(task) ? 'Pulling fs layer' : 'Already exists';
    onEvent({ type: 'layer', id: shortId(task.descriptor.digest), status });
  }
}

interface Run {
  readonly source: PullSource;
  readonly options: PullOptions;
  readonly made: LayerWork['made'];
}

async function runTasks(tasks: readonly Task[], { source, options, made }: Run): Promise<void> {
  const { jobs = DOWNLOADS, onEvent, unpackerPath, unpack = unpackLayer } = options;
  const stop = new AbortController();
  const onStatus = throttled((descriptor, status) =>
    onEvent({ type: 'layer', id: shortId(descriptor.digest), ...status }),
  );
  const work: LayerWork = {
    paths: source.store.paths,
    registry: source.registry,
    reference: source.reference,
    unpack,
    unpackerPath,
    signal: options.signal === undefined ? stop.signal : AbortSignal.any([stop.signal, options.signal]),
    downloads: new Slots(jobs),
    unpacks: new Slots(UNPACKS),
    onStatus,
    made,
  };
  let failure: { readonly error: unknown } | undefined;
  const running: Promise<void>[] = [];
  for (const [at, task] of tasks.entries()) {
    if (at >= jobs) onStatus(task.descriptor, { status: 'Waiting' });
    const below = (): Promise<unknown> => Promise.all(running.slice(0, at));
    const layer = pullLayer(work, { ...task, below }).catch((error: unknown) => {
      failure ??= { error };
      stop.abort(error);
      throw error;
    });
    running.push(layer);
  }
  await Promise.allSettled(running);
  if (failure !== undefined) throw failure.error;
}

type StatusListener = (descriptor: Descriptor, status: LayerStatus) => void;

/** Byte counts at most every PROGRESS_INTERVAL per layer, all else at once. */
function throttled(listener: StatusListener): StatusListener {
  const last = new Map<Digest, number>();
  return (descriptor, status) => {
    if (status.status === 'Downloading') {
      const now = performance.now();
      if (now - (last.get(descriptor.digest) ?? Number.NEGATIVE_INFINITY) < PROGRESS_INTERVAL) return;
      last.set(descriptor.digest, now);
    }
    listener(descriptor, status);
  };
}
