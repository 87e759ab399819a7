import { describe, expect, it } from 'vitest';
import type { ImageKey, IndexEntry } from '../../../src/image/index-file.ts';
import { type ContainerUse, planRemoval } from '../../../src/image/removal.ts';
import { type Digest, parseDigest } from '../../../src/oci/digest.ts';

const digest = (letter: string): Digest => parseDigest(`sha256:${letter.repeat(64)}`);
const key = (letter: string): ImageKey => ({ manifest: digest(letter), id: digest(letter) });
const CONTAINER = 'c'.repeat(64);

function entry(name: string | undefined, images: string, more: Partial<IndexEntry> = {}): IndexEntry {
  return {
    ...(name === undefined ? {} : { name }),
    target: {
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      digest: digest(images[0] ?? ''),
      size: 1,
    },
    images: [...images].map(key),
    annotations: {},
    rest: {},
    ...more,
  };
}

const busybox = entry('docker.io/library/busybox:latest', 'a', { pulledFrom: 'docker.io/library/busybox' });
const again = entry('docker.io/library/busybox:1.37', 'a', { pulledFrom: 'docker.io/library/busybox' });
const local = entry('docker.io/library/busybox:mine', 'a');
const foreign = entry('localhost:5000/box:latest', 'a');
const other = entry('docker.io/library/alpine:latest', 'b');
const REPO_DIGEST = `busybox@${digest('a')}`;

function remove(
  entries: readonly IndexEntry[],
  text: { name?: string; id?: string; force?: boolean; uses?: readonly ContainerUse[] },
) {
  const { name, id = 'a', force = false, uses = [] } = text;
  const plan = planRemoval(entries, {
    text: name ?? id,
    key: key(id),
    ...(name === undefined ? {} : { name }),
    force,
    uses,
  });
  return {
    untagged: plan.untagged,
    deleted: plan.deleted,
    left: plan.entries.map((one) => (one.isRemoved ? 'removed' : (one.name ?? 'dangling'))),
    entries: plan.entries,
  };
}

const stopped: ContainerUse = { id: CONTAINER, running: false, image: digest('a') };
const running: ContainerUse = { ...stopped, running: true };

describe('planRemoval() by reference', () => {
  const LATEST = 'docker.io/library/busybox:latest';

  it('deletes the image with its last reference, the repo digest too', () => {
    expect(remove([busybox, other], { name: LATEST })).toMatchObject({
      untagged: ['busybox:latest', REPO_DIGEST],
      deleted: [digest('a')],
      left: ['docker.io/library/alpine:latest'],
    });
  });

  it('only untags where another tag of the repository is left, and keeps the repo digest', () => {
    const removed = remove([busybox, again], { name: LATEST });
    expect(removed).toMatchObject({ untagged: ['busybox:latest'], deleted: [], left: [again.name] });
  });

  it('passes the repo digest to a tag that was not pulled', () => {
    const removed = remove([busybox, local], { name: LATEST });
    expect(removed.untagged).toEqual(['busybox:latest']);
    expect(removed.entries).toMatchObject([{ name: local.name, pulledFrom: 'docker.io/library/busybox' }]);
  });

  it('takes the repo digest along where only another repository names the image', () => {
    const removed = remove([busybox, foreign], { name: LATEST });
    expect(removed).toMatchObject({
      untagged: ['busybox:latest', REPO_DIGEST],
      deleted: [],
      left: [foreign.name],
    });
  });

  it('removes only the digest reference when told the digest', () => {
    const removed = remove([busybox], { name: `docker.io/library/busybox@${digest('a')}` });
    expect(removed).toMatchObject({ untagged: [REPO_DIGEST], deleted: [], left: [busybox.name] });
    expect(removed.entries[0]?.pulledFrom).toBeUndefined();
  });

  it('refuses the last reference under a container, in the words of Docker', () => {
    expect(() => remove([busybox], { name: LATEST, uses: [stopped] })).toThrow(
      `conflict: unable to remove repository reference "${LATEST}" (must force) - container cccccccccccc is using its referenced image aaaaaaaaaaaa`,
    );
  });

  it('untags one of several references under a container', () => {
    expect(remove([busybox, foreign], { name: LATEST, uses: [running] })).toMatchObject({ deleted: [] });
  });

  it('by force leaves the image of a running container dangling', () => {
    expect(remove([busybox], { name: LATEST, uses: [running], force: true })).toMatchObject({
      untagged: ['busybox:latest', REPO_DIGEST],
      deleted: [],
      left: ['dangling'],
    });
  });

  it('by force deletes the image of a stopped container, which can still find it', () => {
    expect(remove([busybox], { name: LATEST, uses: [stopped], force: true })).toMatchObject({
      deleted: [digest('a')],
      left: ['removed'],
    });
  });

  it('removes every platform of an index with its name', () => {
    const index = entry('docker.io/library/multi:latest', 'de');
    expect(remove([index], { name: 'docker.io/library/multi:latest', id: 'd' })).toMatchObject({
      untagged: ['multi:latest'],
      deleted: [digest('d'), digest('e')],
      left: [],
    });
  });
});

describe('planRemoval() by id', () => {
  it('removes the image and its only reference', () => {
    expect(remove([busybox], {})).toMatchObject({
      untagged: ['busybox:latest', REPO_DIGEST],
      deleted: [digest('a')],
      left: [],
    });
  });

  it('removes a dangling image', () => {
    expect(remove([entry(undefined, 'a')], {})).toMatchObject({
      untagged: [],
      deleted: [digest('a')],
      left: [],
    });
  });

  it('refuses an image with references in several repositories, unless forced', () => {
    expect(() => remove([busybox, foreign], {})).toThrow(
      'conflict: unable to delete aaaaaaaaaaaa (must be forced) - image is referenced in multiple repositories',
    );
    expect(remove([busybox, foreign], { force: true })).toMatchObject({
      untagged: ['busybox:latest', 'localhost:5000/box:latest', REPO_DIGEST],
      deleted: [digest('a')],
      left: [],
    });
  });

  it('refuses the image of a running container even by force', () => {
    for (const force of [false, true]) {
      expect(() => remove([busybox], { uses: [running], force })).toThrow(
        'conflict: unable to delete aaaaaaaaaaaa (cannot be forced) - image is being used by running container cccccccccccc',
      );
    }
  });

  it('refuses the image of a stopped container, unless forced', () => {
    expect(() => remove([busybox], { uses: [stopped] })).toThrow(
      'conflict: unable to delete aaaaaaaaaaaa (must be forced) - image is being used by stopped container cccccccccccc',
    );
    expect(remove([busybox], { uses: [stopped], force: true })).toMatchObject({ deleted: [digest('a')] });
  });

  it('takes one platform out of an index and leaves the name to the others', () => {
    const index = entry('docker.io/library/multi:latest', 'de');
    const removed = remove([index], { id: 'e' });
    expect(removed).toMatchObject({ untagged: [], deleted: [digest('e')], left: [index.name] });
    expect(removed.entries[0]?.images).toEqual([key('d')]);
  });
});
