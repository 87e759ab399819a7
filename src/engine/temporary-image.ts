import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { makeScratch } from '../build/scratch.ts';
import { familiarName, parseReference } from '../registry/reference.ts';
import type { Core } from './core.ts';

const REPOSITORY = 'localhost/tinyrun-temporary';

/** A name for what is an image of the store only while a build needs it. */
export interface TemporaryImage {
  readonly name: string;
  /** The name goes, and what nothing else names. */
  release(): Promise<void>;
}

/** Its lock lies with those of scratch directories: what a killed build left is removed by the next that needs such a name. */
export async function temporaryImage(core: Core): Promise<TemporaryImage> {
  const scratch = makeScratch(core.paths.buildScratch);
  await sweep(core);
  const name = `${REPOSITORY}:${basename(scratch.directory)}`;
  return {
    name,
    async release() {
      try {
        await remove(core, name);
      } finally {
        scratch.release();
      }
    },
  };
}

async function sweep(core: Core): Promise<void> {
  const names = (await core.store()).list().flatMap(({ references }) => references);
  for (const reference of names.map(parseReference)) {
    const name = familiarName(reference);
    if (!name.startsWith(`${REPOSITORY}:`) || reference.tag === undefined) continue;
    if (!existsSync(join(core.paths.buildScratch, `${reference.tag}.lock`))) await remove(core, name);
  }
}

async function remove(core: Core, name: string): Promise<void> {
  const { removeImage } = await import('./images.ts');
  if ((await core.store()).resolve(name) !== undefined) await removeImage(core, name, { force: true });
}
