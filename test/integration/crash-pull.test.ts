import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import {
  existsSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect } from 'vitest';
import { hexOf } from '../../src/oci/digest.ts';
import { type FaultyRegistry, startFaultyRegistry } from '../harness/faulty-registry.ts';
import {
  type BuiltImage,
  type BuiltLayer,
  busyboxEntries,
  HOST_ARCHITECTURE,
  imageOf,
  layerOf,
} from '../harness/images.ts';
import { failureLine, leftovers, mountSmallStore, publishTo } from '../harness/pulling.ts';
import { needing } from '../harness/requires.ts';
import { makeSandbox, type Sandbox, show } from '../harness/sandbox.ts';

const it = needing('root', 'overlay', 'busybox-static');

const MB = 1 << 20;
const HOST = { os: 'linux', architecture: HOST_ARCHITECTURE };

let registry: FaultyRegistry;
let box: Sandbox;
beforeAll(async () => {
  registry = await startFaultyRegistry();
});
afterAll(() => registry.close());
beforeEach(() => {
  registry.faults = [];
  registry.sent.clear();
  box = makeSandbox(registry.host);
});
afterEach(() => box.dispose());

interface BigLayer extends BuiltLayer {
  readonly content: Buffer;
}

/** Random bytes, so that compression changes nothing of the size. */
async function bigLayer(name: string, megabytes: number, how: 'gzip' | 'none' = 'none'): Promise<BigLayer> {
  const content = randomBytes(megabytes * MB);
  return { ...(await layerOf([{ name, content }], how)), content };
}

function publish(name: string, layers: readonly BuiltLayer[]): BuiltImage {
  const image = imageOf({ layers, platform: HOST, config: { Cmd: ['true'] } });
  publishTo(registry, `library/${name}`, 'latest', image);
  return image;
}

/** @param rate bytes per second and connection */
function slowDown(rate: number): void {
  registry.faults.push({ on: /^GET .*\/blobs\//, fault: { type: 'slow', rate } });
}

function bytesSent(): number {
  return [...registry.sent].reduce((sum, [path, bytes]) => sum + (path.includes('/blobs/') ? bytes : 0), 0);
}

const sizeOf = (layers: readonly BuiltLayer[]): number =>
  layers.reduce((sum, { descriptor }) => sum + descriptor.size, 0);

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** Whatever of a store's layers has its name is whole. @returns their number */
function wholeLayers(layers: readonly BigLayer[]): number {
  const known = new Map(layers.map((layer) => [hexOf(layer.diffId), layer]));
  const names = listing(join(box.root, 'layers')).filter((name) => !name.startsWith('tmp-'));
  for (const name of names) {
    const directory = join(box.root, 'layers', name);
    expect(existsSync(join(directory, 'layer.json'))).toBe(true);
    const [file = ''] = readdirSync(join(directory, 'fs'));
    const expected = known.get(name)?.content;
    if (expected === undefined) throw new Error(`an unknown layer ${name}`);
    expect(sha256(readFileSync(join(directory, 'fs', file)))).toBe(sha256(expected));
  }
  return names.length;
}

function listing(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

const ended = (child: ChildProcessWithoutNullStreams): Promise<{ code: number | null; stderr: string }> =>
  new Promise((resolve) => {
    let stderr = '';
    child.stdout.resume();
    child.stderr.on('data', (chunk) => {
      stderr += String(chunk);
    });
    child.once('close', (code) => resolve({ code, stderr }));
  });

/** The unpackers of a command that runs. */
function unpackersOf(pid: number | undefined): number[] {
  return listing('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((child) => {
      try {
        const parent = /\) \S (\d+)/.exec(readFileSync(`/proc/${child}/stat`, 'utf8'))?.[1];
        return Number(parent) === pid && readlinkSync(`/proc/${child}/exe`).endsWith('tinyrun-unpack');
      } catch {
        return false;
      }
    });
}

/** Unpackers of this store, whoever their parent is by now. */
function unpackersHere(): string[] {
  return listing('/proc').filter((pid) => {
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
      return command.includes('tinyrun-unpack') && command.includes(box.root);
    } catch {
      return false;
    }
  });
}

async function until(what: string, isSo: () => boolean, milliseconds = 5000): Promise<void> {
  const deadline = Date.now() + milliseconds;
  while (!isSo()) {
    if (Date.now() > deadline) throw new Error(`not so after ${milliseconds} ms: ${what}`);
    await sleep(5);
  }
}

const listed = async (): Promise<string> => {
  const outcome = await box.run(['images', '-a', '--format', '{{.Repository}}']);
  expect(outcome, show(outcome)).toMatchObject({ code: 0, stderr: '' });
  return outcome.stdout.trim();
};

