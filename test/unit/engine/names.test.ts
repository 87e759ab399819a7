import { mkdtempSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Paths, pathsOf } from '../../../src/disk/paths.ts';
import { newId, shortContainerId } from '../../../src/engine/ids.ts';
import {
  checkName,
  generateName,
  idOfName,
  releaseName,
  reserveGeneratedName,
  reserveName,
} from '../../../src/engine/names.ts';

const id = 'a'.repeat(64);
const other = 'b'.repeat(64);

test('newId() is 64 hex digits whose first 12 are not all decimal', () => {
  expect(newId()).toMatch(/^[0-9a-f]{64}$/);
  const answers = [Buffer.alloc(32, 0x12), Buffer.alloc(32, 0xab)];
  expect(newId(() => answers.shift() ?? Buffer.alloc(32))).toBe('ab'.repeat(32));
  expect(shortContainerId(id)).toBe('a'.repeat(12));
});

test('generateName() has two words, and a digit from the second attempt on', () => {
  for (let index = 0; index < 50; index += 1) expect(generateName(0)).toMatch(/^[a-z]+_[a-z]+$/);
  expect(generateName(1)).toMatch(/^[a-z]+_[a-z]+[0-9]$/);
});

test.each(['a', '', '-ab', '.ab', 'a b', 'a/b', 'ä1', `a${'b'.repeat(300)}`])(
  'checkName() refuses %j',
  (name) => {
    expect(() => checkName(name)).toThrow('Invalid container name');
  },
);

test.each([
  ['web', 'web'],
  ['/web', 'web'],
  ['0.a-b_C', '0.a-b_C'],
])('checkName() takes %s', (text, name) => {
  expect(checkName(text)).toBe(name);
});

describe('names', () => {
  let paths: Paths;
  beforeEach(() => {
    const root = mkdtempSync(join(tmpdir(), 'tinyrun-names-'));
    paths = pathsOf({ root, runRoot: join(root, 'run') });
  });
  afterEach(() => rmSync(paths.root, { recursive: true }));

  test('reserveName() gives a name to one container only', () => {
    reserveName(paths, 'web', id);
    expect(readlinkSync(paths.name('web'))).toBe(id);
    expect(() => reserveName(paths, 'web', other)).toThrow(
      `Conflict. The container name "/web" is already in use by container "${id}". You have to remove (or rename) that container to be able to reuse that name.`,
    );
  });

  test('releaseName() leaves a name alone that is another one by now', () => {
    reserveName(paths, 'web', id);
    releaseName(paths, 'web', other);
    expect(idOfName(paths, 'web')).toBe(id);
    releaseName(paths, 'web', id);
    expect(idOfName(paths, 'web')).toBeUndefined();
  });

  test('reserveGeneratedName() reserves what it returns', () => {
    const name = reserveGeneratedName(paths, id);
    expect(idOfName(paths, name)).toBe(id);
  });
});
