import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Paths, pathsOf } from '../../../src/disk/paths.ts';
import type { Core } from '../../../src/engine/core.ts';
import { type EventsHow, parseEvent, readEvents } from '../../../src/engine/event-stream.ts';
import { emitEvent, eventLine } from '../../../src/engine/events.ts';

let paths: Paths;
let core: Core;

beforeEach(() => {
  const root = mkdtempSync(join(tmpdir(), 'tinyrun-events-'));
  paths = pathsOf({ root, runRoot: join(root, 'run') });
  core = { paths } as unknown as Core;
});
afterEach(() => rmSync(paths.root, { recursive: true }));

const line = (action: string, now: number): string =>
  eventLine({ type: 'container', id: 'abc', attributes: { name: 'x' } }, action, now);

const emit = (action: string): Promise<void> =>
  emitEvent(core, { type: 'container', id: 'abc', attributes: { name: 'x' } }, action);

async function actions(how: EventsHow): Promise<string[]> {
  const found: string[] = [];
  for await (const { action } of readEvents(core, how)) found.push(action);
  return found;
}

describe('eventLine()', () => {
  test('is read back with all its nanoseconds', () => {
    const text = line('start', 1_767_312_245_678);
    expect(text).toMatch(/^\{"time":1767312245,"timeNano":1767312245678000000,"Type":.*\}\n$/);
    expect(parseEvent(text.trimEnd())).toEqual({
      type: 'container',
      action: 'start',
      id: 'abc',
      attributes: { name: 'x' },
      nanoseconds: 1767312245678000000n,
    });
  });

  test.each(['', 'null', '{}', '{"time":1,"timeNano":1,', '{"time":1,"timeNano":1,"Type":3,"Action":"x"}'])(
    'a damaged line %j is none',
    (text) => expect(parseEvent(text)).toBeUndefined(),
  );
});

describe('readEvents()', () => {
  test('gives what was between since and until', async () => {
    await emit('first');
    writeFileSync(paths.events, ['a', 'b', 'c', 'd'].map((name, at) => line(name, 1000 * (at + 1))).join(''));
    expect(await actions({ since: 2000, until: 3000 })).toEqual(['b', 'c']);
    expect(await actions({ since: 0, until: 9000, matches: ({ action }) => action > 'b' })).toEqual([
      'c',
      'd',
    ]);
  });

  test('follows what others write, over a rotation, until it is told to end', async () => {
    await emit('before');
    const end = new AbortController();
    const all = actions({ signal: end.signal });
    await sleep(50);
    await emit('one');
    appendFileSync(paths.events, ' '.repeat(8 * 1024 * 1024));
    appendFileSync(paths.events, '\n');
    await emit('two');
    expect(existsSync(paths.oldEvents(1))).toBe(true);
    await emit('three');
    await sleep(200);
    end.abort();
    expect(await all).toEqual(['one', 'two', 'three']);
    expect(readFileSync(paths.events, 'utf8').split('\n')).toHaveLength(2);
    expect(await actions({ since: 0, until: Date.now() })).toEqual(['before', 'one', 'two', 'three']);
  });

  test('ends at until', async () => {
    const all = actions({ until: Date.now() + 150 });
    await sleep(30);
    await emit('one');
    expect(await all).toEqual(['one']);
  });

  test('keeps two old journals', async () => {
    for (const name of ['a', 'b', 'c', 'd']) {
      await emit(name);
      appendFileSync(paths.events, `${' '.repeat(8 * 1024 * 1024)}\n`);
    }
    await emit('e');
    expect(await actions({ since: 0, until: Date.now() })).toEqual(['d', 'e']);
    expect(existsSync(paths.oldEvents(3))).toBe(false);
  });
});

describe('emitEvent()', () => {
  test('fails for nothing', async () => {
    writeFileSync(join(paths.root, 'events'), 'no directory');
    await emit('lost');
  });
});
