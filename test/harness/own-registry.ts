import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathsOf } from '../../src/disk/paths.ts';
import { writableShelf } from '../../src/image/shelf.ts';
import { hostPlatform } from '../../src/registry/platform.ts';
import { serveShelf } from '../../src/registry/server/server.ts';
import { type BuiltImage, writeLayout } from './images.ts';
import { pushLayout, type RealRegistry } from './registry.ts';

/** tinyrun's own registry server on loopback, over a layout in a temporary directory. */
export interface OwnRegistry extends RealRegistry {
  /** The layout. */
  readonly directory: string;
  /** @param repository such as `library/busybox` */
  publish(image: BuiltImage, repository: string, tag: string): Promise<void>;
}

export async function startOwnRegistry(): Promise<OwnRegistry> {
  const directory = mkdtempSync(join(tmpdir(), 'tinyrun-own-registry-'));
  const shelf = writableShelf({
    paths: pathsOf({ root: directory, runRoot: directory }),
    host: hostPlatform(process.arch),
    pushedOnly: false,
    inUse: () => [],
    onRemoved: () => {},
  });
  const server = await serveShelf({ shelf });
  const push: OwnRegistry['push'] = (layout, repository, tag) =>
    pushLayout(`${server.url}/v2/${repository}`, layout, tag);
  return {
    address: server.address,
    directory,
    push,
    async publish(image, repository, tag) {
      const layout = mkdtempSync(join(tmpdir(), 'tinyrun-layout-'));
      try {
        writeLayout(layout, { [tag]: image });
        await push(layout, repository, tag);
      } finally {
        rmSync(layout, { recursive: true, force: true });
      }
    },
    async stop() {
      await server.close();
      await shelf.writer?.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
