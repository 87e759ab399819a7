import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { newTraces, STORES, traces } from './leaks.ts';

const top = join(import.meta.dirname, '..', '..');

/** Before the integration suite: the program is built. After it: nothing of it is left on the machine. */
export default function setup(): () => Promise<void> {
  if (!existsSync(join(top, 'dist', 'tinyrun.cjs'))) {
    throw new Error('dist/tinyrun.cjs is missing: run `npm run build` first');
  }
  // Not by the pid: suites in pid namespaces of their own have the same ones.
  const directory = mkdtempSync(join(tmpdir(), 'tinyrun-stores-'));
  const stores = join(directory, 'list');
  writeFileSync(stores, '');
  process.env[STORES] = stores;
  const before = traces();
  return async () => {
    const left = await newTraces(before);
    rmSync(directory, { recursive: true, force: true });
    if (left.length > 0) {
      process.exitCode = 1;
      throw new Error(`The suite left behind:\n  ${left.join('\n  ')}`);
    }
  };
}
