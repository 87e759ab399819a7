import { describe, expect, it } from 'vitest';
import type { IndexEntry } from '../../../src/image/index-file.ts';
import { adopted, withManifest, withoutManifest, withoutTag } from '../../../src/image/shelf-index.ts';
import type { Digest } from '../../../src/oci/digest.ts';

const digest = (n: number): Digest => `sha256:${String(n).padStart(64, '0')}` as Digest;
const target = (n: number) => ({ mediaType: 'm', digest: digest(n), size: 1 });
const bare = { annotations: {}, rest: {} };
const put = (entries: readonly IndexEntry[], tags: string[], n: number, parts: number[] = []) =>
  withManifest(entries, {
    repository: 'a/b',
    tags,
    target: target(n),
    images: [],
    parts: new Set(parts.map(digest)),
  });
const namesOf = (entries: readonly IndexEntry[] | string | undefined) =>
  typeof entries === 'object'
    ? entries.map(({ name, target: { digest: of } }) => `${name} ${Number(of.slice(7))}`)
    : entries;
const from = { repository: 'a/b', pushedOnly: true, uses: [] };

describe('withManifest()', () => {
  it('names by tags, or by the digest alone', () => {
    expect(namesOf(put([], ['x', 'y'], 1))).toEqual(['localhost/a/b:x 1', 'localhost/a/b:y 1']);
    expect(namesOf(put([], [], 1))).toEqual([`localhost/a/b@${digest(1)} 1`]);
  });

  it('puts each thing once', () => {
    const tagged = put([], ['x'], 1);
    expect(namesOf(put(tagged, ['x'], 1))).toEqual(['localhost/a/b:x 1']);
    expect(namesOf(put(tagged, [], 1))).toEqual(['localhost/a/b:x 1']);
    expect(namesOf(put(put([], [], 1), ['x'], 1))).toEqual(['localhost/a/b:x 1']);
  });

  it('keeps what a moved tag named', () => {
    expect(namesOf(put(put([], ['x'], 1), ['x'], 2))).toEqual([
      'localhost/a/b:x 2',
      `localhost/a/b@${digest(1)} 1`,
    ]);
    expect(namesOf(put(put([], ['x', 'y'], 1), ['x'], 2))).toEqual([
      'localhost/a/b:y 1',
      'localhost/a/b:x 2',
    ]);
  });

  it('takes the parts of an index under its name', () => {
    expect(namesOf(put(put([], [], 1), ['x'], 2, [1]))).toEqual(['localhost/a/b:x 2']);
  });
});

describe('withoutTag()', () => {
  it('leaves the manifest under its digest', () => {
    expect(namesOf(withoutTag(put([], ['x'], 1), 'x', from))).toEqual([`localhost/a/b@${digest(1)} 1`]);
    expect(namesOf(withoutTag(put([], ['x', 'y'], 1), 'x', from))).toEqual(['localhost/a/b:y 1']);
  });

  it('leaves alone what was not pushed', () => {
    const own: IndexEntry = { ...bare, name: 'docker.io/a/b:x', target: target(1) };
    expect(withoutTag([own], 'x', from)).toBe('foreign');
    expect(withoutTag([own], 'x', { ...from, pushedOnly: false })).toHaveLength(1);
    expect(withoutTag([own], 'z', from)).toBeUndefined();
  });
});

describe('withoutManifest()', () => {
  it('takes all its tags with it', () => {
    const entries = put(put([], ['x', 'y'], 1), ['z'], 2);
    expect(namesOf(withoutManifest(entries, digest(1), from))).toEqual(['localhost/a/b:z 2']);
    expect(withoutManifest(entries, digest(3), from)).toBeUndefined();
  });

  it('leaves what a container needs', () => {
    const image = { manifest: digest(1), id: digest(9) };
    const entries = withManifest([], {
      repository: 'a/b',
      tags: ['x'],
      target: target(1),
      images: [image],
      parts: new Set(),
    });
    const uses = [{ id: 'c', running: false, image: digest(9) }];
    expect(withoutManifest(entries, digest(1), { ...from, uses })).toMatchObject([
      { images: [image], isRemoved: true },
    ]);
  });
});

describe('adopted()', () => {
  it('takes the name that another program gave', () => {
    const annotations = { 'org.opencontainers.image.ref.name': 'busybox:1', other: 'x' };
    expect(adopted({ ...bare, annotations, target: target(1) })).toMatchObject({
      name: 'docker.io/library/busybox:1',
      annotations: { other: 'x' },
    });
    const odd: IndexEntry = {
      ...bare,
      annotations: { 'org.opencontainers.image.ref.name': 'No Name' },
      target: target(1),
    };
    expect(adopted(odd)).toBe(odd);
  });
});