describe('a pull that is killed', () => {
  let layers: BigLayer[];
  beforeAll(async () => {
    layers = await Promise.all([
      bigLayer('one', 24, 'gzip'),
      bigLayer('two', 10),
      bigLayer('three', 8, 'gzip'),
      bigLayer('four', 16),
      bigLayer('five', 2),
      bigLayer('six', 36),
    ]);
  });

  it('with kill -9, again and again, goes on where it was and ends right', async () => {
    publish('big', layers);
    // What a killed client loses is what it had no time to read: on a busy machine with a fast server that is megabytes.
    slowDown(8 * MB);
    for (let kill = 1; kill <= 6; kill += 1) {
      const goal = (sizeOf(layers) * (kill - 1 + Math.random())) / 6.5;
      const child = box.start(['pull', '-q', 'big']);
      const end = ended(child);
      await until(`${goal} bytes are sent`, () => bytesSent() >= goal || child.exitCode !== null, 20_000);
      expect(child.kill('SIGKILL')).toBe(true);
      await end;
      expect(await listed()).toBe('');
      wholeLayers(layers);
    }
    // Orphaned unpackers end by themselves, because nothing comes any more.
    await until('the unpackers have ended', () => unpackersHere().length === 0);
    await box.ok(['pull', '-q', 'big']);
    expect(bytesSent()).toBeLessThanOrEqual(1.2 * sizeOf(layers));
    expect(wholeLayers(layers)).toBe(layers.length);
    expect(await leftovers(box.root)).toEqual([]);
    expect(await listed()).toBe('big');
    for (const { descriptor } of layers) {
      const blob = readFileSync(join(box.root, 'blobs/sha256', hexOf(descriptor.digest)));
      expect(sha256(blob)).toBe(hexOf(descriptor.digest));
    }
  });

  // By hand with more, such as TINYRUN_TEST_CUT_MB=1000: what a cut costs does not grow with the size.
  const size = Number(process.env.TINYRUN_TEST_CUT_MB ?? 100);

  it('or cut off, twenty times in all, transfers little more than every byte once', async () => {
    const some = await Promise.all([0.5, 0.1, 0.3, 0.1].map((part, n) => bigLayer(`cut${n}`, part * size)));
    publish('big', some);
    slowDown(Math.max(5, size / 40) * MB);
    const total = sizeOf(some);
    const goals = Array.from({ length: 20 }, () => Math.random() * 0.97 * total).sort((a, b) => a - b);
    const begin = (): { child: ChildProcessWithoutNullStreams; end: ReturnType<typeof ended> } => {
      const child = box.start(['pull', '-q', 'big']);
      return { child, end: ended(child) };
    };
    let { child, end } = begin();
    for (const [at, goal] of goals.entries()) {
      await until(`${goal} bytes are sent`, () => bytesSent() >= goal, 60_000);
      if (at % 2 === 0) {
        registry.cut();
        continue;
      }
      expect(child.kill('SIGKILL')).toBe(true);
      await end;
      ({ child, end } = begin());
    }
    const { code, stderr } = await end;
    expect(code, stderr).toBe(0);
    expect(bytesSent() / total).toBeLessThanOrEqual(1.1);
    expect(wholeLayers(some)).toBe(some.length);
    for (const { descriptor } of some) {
      expect(sha256(readFileSync(join(box.root, 'blobs/sha256', hexOf(descriptor.digest))))).toBe(
        hexOf(descriptor.digest),
      );
    }
    expect(await leftovers(box.root)).toEqual([]);
  }, 300_000);

  it('through its unpacker says so, and goes on the next time', async () => {
    publish('big', layers);
    slowDown(14 * MB);
    const child = box.start(['pull', '-q', 'big']);
    const end = ended(child);
    await until('20 MB are sent', () => bytesSent() > 20 * MB);
    const [unpacker] = unpackersOf(child.pid);
    expect(unpacker).toBeDefined();
    process.kill(unpacker ?? 0, 'SIGKILL');
    const { code, stderr } = await end;
    const line = failureLine({ code: code ?? -1, stdout: '', stderr }, 1);
    expect(line).toMatch(/^Cannot unpack layer "[0-9a-f]{12}": the unpacker was killed by SIGKILL$/);
    expect(unpackersHere()).toEqual([]);
    expect(await listed()).toBe('');
    await box.ok(['pull', '-q', 'big']);
    expect(bytesSent()).toBeLessThanOrEqual(1.1 * sizeOf(layers));
    expect(wholeLayers(layers)).toBe(layers.length);
    expect(await leftovers(box.root)).toEqual([]);
  });

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('with %s ends at once and keeps what came', async (signal, expected) => {
    const some = layers.slice(0, 2);
    publish('big', some);
    slowDown(14 * MB);
    const child = box.start(['pull', '-q', 'big']);
    const end = ended(child);
    await until('10 MB are sent', () => bytesSent() > 10 * MB);
    const before = Date.now();
    child.kill(signal);
    const { code, stderr } = await end;
    expect(code).toBe(expected);
    expect(stderr).toBe(`tinyrun: context canceled: ${signal}\n`);
    expect(Date.now() - before).toBeLessThan(2000);
    expect(unpackersHere()).toEqual([]);
    const left = await leftovers(box.root);
    expect(left.length).toBeGreaterThan(0);
    expect(left.filter((path) => !path.startsWith('ingest/'))).toEqual([]);
    registry.faults = [];
    await box.ok(['pull', '-q', 'big']);
    expect(bytesSent()).toBeLessThanOrEqual(1.1 * sizeOf(some));
    expect(await leftovers(box.root)).toEqual([]);
  });

  it('leaves a store that other commands work with while it runs', async () => {
    const base = await layerOf(busyboxEntries());
    publish('small', [base]);
    await box.ok(['pull', '-q', 'small']);
    publish('big', layers.slice(0, 3));
    slowDown(14 * MB);
    const child = box.start(['pull', '-q', 'big']);
    const end = ended(child);
    await until('5 MB are sent', () => bytesSent() > 5 * MB);
    expect(await listed()).toBe('small');
    expect(await box.ok(['run', '--rm', '--network', 'none', 'small', 'echo', 'runs'])).toBe('runs');
    expect(await box.ok(['rmi', 'small'])).toContain('Deleted: sha256:');
    expect((await end).code).toBe(0);
    expect(await listed()).toBe('big');
    // What the removal could not collect under the pull goes with the next one.
    await box.ok(['rmi', 'big']);
    expect([listing(join(box.root, 'layers')), listing(join(box.root, 'blobs/sha256'))]).toEqual([[], []]);
  });
});

