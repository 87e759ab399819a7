import { appendFileSync, mkdtempSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { GrowingLines } from '../../../src/disk/growing-lines.ts';

let directory: string;
let path: string;
let lines: GrowingLines;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tinyrun-lines-'));
  path = join(directory, 'file');
  lines = new GrowingLines(path);
});
afterEach(() => {
  lines.close();
  rmSync(directory, { recursive: true });
});

const read = (): string[] => [...lines.read()].flat();

describe('GrowingLines', () => {
  test('read() gives whole lines, each once', () => {
    expect(read()).toEqual([]);
    writeFileSync(path, 'a\nb');
    expect(read()).toEqual(['a']);
    appendFileSync(path, 'c\n\nd\n');
    expect(read()).toEqual(['bc', '', 'd']);
  });

  test('read() goes on in the next file after a rename, and in a file that was emptied', () => {
    writeFileSync(path, 'a\n');
    expect(read()).toEqual(['a']);
    appendFileSync(path, 'b\n');
    renameSync(path, `${path}.1`);
    writeFileSync(path, 'c\n');
    expect(read()).toEqual(['b', 'c']);
    truncateSync(path);
    expect(read()).toEqual([]);
    appendFileSync(path, 'd\n');
    expect(read()).toEqual(['d']);
  });

  test.each([0, 1, 2, 3, 7])('skipToLast(%i) of a file of many chunks', (count) => {
    const all = Array.from({ length: 7 }, (_, at) => `${at}`.repeat(50_000));
    writeFileSync(path, all.map((line) => `${line}\n`).join(''));
    expect(lines.skipToLast(count)).toBe(count);
    expect(read()).toEqual(count === 0 ? [] : all.slice(-count));
  });

  test('skipToLast() of more than there are', () => {
    writeFileSync(path, 'a\nb\n');
    expect(lines.skipToLast(5)).toBe(2);
    expect(read()).toEqual(['a', 'b']);
    expect(new GrowingLines(join(directory, 'none')).skipToLast(5)).toBe(0);
  });
});
