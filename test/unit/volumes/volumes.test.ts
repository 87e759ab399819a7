import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Paths, pathsOf } from '../../../src/disk/paths.ts';
import {
  abandonedVolumes,
  checkVolumeName,
  createVolume,
  discardVolume,
  findVolume,
  listVolumes,
} from '../../../src/volumes/volumes.ts';

let directory: string;
let paths: Paths;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'volumes-'));
  paths = pathsOf({ root: join(directory, 'root'), runRoot: join(directory, 'run') });
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const request = (name: string, options: Record<string, string> = {}) => ({
  name,
  labels: { a: '1' },
  options,
  anonymous: false,
  created: '2026-01-02T03:04:05Z',
});

describe('checkVolumeName()', () => {
  it.each(['data', 'a1', 'my.data_2-x'])('takes %s', (name) => expect(checkVolumeName(name)).toBe(name));
  it.each(['', 'a', '../x', '.hidden', 'a/b', 'a b', 'ü1', '-x', 'a'.repeat(256)])('refuses %j', (name) => {
    expect(() => checkVolumeName(name)).toThrow('includes invalid characters for a local volume name');
  });
});

describe('createVolume()', () => {
  it('makes the directory and the record', () => {
    createVolume(paths, request('data'));
    expect(existsSync(paths.volumeData('data'))).toBe(true);
    expect(findVolume(paths, 'data')).toEqual({ ...request('data'), driver: 'local' });
    expect(listVolumes(paths).map(({ name }) => name)).toEqual(['data']);
  });

  it('gives back what is there, with its files', () => {
    createVolume(paths, request('data'));
    writeFileSync(join(paths.volumeData('data'), 'file'), '');
    expect(createVolume(paths, { ...request('data'), labels: { b: '2' } }).labels).toEqual({ a: '1' });
    expect(existsSync(join(paths.volumeData('data'), 'file'))).toBe(true);
  });

  it('refuses other options for one that is there', () => {
    createVolume(paths, request('data', { type: 'tmpfs' }));
    expect(createVolume(paths, request('data')).options).toEqual({ type: 'tmpfs' });
    expect(() => createVolume(paths, request('data', { type: 'none' }))).toThrow('exists with other options');
  });
});

describe('listVolumes()', () => {
  it('is empty without a store', () => expect(listVolumes(paths)).toEqual([]));

  it('leaves out what is half made, and abandonedVolumes() finds it', () => {
    createVolume(paths, request('data'));
    mkdirSync(join(paths.volumes, '.new-abc'));
    mkdirSync(join(paths.volume('data'), '.fill-abc'));
    expect(listVolumes(paths).map(({ name }) => name)).toEqual(['data']);
    expect(abandonedVolumes(paths)).toEqual([
      join(paths.volumes, '.new-abc'),
      join(paths.volume('data'), '.fill-abc'),
    ]);
  });

  it('says which record is damaged', () => {
    createVolume(paths, request('data'));
    writeFileSync(paths.volumeRecord('data'), '{"name":7}');
    expect(() => listVolumes(paths)).toThrow(`Cannot read "${paths.volumeRecord('data')}": it is damaged`);
  });
});

describe('discardVolume()', () => {
  it('takes it out of sight at once', () => {
    createVolume(paths, request('data'));
    const left = discardVolume(paths, 'data');
    expect(findVolume(paths, 'data')).toBeUndefined();
    expect(existsSync(join(left, '_data'))).toBe(true);
  });
});
