import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { nativeDirectory } from '../../../src/native/library.ts';
import { type Fixture, largeImage, makeFixture } from './store-fixture.ts';

/** Inside node_modules, so that the bundle finds koffi. */
const DIRECTORY = join(import.meta.dirname, '../../../node_modules/.tinyrun-test');
const PROGRAM = join(DIRECTORY, `pull-${process.pid}.cjs`);

beforeAll(async () => {
  mkdirSync(DIRECTORY, { recursive: true });
  await build({
    entryPoints: [join(import.meta.dirname, 'pull-process.ts')],
    outfile: PROGRAM,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    external: ['koffi'],
    define: { 'import.meta.url': 'fileUrl' },
    banner: { js: 'const fileUrl = require("node:url").pathToFileURL(__filename).href;' },
    logLevel: 'silent',
  });
});
afterAll(() => rmSync(PROGRAM, { force: true }));

let fixture: Fixture;
let size = 0;
beforeEach(async () => {
  fixture = makeFixture();
  const image = await largeImage();
  size = Math.max(...[...image.blobs.values()].map((bytes) => bytes.length));
});
afterEach(() => fixture.dispose());

function start(hangAfter = ''): ChildProcess {
  return spawn(process.execPath, [PROGRAM, fixture.paths.root, nativeDirectory(), hangAfter], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

async function outputOf(child: ChildProcess): Promise<{ id: string; status: string; sent: number }> {
  let text = '';
  for await (const chunk of child.stdout ?? []) text += String(chunk);
  return JSON.parse(text);
}

const halves = (): string[] => [
  ...readdirSync(fixture.paths.ingest),
  ...readdirSync(fixture.paths.layers).filter((name) => name.startsWith('tmp-')),
];

describe('pull() in several processes', () => {
  it('downloads a blob once between them', async () => {
    const results = await Promise.all([start(), start(), start()].map(outputOf));
    expect(results.reduce((sum, { sent }) => sum + sent, 0)).toBe(size);
    expect(new Set(results.map(({ id }) => id)).size).toBe(1);
    expect(halves()).toEqual([]);
  });

  it('goes on where a killed one ended, and clears its halves away', async () => {
    const child = start('6');
    await once(child.stdout ?? child, 'data');
    // A pull that waits for the blob of the first takes it over when that one is killed.
    const second = outputOf(start());
    await new Promise((resolve) => setTimeout(resolve, 100));
    child.kill('SIGKILL');
    await once(child, 'close');
    const { sent } = await second;
    expect(sent).toBeGreaterThan(0);
    expect(sent).toBeLessThan(size);
    await fixture.store.repair();
    expect(halves()).toEqual([]);
    expect(fixture.store.list()).toHaveLength(1);
  });

  it('loses no name when two write the index at once', async () => {
    const image = await largeImage();
    for (const name of ['a', 'b', 'c', 'd'])
      fixture.registry.publish(`docker.io/library/${name}:latest`, image);
    await Promise.all([outputOf(start()), ...['a', 'b', 'c', 'd'].map((name) => fixture.pull(name))]);
    expect(fixture.store.list()[0]?.references).toHaveLength(5);
  });

  it('is not misled by what a write of the index left half done', async () => {
    await outputOf(start());
    const index = readFileSync(fixture.paths.index, 'utf8');
    writeFileSync(`${fixture.paths.index}.99999.1.tmp`, index.slice(0, 40));
    expect(fixture.store.list()).toHaveLength(1);
    expect(await outputOf(start())).toMatchObject({ status: 'up-to-date', sent: 0 });
  });
});
