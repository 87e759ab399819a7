import { afterEach, beforeEach, expect, test } from 'vitest';
import { storeSizes, totalSize } from '../../../src/image/prune.ts';
import { type Fixture, makeFixture, textImage } from './store-fixture.ts';

let fixture: Fixture;
beforeEach(() => {
  fixture = makeFixture();
});
afterEach(() => fixture.dispose());

const pulled = async (name: string, ...texts: string[]) => {
  fixture.registry.publish(`docker.io/library/${name}:latest`, await textImage(...texts));
  return (await fixture.pull(name)).image;
};

test('Store.prune() removes the chosen images with their names and layers', async () => {
  const kept = await pulled('kept', 'shared', 'own');
  const gone = await pulled('gone', 'shared', 'other');
  await fixture.store.tag('gone', 'second');
  const before = totalSize(storeSizes(fixture.paths));
  const removed = await fixture.store.prune(
    ({ id }) => id === gone.id,
    () => [],
  );
  expect(removed.untagged.filter((name) => !name.includes('@'))).toEqual(['gone:latest', 'second:latest']);
  expect(removed.deleted[0]).toBe(gone.id);
  expect(fixture.store.list().map(({ id }) => id)).toEqual([kept.id]);
  expect(storeSizes(fixture.paths).layers.size).toBe(2);
  expect(totalSize(storeSizes(fixture.paths))).toBeLessThan(before);
  expect(fixture.store.lowerDirs(kept)).toHaveLength(2);
});

test('Store.prune() leaves what a container was made from', async () => {
  const used = await pulled('used', 'text');
  const inUse = () => [{ id: '1'.repeat(64), running: false, image: used.id }];
  expect(await fixture.store.prune(() => true, inUse)).toEqual({ untagged: [], deleted: [] });
  expect(fixture.store.resolve('used')?.id).toBe(used.id);
});
