import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { makePrivateDirectory, readJson, writeFileAtomic, writeJson } from '../../../src/disk/atomic.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tinyrun-unit-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

describe('writeFileAtomic()', () => {
  it('replaces the whole file and leaves no temporary one', () => {
    const path = join(directory, 'file');
    writeFileAtomic(path, 'a long first version');
    writeFileAtomic(path, 'second');
    expect(readFileSync(path, 'utf8')).toBe('second');
    expect(readdirSync(directory)).toEqual(['file']);
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it('leaves the old file where it cannot replace it', () => {
    const path = join(directory, 'taken');
    makePrivateDirectory(join(path, 'inside'));
    expect(() => writeFileAtomic(path, 'x')).toThrow();
    expect(readdirSync(directory)).toEqual(['taken']);
  });
});

describe('readJson()', () => {
  const asIs = (value: unknown): unknown => value;

  it('is undefined where there is no file', () => {
    expect(readJson(join(directory, 'none'), asIs)).toBeUndefined();
  });

  it('reads back what writeJson() wrote', () => {
    writeJson(join(directory, 'x'), { a: [1, 'b'] });
    expect(readJson(join(directory, 'x'), asIs)).toEqual({ a: [1, 'b'] });
  });

  it('names a damaged file', () => {
    writeFileSync(join(directory, 'bad'), '{"a":');
    expect(() => readJson(join(directory, 'bad'), asIs)).toThrow(/bad": it is damaged/);
  });
});

describe('makePrivateDirectory()', () => {
  it('makes what is missing above, closed to others', () => {
    makePrivateDirectory(join(directory, 'a', 'b'));
    expect(statSync(join(directory, 'a')).mode & 0o777).toBe(0o700);
    makePrivateDirectory(join(directory, 'a', 'b'));
    expect(existsSync(join(directory, 'a', 'b'))).toBe(true);
  });

  it('fails, and does not loop, where a parent takes no entries', () => {
    expect(() => makePrivateDirectory('/proc/tinyrun/containers')).toThrow(/ENOENT|EACCES|EPERM|EROFS/);
  });

  it('fails where a file is in the way', () => {
    writeFileSync(join(directory, 'file'), '');
    expect(() => makePrivateDirectory(join(directory, 'file'))).toThrow(/EEXIST/);
  });
});