describe('pulls at the same time', () => {
  it('fetch each blob once between them', async () => {
    const [shared, other, left, right] = await Promise.all([
      bigLayer('shared', 8),
      bigLayer('other', 6, 'gzip'),
      bigLayer('left', 3),
      bigLayer('right', 3),
    ]);
    publish('left', [shared, other, left]);
    publish('right', [other, shared, right]);
    slowDown(12 * MB);
    const outcomes = await Promise.all(['left', 'right', 'left'].map((name) => box.run(['pull', name])));
    for (const outcome of outcomes) expect(outcome.code, show(outcome)).toBe(0);
    for (const { descriptor } of [shared, other, left, right]) {
      const sent = [...registry.sent].filter(([path]) => path.endsWith(descriptor.digest));
      expect(sent.reduce((sum, [, bytes]) => sum + bytes, 0)).toBe(descriptor.size);
    }
    expect(wholeLayers([shared, other, left, right])).toBe(4);
    expect(await leftovers(box.root)).toEqual([]);
  });

  it('go on where another one was killed', async () => {
    const layer = await bigLayer('shared', 16);
    publish('one', [layer]);
    publish('two', [layer]);
    slowDown(12 * MB);
    const first = box.start(['pull', '-q', 'one']);
    const end = ended(first);
    await until('1 MB is sent', () => bytesSent() > MB);
    const second = box.run(['pull', '-q', 'two']);
    await until('8 MB are sent', () => bytesSent() > 8 * MB);
    first.kill('SIGKILL');
    await end;
    const outcome = await second;
    expect(outcome.code, show(outcome)).toBe(0);
    expect(bytesSent()).toBeLessThanOrEqual(1.1 * layer.descriptor.size);
    expect(await listed()).toBe('two');
    expect(wholeLayers([layer])).toBe(1);
    // The half of the killed one was in use when the second looked; the next pull clears it away.
    await box.ok(['pull', '-q', 'two']);
    expect(await leftovers(box.root)).toEqual([]);
  });
});

