import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { makeScratch } from '../../../src/build/scratch.ts';

let top: string;
beforeEach(() => {
  top = mkdtempSync(join(tmpdir(), 'tinyrun-scratch-'));
});
afterEach(() => rmSync(top, { recursive: true, force: true }));

describe('makeScratch()', () => {
  it('makes a directory that goes when it is released', () => {
    const parent = join(top, 'not', 'there');
    const { directory, release } = makeScratch(parent);
    writeFileSync(join(directory, 'x'), '');
    release();
    expect(readdirSync(parent)).toEqual([]);
  });

  it('leaves the directories of builds that run', () => {
    const first = makeScratch(top);
    const second = makeScratch(top);
    expect([first, second].map(({ directory }) => existsSync(directory))).toEqual([true, true]);
    first.release();
    second.release();
  });

  it('removes what a killed build left, and nothing that its links lead to', () => {
    const outside = join(top, 'outside');
    mkdirSync(outside);
    writeFileSync(join(outside, 'kept'), '');
    const parent = join(top, 'scratch');
    mkdirSync(join(parent, 'dead', 'tree'), { recursive: true });
    symlinkSync(outside, join(parent, 'dead', 'tree', 'link'));
    writeFileSync(join(parent, 'dead.lock'), '');
    const { release } = makeScratch(parent);
    expect(existsSync(join(parent, 'dead'))).toBe(false);
    expect(existsSync(join(outside, 'kept'))).toBe(true);
    release();
    expect(readdirSync(parent)).toEqual([]);
  });
});
