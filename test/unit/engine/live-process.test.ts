import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { holdProcess, parseStartTime } from '../../../src/engine/live-process.ts';

describe('parseStartTime()', () => {
  test.each([
    ['1 (sh) S 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 777 23', 777],
    ['1 (a) b (c)) S 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 778 23', 778],
  ])('of %s', (text, expected) => {
    expect(parseStartTime(text)).toBe(expected);
  });
});

describe('holdProcess()', () => {
  const own = parseStartTime(readFileSync('/proc/self/stat', 'utf8'));

  test('gives a path that means this process', () => {
    const held = holdProcess(process.pid, own);
    expect(readFileSync(`${held?.directory}/stat`, 'utf8')).toMatch(new RegExp(`^${process.pid} `));
    held?.close();
  });

  test('refuses another process of that number, and none', () => {
    expect(holdProcess(process.pid, own + 1)).toBeUndefined();
    expect(holdProcess(2 ** 22 + 1, 1)).toBeUndefined();
  });
});
