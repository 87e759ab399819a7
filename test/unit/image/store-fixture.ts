import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Paths, pathsOf } from '../../../src/disk/paths.ts';
import { type PullEvent, type PullOptions, type PullResult, pull } from '../../../src/image/pull.ts';
import { openStore, type Store } from '../../../src/image/store.ts';
import { parseReference } from '../../../src/registry/reference.ts';
import { FakeRegistry } from '../../harness/fake-registry.ts';
import { FakeUnpacker } from '../../harness/fake-unpacker.ts';
import { type BuiltImage, imageOf, layerOf } from '../../harness/images.ts';

export const HOST = { os: 'linux', architecture: 'amd64' };

/** A store in a temporary directory, with a registry and an unpacker that are not real. */
export interface Fixture {
  readonly paths: Paths;
  readonly store: Store;
  readonly registry: FakeRegistry;
  readonly unpacker: FakeUnpacker;
  readonly events: PullEvent[];
  pull(name: string, options?: Partial<PullOptions>): Promise<PullResult>;
  dispose(): void;
}

export function makeFixture(): Fixture {
  const root = mkdtempSync(join(tmpdir(), 'tinyrun-store-'));
  const paths = pathsOf({ root, runRoot: join(root, 'run') });
  const store = openStore(paths, HOST);
  const registry = new FakeRegistry();
  const unpacker = new FakeUnpacker();
  const events: PullEvent[] = [];
  return {
    paths,
    store,
    registry,
    unpacker,
    events,
    pull: (name, options = {}) =>
      pull(store, registry, parseReference(name), {
        onEvent: (event) => events.push(event),
        unpackerPath: '/nowhere',
        unpack: unpacker.unpack,
        ...options,
      }),
    dispose: () => rmSync(root, { recursive: true, force: true }),
  };
}

/** An image whose layers have the given texts in them, the bottom one first. */
export async function textImage(...texts: string[]): Promise<BuiltImage> {
  const layers = await Promise.all(texts.map((content) => layerOf([{ name: 'file', content }])));
  return imageOf({ layers });
}

/** Text that gzip cannot make smaller. */
export function noise(bytes: number, seed = 1): string {
  const out = new Uint8Array(bytes);
  let state = seed * 2654435761;
  for (let at = 0; at < bytes; at += 1) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    out[at] = 32 + ((state >>> 24) % 90);
  }
  return Buffer.from(out).toString('latin1');
}

/** The same in every process: one layer of 300 kB. */
export async function largeImage(): Promise<BuiltImage> {
  return await textImage(noise(300_000));
}
