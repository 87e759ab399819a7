import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BuiltImage, busyboxImage, writeLayout } from './images.ts';
import { startOwnRegistry } from './own-registry.ts';
import type { RealRegistry } from './registry.ts';
import { makeSandbox, type Sandbox } from './sandbox.ts';

/** A sandbox whose docker.io is a registry on loopback, with `busybox` pulled. */
export interface Seeded extends Sandbox {
  readonly registry: RealRegistry;
  /** Puts an image into the registry, `library/NAME:TAG`. */
  publish(image: BuiltImage, name: string, tag?: string): Promise<void>;
}

/** @param start default: tinyrun's own registry server */
export async function seededSandbox(start: () => Promise<RealRegistry> = startOwnRegistry): Promise<Seeded> {
  const registry = await start();
  try {
    const sandbox = makeSandbox(registry.address);
    const seeded: Seeded = {
      ...sandbox,
      registry,
      publish: (image, name, tag = 'latest') => publish(registry, image, name, tag),
      async dispose() {
        await registry.stop();
        await sandbox.dispose();
      },
    };
    await seeded.publish(await busyboxImage(), 'busybox');
    await seeded.ok(['pull', '-q', 'busybox']);
    return seeded;
  } catch (error) {
    await registry.stop();
    throw error;
  }
}

async function publish(registry: RealRegistry, image: BuiltImage, name: string, tag: string): Promise<void> {
  const layout = mkdtempSync(join(tmpdir(), 'tinyrun-layout-'));
  try {
    writeLayout(layout, { [tag]: image });
    await registry.push(layout, `library/${name}`, tag);
  } finally {
    rmSync(layout, { recursive: true, force: true });
  }
}
