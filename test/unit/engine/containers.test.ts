import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Paths, pathsOf } from '../../../src/disk/paths.ts';
import {
  endedState,
  readContainer,
  resolveId,
  type StateRecord,
  statusOf,
} from '../../../src/engine/containers.ts';

const state: StateRecord = {
  pid: 7,
  startTime: 1,
  monitorPid: 6,
  monitorStartTime: 1,
  startedAt: '2026-01-01T00:00:00Z',
};
const ended = { ...state, finishedAt: '2026-01-01T00:00:01Z', exitCode: 3 };
const failed = { ...state, pid: 0, error: 'no', exitCode: 127 };

describe('statusOf()', () => {
  test.each([
    ['created', undefined, false],
    ['created', undefined, true],
    ['created', failed, false],
    ['running', state, true],
    ['exited', state, false],
    ['exited', ended, false],
    ['exited', ended, true],
  ] as const)('is %s', (status, record, held) => {
    expect(statusOf(record, held)).toBe(status);
  });
});

test('endedState() makes a missing end a kill', () => {
  expect(endedState(state)).toMatchObject({ exitCode: 137, signal: 9 });
  expect(endedState(ended)).toBe(ended);
  expect(endedState(failed)).toBe(failed);
});

describe('resolveId() and readContainer()', () => {
  const a = `abc${'1'.repeat(61)}`;
  const b = `abd${'2'.repeat(61)}`;
  let paths: Paths;

  beforeEach(() => {
    const root = mkdtempSync(join(tmpdir(), 'tinyrun-containers-'));
    paths = pathsOf({ root, runRoot: join(root, 'run') });
    for (const [id, name] of [
      [a, 'web'],
      [b, 'db'],
    ] as const) {
      mkdirSync(paths.container(id), { recursive: true });
      mkdirSync(paths.names, { recursive: true });
      symlinkSync(id, paths.name(name));
      writeFileSync(
        paths.containerRecord(id),
        JSON.stringify({ version: 1, id, name, image: {}, options: {}, args: [] }),
      );
    }
  });
  afterEach(() => rmSync(paths.root, { recursive: true }));

  test('an id, a name, a name with a slash, and a prefix that fits one', () => {
    expect(resolveId(paths, a)).toBe(a);
    expect(resolveId(paths, 'web')).toBe(a);
    expect(resolveId(paths, '/db')).toBe(b);
    expect(resolveId(paths, 'abd')).toBe(b);
  });

  test('a name goes before a prefix', () => {
    symlinkSync(b, paths.name('abc'));
    expect(resolveId(paths, 'abc')).toBe(b);
  });

  test.each([
    ['ab', 'multiple IDs found with provided prefix: ab'],
    ['nosuch', 'No such container: nosuch'],
    ['', 'No such container: '],
    ['../web', 'No such container: ../web'],
    ['f', 'No such container: f'],
    ['x'.repeat(300), 'No such container'],
  ])('%s is refused', (text, message) => {
    expect(() => resolveId(paths, text)).toThrow(message);
  });

  test('the lock decides whether it runs', () => {
    writeFileSync(paths.state(a), JSON.stringify(state));
    expect(readContainer(paths, a, () => true)?.status).toBe('running');
    const dead = readContainer(paths, a, () => false);
    expect(dead).toMatchObject({ status: 'exited', state: { exitCode: 137 } });
  });

  test('a directory without a record is no container', () => {
    rmSync(paths.containerRecord(a));
    expect(readContainer(paths, a, () => false)).toBeUndefined();
  });

  test('a damaged record is an error that names the file', () => {
    writeFileSync(paths.containerRecord(a), '{"version":');
    expect(() => readContainer(paths, a, () => false)).toThrow(paths.containerRecord(a));
  });
});