describe('a disk that is full', () => {
  const FULL = /^Cannot pull "big:latest": no space left on the device of "/;
  const used = (): number => {
    const { blocks, bfree, bsize } = statfsSync(box.root);
    return (blocks - bfree) * bsize;
  };

  it.each<[string, number, () => Promise<BuiltLayer[]>]>([
    [
      'in the blobs',
      24,
      async () => [await bigLayer('a', 8), await bigLayer('b', 8), await bigLayer('c', 8)],
    ],
    [
      'in the files',
      24,
      async () => [await layerOf([{ name: 'zeros', content: Buffer.alloc(40 * MB, 'z') }])],
    ],
    [
      'in the number of files',
      24,
      async () => [
        await layerOf(
          Array.from({ length: 9000 }, (_, n) => ({ name: `n${n}`, content: Buffer.alloc(4000, 'n') })),
        ),
      ],
    ],
  ])('%s: is said, gives the space back, and works when there is more', async (_, megabytes, makeLayers) => {
    const layers = await makeLayers();
    const base = await layerOf(busyboxEntries());
    publish('small', [base]);
    publish('big', [base, ...layers]);
    const disk = mountSmallStore(box.root, megabytes);
    try {
      await box.ok(['pull', '-q', 'small']);
      const before = used();
      for (const words of [['pull'], ['run', '--rm', '--network', 'none']]) {
        const outcome = await box.run([...words, '-q', 'big']);
        expect(failureLine(outcome, words[0] === 'pull' ? 1 : 125)).toMatch(FULL);
        expect(await leftovers(box.root)).toEqual([]);
        // The documents of the image may stay.
        expect(used() - before).toBeLessThan(100_000);
        expect(await listed()).toBe('small');
      }
      expect(await box.ok(['run', '--rm', '--network', 'none', 'small', 'echo', 'runs'])).toBe('runs');
      disk.grow(200);
      await box.ok(['pull', '-q', 'big']);
      expect(await listed()).toContain('big');
      expect(await box.ok(['run', '--rm', '--network', 'none', 'big', 'echo', 'runs'])).toBe('runs');
    } finally {
      disk.unmount();
    }
  });

  it('to the last byte: every command says so in a line, or works', async () => {
    publish('small', [await layerOf(busyboxEntries())]);
    publish('big', [await bigLayer('a', 1)]);
    const disk = mountSmallStore(box.root, 8);
    try {
      await box.ok(['pull', '-q', 'small']);
      const filler = join(box.root, 'filler');
      expect(() => writeFileSync(filler, Buffer.alloc(16 * MB))).toThrow(/ENOSPC/);
      expect(failureLine(await box.run(['pull', '-q', 'big']), 1)).toMatch(/no space left/);
      const run = await box.run(['run', '--rm', '--network', 'none', 'small', 'true']);
      expect(failureLine(run, 125)).toMatch(/no space left|ENOSPC/);
      expect(await listed()).toBe('small');
      expect((await box.run(['ps', '-a', '-q'])).stdout).toBe('');
      expect((await leftovers(box.root)).filter((path) => !path.startsWith('filler'))).toEqual([]);
      // Deleting must work where nothing else does.
      const removed = await box.run(['rmi', 'small']);
      expect(removed.code, show(removed)).toBe(0);
      expect(listing(join(box.root, 'layers'))).toEqual([]);
      rmSync(filler);
      await box.ok(['pull', '-q', 'small']);
      expect(await box.ok(['run', '--rm', '--network', 'none', 'small', 'echo', 'runs'])).toBe('runs');
    } finally {
      disk.unmount();
    }
  });

  it('or may not be written to', async () => {
    publish('small', [await layerOf(busyboxEntries())]);
    publish('big', [await bigLayer('a', 1)]);
    const disk = mountSmallStore(box.root, 16);
    try {
      await box.ok(['pull', '-q', 'small']);
      await box.host(['mount', '-o', 'remount,ro', box.root]);
      expect(failureLine(await box.run(['pull', '-q', 'big']), 1)).toMatch(/EROFS|read-only/);
      const run = await box.run(['run', '--rm', '--network', 'none', 'small', 'true']);
      expect(failureLine(run, 125)).toMatch(/EROFS|read-only/);
      expect(failureLine(await box.run(['rmi', 'small']), 1)).toMatch(/EROFS|read-only/);
      expect(await listed()).toBe('small');
      await box.host(['mount', '-o', 'remount,rw', box.root]);
      await box.ok(['rmi', 'small']);
    } finally {
      disk.unmount();
    }
  });
});

describe('a user without rights', () => {
  it('gets one clear line, whatever the command', async () => {
    publish('small', [await layerOf(busyboxEntries())]);
    await box.ok(['pull', '-q', 'small']);
    await box.host(['chmod', '711', box.directory]);
    const asNobody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', box.binary] as const;
    for (const words of [['pull', 'x'], ['images'], ['run', 'small'], ['rmi', 'small'], ['ps', '-a']]) {
      const outcome = await box.host([...asNobody, ...words]);
      expect(failureLine(outcome, words[0] === 'run' ? 125 : 1)).toMatch(/permission denied|EACCES/);
      expect(outcome.stderr).toContain('needs root');
    }
    expect(await listed()).toBe('small');
  });
});
