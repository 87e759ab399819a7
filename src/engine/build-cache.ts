import { closeSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { errorCode } from '../errors.ts';
import { forgetStep, storedSteps } from '../image/cached-steps.ts';
import type { Core } from './core.ts';
import { usesOf } from './images.ts';
import { treeSize } from './tree-size.ts';

/** One thing that builds keep. */
export interface CacheEntry {
  /** 64 hex digits. */
  readonly id: string;
  /** `regular`: a step's layer; `exec.cachemount`: the directory of a `RUN --mount=type=cache`. */
  readonly type: 'regular' | 'exec.cachemount';
  readonly description: string;
  /** Bytes; what an image needs anyway counts, too. */
  readonly size: number;
  readonly lastUsed: Date;
  /** No image has it: its bytes go with it. */
  readonly reclaimable: boolean;
}

/** Everything that builds keep, what was used longest ago first. */
export async function buildCache(core: Core): Promise<CacheEntry[]> {
  const store = await core.store();
  const needed = new Set<string>(store.list().flatMap(({ config }) => config.rootfs.diff_ids));
  const steps = storedSteps(core.paths).map(
    ({ key, layer, bytes, description, lastUsed }): CacheEntry => ({
      id: key,
      type: 'regular',
      description,
      size: bytes + layer.descriptor.size,
      lastUsed,
      reclaimable: !needed.has(layer.diffId),
    }),
  );
  const mounts = await Promise.all(
    namesIn(core.paths.buildMounts).map(async (id): Promise<CacheEntry> => {
      const path = core.paths.buildMount(id);
      const lastUsed = statSync(path, { throwIfNoEntry: false })?.mtime ?? new Date(0);
      const size = await treeSize(path);
      return { id, type: 'exec.cachemount', description: 'cache mount', size, lastUsed, reclaimable: true };
    }),
  );
  return [...steps, ...mounts].sort((a, b) => a.lastUsed.getTime() - b.lastUsed.getTime());
}

export interface PruneCacheHow {
  /** Also what an image has: the next build of it starts anew. */
  readonly all?: boolean;
  /** Bytes of the cache that may stay, those used last. */
  readonly keep?: number;
  readonly matches?: (entry: CacheEntry) => boolean;
}

export interface PrunedCache {
  readonly deleted: readonly string[];
  /** Bytes. */
  readonly reclaimed: number;
}

/** `builder prune`. What a build works with at the moment stays. */
export async function pruneBuildCache(core: Core, how: PruneCacheHow = {}): Promise<PrunedCache> {
  const entries = await buildCache(core);
  const chosen = entries.filter(
    (entry) => (how.all === true || entry.reclaimable) && (how.matches?.(entry) ?? true),
  );
  let left = chosen.reduce((sum, { size }) => sum + size, 0);
  const deleted: string[] = [];
  let reclaimed = 0;
  for (const entry of chosen) {
    if (how.keep !== undefined && left <= how.keep) break;
    left -= entry.size;
    if (!(await forget(core, entry))) continue;
    deleted.push(entry.id);
    if (entry.reclaimable) reclaimed += entry.size;
  }
  const store = await core.store();
  await store.collect(await usesOf(core));
  return { deleted, reclaimed };
}

/** Bytes that steps which no image has may take before a build gives up the oldest. */
const KEEP = 10_000_000_000;

/** After a build: the cache does not grow without end. Cheap where nothing is to be done. */
export async function limitBuildCache(core: Core): Promise<void> {
  const total = storedSteps(core.paths).reduce(
    (sum, { bytes, layer }) => sum + bytes + layer.descriptor.size,
    0,
  );
  if (total > KEEP) await pruneBuildCache(core, { keep: KEEP, matches: ({ type }) => type === 'regular' });
}

async function forget(core: Core, { id, type }: CacheEntry): Promise<boolean> {
  if (type === 'regular') {
    forgetStep(core.paths, id);
    return true;
  }
  const [{ lockDirectory }, { removeTree }] = await Promise.all([
    import('../build/cache-mounts.ts'),
    import('../native/syscalls.ts'),
  ]);
  const directory = core.paths.buildMount(id);
  const lock = lockDirectory(directory, 'exclusive');
  if (lock === undefined) return false;
  try {
    // Out of the way first: a build that comes now makes it anew.
    const grave = `${core.paths.trash}/mount-${id.slice(0, 12)}-${process.pid}-${Date.now()}`;
    renameSync(directory, grave);
    removeTree(grave);
    return true;
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
    rmSync(directory, { recursive: true, force: true });
    return true;
  } finally {
    closeSync(lock);
  }
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory).filter((name) => /^[0-9a-f]{64}(-[0-9]+)?$/.test(name));
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return [];
    throw error;
  }
}
