import { describe, expect, it } from 'vitest';
import type { ContextEntry, SelectedSource } from '../../../src/build/context.ts';
import { type CopyPlan, planCopy } from '../../../src/build/copy-plan.ts';
import { decodeLists, encodeRecords } from '../../../src/build/copy-records.ts';

const entry = (path: string, more: Partial<ContextEntry> = {}): ContextEntry => ({
  path,
  type: 'file',
  mode: 0o644,
  uid: 1000,
  gid: 1000,
  size: 1,
  mtimeMs: 1500,
  ...more,
});

const file = (path: string, asNamed = path): SelectedSource => ({
  path,
  asNamed,
  entry: entry(path),
  below: [],
});

const directory = (path: string, below: readonly string[]): SelectedSource => ({
  path,
  asNamed: path,
  entry: entry(path, { type: 'directory', mode: 0o755 }),
  below: below.map((one) => entry(one)),
});

const plan = (matches: readonly SelectedSource[], destination: string, more: Partial<CopyPlan> = {}) =>
  planCopy({
    selections: matches.map((match) => ({ pattern: match.asNamed, matches: [match] })),
    contents: [],
    destination,
    owner: { uid: 0, gid: 0 },
    parents: false,
    now: 0,
    ...more,
  }).map(({ type, dest, source }) => [type, dest, String(source)]);

describe('planCopy()', () => {
  it('gives one file the name of the destination, or its own in a directory that is there', () => {
    expect(plan([file('a/f')], '/x')).toEqual([
      ['named', '/x', 'f'],
      ['file', '', 'a/f'],
    ]);
  });

  it('puts a file into a destination with a slash under the name by which it was found', () => {
    expect(plan([file('real/f', 'link')], '/x/')).toEqual([
      ['base', '/x/', ''],
      ['file', 'link', 'real/f'],
    ]);
  });

  it('copies the content of a directory', () => {
    expect(plan([directory('d', ['d/a', 'd/b/c'])], '/x')).toEqual([
      ['base', '/x', ''],
      ['directory', '', 'd'],
      ['file', 'a', 'd/a'],
      ['file', 'b/c', 'd/b/c'],
    ]);
  });

  it('keeps the parents, from a pivot on', () => {
    const more = { parents: true };
    expect(plan([file('a/b/f', 'a/./b/f'), directory('d', ['d/x'])], '/x/', more)).toEqual([
      ['base', '/x/', ''],
      ['file', 'b/f', 'a/b/f'],
      ['directory', 'd', 'd'],
      ['file', 'd/x', 'd/x'],
    ]);
  });

  it('wants a directory for several sources', () => {
    expect(() => plan([file('a'), file('b')], '/x')).toThrow(/must be a directory and end with a \//);
  });

  it('gives the owner, the mode and the time', () => {
    const [, record] = planCopy({
      selections: [{ pattern: 'f', matches: [file('f')] }],
      contents: [],
      destination: '/x',
      owner: { uid: 5, gid: 6 },
      chmod: () => 0o711,
      parents: false,
      now: 9,
    });
    expect(record).toMatchObject({ uid: 5, gid: 6, mode: 0o711, mtimeMs: 1000 });
  });
});

describe('encodeRecords()', () => {
  it('writes what native/copy/main.c reads', () => {
    const bytes = Buffer.from(
      encodeRecords([{ type: 'file', mode: 0o644, uid: 1, mtimeMs: 2500, dest: 'ä', source: 'b' }]),
    );
    expect(bytes.toString('hex')).toBe(
      `46${'a4010000'}${'01000000'}${'ffffffff'}${'0200000000000000'}${'0065cd1d'}${'02000000'}c3a4${'01000000'}62`,
    );
  });
});

describe('decodeLists()', () => {
  it('reads lists, also empty ones', () => {
    const output = Buffer.from(
      'd|493|0|0|4096|1|500000000||x||f|420|1|2|3|4|0|ab|x/f||||'.replaceAll('|', '\0'),
    );
    const [first, second] = decodeLists(output);
    expect(first?.map(({ type, path, mtimeMs, digest }) => [type, path, mtimeMs, digest])).toEqual([
      ['directory', 'x', 1500, ''],
      ['file', 'x/f', 4000, 'ab'],
    ]);
    expect(second).toEqual([]);
  });
});
