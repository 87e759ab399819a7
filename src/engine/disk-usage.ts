import { sizeOfImages, storeSizes, totalSize } from '../image/prune.ts';
import { isUp } from './containers.ts';
import type { Core } from './core.ts';
import { listContainers } from './query.ts';
import { treeSize } from './tree-size.ts';

/** What one kind of thing takes of the disk. */
export interface Usage {
  readonly count: number;
  /** In use: images with a container, containers that run. */
  readonly active: number;
  /** Bytes. */
  readonly size: number;
  /** Bytes that go with what is not in use. */
  readonly reclaimable: number;
}

export interface DiskUsage {
  /** Compressed blobs and unpacked layers, each once however many images have it. */
  readonly images: Usage;
  /** What containers wrote, and their logs. */
  readonly containers: Usage;
}

/** `system df`. Walks the containers' own files; images are summed from what is known of them. */
export async function diskUsage(core: Core): Promise<DiskUsage> {
  const store = await core.store();
  const containers = await listContainers(core);
  const sizes = await Promise.all(containers.map(({ id }) => treeSize(core.paths.container(id))));
  const idle = sizes.filter((_, at) => !isUp(containers[at]?.status ?? 'exited'));
  const images = store.list();
  const used = new Set(containers.map(({ record }) => record.image.id));
  const active = images.filter(({ id }) => used.has(id));
  const all = storeSizes(core.paths);
  const total = totalSize(all);
  return {
    images: {
      count: images.length,
      active: active.length,
      size: total,
      reclaimable: Math.max(0, total - sizeOfImages(core.paths, active, all)),
    },
    containers: {
      count: containers.length,
      active: containers.length - idle.length,
      size: sum(sizes),
      reclaimable: sum(idle),
    },
  };
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, one) => total + one, 0);
}
