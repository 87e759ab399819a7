/** What an engine does with networks, volumes and builds. */
import type { BuildRequest, BuiltImage } from './build.ts';
import type { CacheEntry, PruneCacheHow, PrunedCache } from './build-cache.ts';
import type { CheckedBuild } from './build-lint.ts';
import type { Core } from './core.ts';
import type { NetworkView, NewNetwork } from './networks.ts';
import type { NewVolume, VolumeFacts } from './volumes.ts';

export type { BuildRequest, BuiltImage } from './build.ts';
export type { CacheEntry, PruneCacheHow, PrunedCache } from './build-cache.ts';
export type { CheckedBuild } from './build-lint.ts';
export type { NetworkView, NewNetwork } from './networks.ts';
export type { NewVolume, VolumeFacts } from './volumes.ts';

/** Part of the engine; every method throws TinyrunError. */
export interface ResourceEngine {
  /** @returns its id */
  createNetwork(request: NewNetwork): Promise<string>;
  networks(): Promise<NetworkView[]>;
  network(network: string): Promise<NetworkView>;
  /** @returns its name */
  removeNetwork(network: string): Promise<string>;
  /** Removes networks that no container belongs to. */
  pruneNetworks(matches?: (network: NetworkView) => boolean): Promise<string[]>;
  /** Makes a volume. @returns its name */
  createVolume(request?: NewVolume): Promise<string>;
  volumes(): Promise<VolumeFacts[]>;
  volume(name: string): Promise<VolumeFacts>;
  removeVolume(name: string): Promise<void>;
  /** Its content as a tar. */
  exportVolume(name: string): Promise<AsyncIterable<Uint8Array>>;
  /** Fills an empty volume from a tar. */
  importVolume(name: string, tar: AsyncIterable<Uint8Array>): Promise<void>;
  /** Removes volumes that no container has. @param matches default: those without a name of their own */
  pruneVolumes(matches?: (volume: VolumeFacts) => boolean): Promise<{ deleted: string[]; reclaimed: number }>;
  /** The image of a Dockerfile. */
  build(request: BuildRequest): Promise<BuiltImage>;
  /** `build --check`: the findings of all checks; nothing is built. */
  checkBuild(request: BuildRequest): Promise<CheckedBuild>;
  /** What builds keep, what was used longest ago first. */
  buildCache(): Promise<CacheEntry[]>;
  pruneBuildCache(how?: PruneCacheHow): Promise<PrunedCache>;
}

export function resourceEngine(core: Core): ResourceEngine {
  return {
    createNetwork: async (request) => (await import('./networks.ts')).createNetwork(core, request),
    networks: async () => (await import('./networks.ts')).listNetworks(core),
    network: async (text) => (await import('./networks.ts')).findNetwork(core, text),
    removeNetwork: async (text) => (await import('./networks.ts')).removeNetwork(core, text),
    pruneNetworks: async (matches = () => true) =>
      (await import('./networks.ts')).pruneNetworks(core, matches),
    createVolume: async (request = {}) => (await import('./volumes.ts')).newVolume(core, request),
    volumes: async () => (await import('./volumes.ts')).volumes(core),
    volume: async (name) => (await import('./volumes.ts')).volume(core, name),
    removeVolume: async (name) => (await import('./volumes.ts')).removeVolume(core, name),
    exportVolume: async (name) => (await import('./volume-content.ts')).exportVolume(core, name),
    importVolume: async (name, tar) => (await import('./volume-content.ts')).importVolume(core, name, tar),
    pruneVolumes: async (matches = ({ anonymous }) => anonymous) =>
      (await import('./volumes.ts')).pruneVolumes(core, matches),
    build: async (request) => (await import('./build.ts')).buildImage(core, request),
    checkBuild: async (request) => (await import('./build-lint.ts')).checkBuild(core, request),
    buildCache: async () => (await import('./build-cache.ts')).buildCache(core),
    pruneBuildCache: async (how) => (await import('./build-cache.ts')).pruneBuildCache(core, how),
  };
}
