import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect } from 'vitest';
import { pathsOf } from '../../src/disk/paths.ts';
import { readLayerRecord } from '../../src/image/layer-record.ts';
import { storeLayer } from '../../src/image/store-layer.ts';
import { describeTree } from '../fixtures/trees.ts';
import { needing } from '../harness/requires.ts';
import { PACKER, UNPACKER } from '../harness/unpacking.ts';

const it = needing('root');
const top = mkdtempSync(join(tmpdir(), 'tinyrun-store-layer-'));
const paths = pathsOf({ root: join(top, 'root'), runRoot: join(top, 'run') });
const programs = { packer: PACKER, unpacker: UNPACKER };

afterAll(() => rmSync(top, { recursive: true, force: true }));

function upper(name: string, files: Readonly<Record<string, string>>): string {
  const directory = join(top, name);
  mkdirSync(join(directory, 'etc'), { recursive: true });
  for (const [path, content] of Object.entries(files)) writeFileSync(join(directory, path), content);
  return directory;
}

describe('storeLayer()', () => {
  it('puts blob and files into the store, once', async () => {
    const directory = upper('changed', { 'etc/new': 'new', 'etc/hosts': '' });
    const input = { ...programs, upper: directory, exclude: ['/etc/hosts'] };
    const layer = await storeLayer(paths, input);
    if (layer === undefined) throw new Error('no layer');
    expect([...(await describeTree(paths.layerFs(layer.diffId))).keys()]).toEqual(['.', 'etc', 'etc/new']);
    expect(readdirSync(paths.blobs)).toEqual([layer.descriptor.digest.slice(7)]);
    expect(readLayerRecord(paths, layer.diffId)).toMatchObject({ diffId: layer.diffId, bytes: layer.bytes });
    expect(await storeLayer(paths, input)).toEqual(layer);
    expect(readdirSync(paths.layers)).toEqual([layer.diffId.slice(7)]);
  });

  it('makes none of what is only there to be mounted on', async () => {
    const before = readdirSync(paths.layers);
    const directory = upper('unchanged', { 'etc/hosts': '' });
    expect(
      await storeLayer(paths, { ...programs, upper: directory, exclude: ['/etc/hosts'] }),
    ).toBeUndefined();
    expect(readdirSync(paths.layers)).toEqual(before);
  });

  it('keeps another mode of a directory in which something was mounted', async () => {
    const lower = [upper('below', {})];
    const input = { ...programs, lower, exclude: ['/etc/hosts'] };
    const same = upper('same', { 'etc/hosts': '' });
    expect(await storeLayer(paths, { ...input, upper: same })).toBeUndefined();
    const closed = upper('closed', { 'etc/hosts': '' });
    chmodSync(join(closed, 'etc'), 0o700);
    const layer = await storeLayer(paths, { ...input, upper: closed });
    if (layer === undefined) throw new Error('no layer');
    expect((await describeTree(paths.layerFs(layer.diffId))).get('etc')).toContain('directory 0700');
    const made = upper('made', { 'etc/hosts': '' });
    expect(await storeLayer(paths, { ...input, lower: [join(top, 'root')], upper: made })).toBeUndefined();
  });

  it('leaves nothing behind where it fails', async () => {
    const before = [readdirSync(paths.layers), readdirSync(paths.blobs)];
    const directory = upper('impossible', { 'etc/.wh.x': '' });
    await expect(storeLayer(paths, { ...programs, upper: directory })).rejects.toMatchObject({
      kind: 'invalid',
    });
    expect([readdirSync(paths.layers), readdirSync(paths.blobs)]).toEqual(before);
  });
});
