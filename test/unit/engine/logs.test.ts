import { appendFileSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Paths, pathsOf } from '../../../src/disk/paths.ts';
import type { Core } from '../../../src/engine/core.ts';
import { type LogsHow, readLogs } from '../../../src/engine/logs.ts';

const id = 'a'.repeat(64);
let paths: Paths;
let held = false;

const line = (text: string, second = 0, stream = 'stdout'): string =>
  `${JSON.stringify({ log: `${text}\n`, stream, time: new Date(second * 1000).toISOString() })}\n`;

function core(): Core {
  return { paths, lockIsHeld: async () => () => held } as unknown as Core;
}

async function texts(how: LogsHow = {}): Promise<string[]> {
  const found: string[] = [];
  for await (const entry of readLogs(core(), id, how)) found.push(entry.text.trimEnd());
  return found;
}

beforeEach(() => {
  const root = mkdtempSync(join(tmpdir(), 'tinyrun-logs-'));
  paths = pathsOf({ root, runRoot: join(root, 'run') });
  held = false;
  mkdirSync(dirname(paths.log(id)), { recursive: true });
  const options = { logDriver: 'json-file' };
  writeFileSync(
    paths.containerRecord(id),
    JSON.stringify({ version: 1, id, name: 'x', image: {}, options, args: [] }),
  );
});
afterEach(() => rmSync(paths.root, { recursive: true }));

describe('readLogs()', () => {
  test('reads rotated files first', async () => {
    writeFileSync(`${paths.log(id)}.2`, line('a'));
    writeFileSync(`${paths.log(id)}.1`, line('b'));
    writeFileSync(paths.log(id), line('c') + line('d'));
    expect(await texts()).toEqual(['a', 'b', 'c', 'd']);
    expect(await texts({ tail: 3 })).toEqual(['b', 'c', 'd']);
    expect(await texts({ tail: 0 })).toEqual([]);
  });

  test('filters by time', async () => {
    writeFileSync(paths.log(id), line('a', 10) + line('b', 20) + line('c', 30));
    expect(await texts({ since: 20_000 })).toEqual(['b', 'c']);
    expect(await texts({ until: 20_000 })).toEqual(['a', 'b']);
  });

  test('skips damaged lines and an unfinished last one', async () => {
    writeFileSync(paths.log(id), `${line('a')}{"log":\nnull\n${line('b')}{"log":"c`);
    expect(await texts()).toEqual(['a', 'b']);
  });

  test('is empty where there is no log yet', async () => {
    expect(await texts()).toEqual([]);
  });

  test('follows over a rotation until the container has ended', async () => {
    held = true;
    const state = { pid: 1, startTime: 1, startedAt: '2026-01-01T00:00:00Z' };
    writeFileSync(paths.state(id), JSON.stringify(state));
    writeFileSync(paths.log(id), line('a'));
    const all = texts({ follow: true });
    await sleep(150);
    appendFileSync(paths.log(id), line('b'));
    await sleep(150);
    appendFileSync(paths.log(id), line('c'));
    renameSync(paths.log(id), `${paths.log(id)}.1`);
    writeFileSync(paths.log(id), line('d'));
    await sleep(150);
    appendFileSync(paths.log(id), line('e'));
    held = false;
    expect(await all).toEqual(['a', 'b', 'c', 'd', 'e']);
  });
});
