import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { needing } from '../harness/requires.ts';
import { type Outcome, show } from '../harness/sandbox.ts';
import { type Seeded, seededSandbox } from '../harness/seed.ts';

const it = needing('root', 'overlay', 'nft', 'docker-registry', 'busybox-static');

let box: Seeded;
let store: string;
let small: { env: Record<string, string> };
beforeAll(async () => {
  box = await seededSandbox();
  store = join(box.directory, 'small');
  small = { env: { TINYRUN_ROOT: store, TINYRUN_RUNROOT: join(box.directory, 'small-run') } };
  mkdirSync(store);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'tinyrun-small', store]);
  await box.ok(['pull', '-q', 'busybox'], small);
  await box.ok(['run', '--rm', 'busybox', 'true'], small);
});
afterAll(async () => {
  await box.run(['system', 'reset', '-f'], small);
  execFileSync('umount', [store]);
  await box.dispose();
});

const listing = (...path: string[]): string[] => {
  const directory = join(store, ...path);
  return existsSync(directory) ? readdirSync(directory) : [];
};

/** One line that says what is wrong, and perhaps one of advice. */
function clearLine(outcome: Outcome): string {
  const lines = outcome.stderr.trim().split('\n');
  const [line = '', ...more] = lines.filter((text) => text !== '' && !text.startsWith("Run 'tinyrun"));
  expect(more.length, show(outcome)).toBeLessThanOrEqual(1);
  expect(line, show(outcome)).toMatch(/^(tinyrun|docker): /);
  expect(/\n\s+at |undefined|\bE[A-Z]{4,}\b.*\bE[A-Z]{4,}\b/.test(outcome.stderr), show(outcome)).toBe(false);
  return line;
}

describe('a full disk', () => {
  const ballast = () => join(store, 'ballast');
  const PAGE = 4096;

  it('gives one line and exit code 125 wherever the space ends, and nothing is left', async () => {
    try {
      const codes = new Set<number>();
      for (let pages = 0; pages <= 12; pages += 1) {
        const { bavail } = statfsSync(store);
        writeFileSync(ballast(), Buffer.alloc((bavail - pages) * PAGE));
        const outcome = await box.run(['run', '--name', 'squeezed', 'busybox', 'true'], small);
        codes.add(outcome.code);
        if (outcome.code === 0) {
          await box.ok(['rm', 'squeezed'], small);
        } else {
          expect(outcome.code, show(outcome)).toBe(125);
          expect(clearLine(outcome)).toMatch(/^tinyrun: Cannot .*\/.*no space left on device/i);
          const left = await box.run(['rm', '-f', 'squeezed'], small);
          expect(left.code, show(left)).toBeLessThanOrEqual(1);
        }
        await box.ok(['ps', '-a'], small);
        expect(listing('containers'), `with ${pages} pages`).toEqual([]);
        expect([...listing('names'), ...listing('trash')]).toEqual([]);
        rmSync(ballast());
      }
      expect([...codes].sort()).toEqual([0, 125]);
    } finally {
      rmSync(ballast(), { force: true });
    }
  });

  it('keeps a container running whose log cannot be written, and records how it ended', async () => {
    try {
      writeFileSync(ballast(), Buffer.alloc((statfsSync(store).bavail - 64) * PAGE));
      const script = 'i=0; while [ $i -lt 20000 ]; do echo "a line of output $i"; i=$((i+1)); done; exit 3';
      const args = ['--name', 'talker', '--network', 'none', 'busybox', 'sh', '-c', script];
      const outcome = await box.run(['run', ...args], small);
      expect(outcome.code, outcome.stderr).toBe(3);
      expect(outcome.stdout.trim().split('\n')).toHaveLength(20_000);
      const state = ['inspect', '--format', '{{.State.Status}} {{.State.ExitCode}}', 'talker'];
      expect(await box.ok(state, small)).toBe('exited 3');
      expect((await box.ok(['logs', 'talker'], small)).split('\n').length).toBeGreaterThan(100);
      await box.ok(['rm', 'talker'], small);
    } finally {
      rmSync(ballast(), { force: true });
    }
  });
});

describe('somebody who is not root', () => {
  const asNobody = (...args: string[]): Outcome => {
    const { status, stdout, stderr } = spawnSync(
      'setpriv',
      ['--reuid=65534', '--regid=65534', '--clear-groups', box.binary, ...args],
      { env: { ...box.env }, cwd: '/', encoding: 'utf8', timeout: 20_000 },
    );
    return { code: status ?? -1, stdout, stderr };
  };

  it('is told that run needs root', () => {
    const outcome = asNobody('run', '--rm', 'busybox', 'true');
    expect(outcome.code, show(outcome)).toBe(125);
    clearLine(outcome);
    expect(outcome.stderr).toContain('tinyrun needs root');
  });

  it.each([['images'], ['ps'], ['ps', '-a']])('is told that the store is closed: %s %s', (...args) => {
    const outcome = asNobody(...args);
    expect(outcome.code, show(outcome)).toBe(1);
    expect(clearLine(outcome)).toMatch(/permission denied/i);
  });

  it('gets help and the version all the same', () => {
    expect(asNobody('--version').code).toBe(0);
    expect(asNobody('--help').code).toBe(0);
  });
});
