import { writeFileSync } from 'node:fs';
import type { Paths } from '../disk/paths.ts';
import type { NetworkSettings } from '../network/networks.ts';
import { readText } from './containers.ts';

/** What a running container got of the network: for `ps` and `inspect`. It lies beside the lock and ends with the run. */
export type NetworkFacts = NetworkSettings;

export function writeSettings(paths: Paths, id: string, settings: NetworkFacts): void {
  // On tmpfs, and read only while the container runs: nothing to make durable or atomic.
  writeFileSync(paths.networkSettings(id), JSON.stringify(settings), { mode: 0o600 });
}

export function readSettings(paths: Paths, id: string): NetworkFacts | undefined {
  const text = readText(paths.networkSettings(id));
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as NetworkFacts;
  } catch {
    return undefined;
  }
}
