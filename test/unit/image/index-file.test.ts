import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Paths, pathsOf } from '../../../src/disk/paths.ts';
import {
  type IndexEntry,
  putEntry,
  readIndex,
  repositoryOf,
  tagOf,
  writeIndex,
} from '../../../src/image/index-file.ts';
import { type Digest, parseDigest } from '../../../src/oci/digest.ts';

const digest = (letter: string): Digest => parseDigest(`sha256:${letter.repeat(64)}`);
const target = (letter: string) => ({ mediaType: 'application/x', digest: digest(letter), size: 7 });
const key = (letter: string) => ({ manifest: digest(letter), id: digest(letter) });
const LATEST = 'docker.io/library/busybox:latest';
const SOURCE = { name: LATEST, pulledFrom: 'docker.io/library/busybox' };

let root: string;
let paths: Paths;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'tinyrun-index-'));
  paths = pathsOf({ root, runRoot: join(root, 'run') });
  mkdirSync(root, { recursive: true });
});

afterEach(() => rmSync(root, { recursive: true, force: true }));

describe('tagOf(), repositoryOf() split canonical names', () => {
  it.each([
    ['docker.io/library/busybox:latest', 'docker.io/library/busybox', 'latest'],
    ['localhost:5000/a/b:v1', 'localhost:5000/a/b', 'v1'],
    [`localhost:5000/a@${digest('a')}`, 'localhost:5000/a', undefined],
  ])('%s', (name, repository, tag) => {
    expect([repositoryOf(name), tagOf(name)]).toEqual([repository, tag]);
  });
});

describe('writeIndex()', () => {
  it('writes an image layout with the annotations of containerd and skopeo', () => {
    writeIndex(paths, {
      entries: putEntry([], { ...SOURCE, target: target('a'), key: key('b') }, true),
      rest: {},
    });
    expect(readFileSync(paths.ociLayout, 'utf8')).toBe('{"imageLayoutVersion":"1.0.0"}\n');
    const index = JSON.parse(readFileSync(paths.index, 'utf8'));
    expect(index).toMatchObject({
      schemaVersion: 2,
      manifests: [
        {
          ...target('a'),
          annotations: {
            'io.containerd.image.name': LATEST,
            'org.opencontainers.image.ref.name': LATEST,
          },
        },
      ],
    });
  });

  it('is read back as it was written, with what other programs put there', () => {
    const foreign = { mediaType: 'application/vnd.oci.image.index.v1+json', annotations: { who: 'skopeo' } };
    const entry = {
      ...target('c'),
      artifactType: 'application/x-thing',
      annotations: { 'org.opencontainers.image.ref.name': 'thing', 'dev.other': 'x' },
    };
    writeFileSync(paths.index, JSON.stringify({ schemaVersion: 2, ...foreign, manifests: [entry] }));
    const index = readIndex(paths);
    const entries = putEntry(index.entries, { ...SOURCE, target: target('a'), key: key('b') }, true);
    writeIndex(paths, { ...index, entries });
    expect(JSON.parse(readFileSync(paths.index, 'utf8'))).toMatchObject({
      ...foreign,
      manifests: [entry, {}],
    });
    expect(readIndex(paths).entries).toEqual(entries);
  });

  it('leaves no temporary file', () => {
    writeIndex(paths, { entries: [], rest: {} });
    expect(readdirSync(root).sort()).toEqual(['index.json', 'index.reserve', 'oci-layout']);
  });
});

describe('readIndex()', () => {
  it('is empty where there is no store', () => {
    expect(readIndex(paths).entries).toEqual([]);
  });

  it.each([
    ['half a file', '{"schemaVersion":2,"manif'],
    ['another document', '[]'],
    ['an entry without a size', JSON.stringify({ manifests: [{ ...target('a'), size: undefined }] })],
    [
      'an entry whose digest climbs',
      JSON.stringify({ manifests: [{ ...target('a'), digest: 'sha256:../../x' }] }),
    ],
  ])('says that it is damaged: %s', (_, text) => {
    writeFileSync(paths.index, text);
    expect(() => readIndex(paths)).toThrow(/Cannot read ".*index.json": it is damaged/);
  });
});

describe('putEntry()', () => {
  const put = (entries: readonly IndexEntry[], letter: string, more: object = {}): readonly IndexEntry[] =>
    putEntry(entries, { ...SOURCE, target: target(letter), key: key(letter), ...more }, true);
  const names = (entries: readonly IndexEntry[]) => entries.map((one) => one.name ?? 'dangling');

  it('leaves the entries alone where nothing changes', () => {
    const before = put([], 'a');
    expect(put(before, 'a')).toBe(before);
  });

  it('leaves the former image under its repo digest', () => {
    expect(names(put(put([], 'a'), 'b'))).toEqual([`docker.io/library/busybox@${digest('a')}`, LATEST]);
  });

  it('leaves a former image that was not pulled dangling', () => {
    const local = putEntry([], { name: LATEST, target: target('a'), key: key('a') }, true);
    expect(names(put(local, 'b'))).toEqual(['dangling', LATEST]);
  });

  it('gives a dangling image its name back', () => {
    const local = putEntry([], { name: LATEST, target: target('a'), key: key('a') }, true);
    expect(names(put(put(local, 'b'), 'a', { name: 'docker.io/library/box:1' }))).toEqual([
      LATEST,
      'docker.io/library/box:1',
    ]);
  });

  it('keeps the platforms of an index in order of preference', () => {
    const add = (entries: readonly IndexEntry[], letter: string, first: boolean) =>
      putEntry(entries, { ...SOURCE, target: target('f'), key: key(letter) }, first);
    const images = (entries: readonly IndexEntry[]) => entries[0]?.images?.map((one) => one.id[7]).join('');
    const one = add([], 'a', false);
    expect(images(add(one, 'b', false))).toBe('ab');
    expect(images(add(one, 'b', true))).toBe('ba');
    expect(images(add(add(one, 'b', true), 'a', false))).toBe('ba');
  });
});
