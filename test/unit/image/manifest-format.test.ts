import { describe, expect, it } from 'vitest';
import { inFormat } from '../../../src/image/manifest-format.ts';
import { parseDocument } from '../../../src/registry/manifest.ts';
import { imageOf, indexOf, layerOf } from '../../harness/images.ts';

const documentOf = async (flavour: 'oci' | 'docker', compression: 'gzip' | 'zstd' = 'gzip') => {
  const { target } = imageOf({ layers: [await layerOf([{ name: 'x' }], compression)], flavour });
  return { digest: target.descriptor.digest, mediaType: target.descriptor.mediaType, bytes: target.bytes };
};

describe('inFormat()', () => {
  it('leaves alone what has the format', async () => {
    const [oci, docker] = [await documentOf('oci'), await documentOf('docker')];
    expect(inFormat(oci, 'oci')).toBe(oci);
    expect(inFormat(docker, 'v2s2')).toBe(docker);
  });

  it('goes there and back over the same blobs', async () => {
    const oci = await documentOf('oci');
    const docker = inFormat(oci, 'v2s2');
    expect(docker.mediaType).toBe('application/vnd.docker.distribution.manifest.v2+json');
    const [before, between, after] = [oci, docker, inFormat(docker, 'oci')].map(({ bytes, mediaType }) => {
      const parsed = parseDocument(bytes, mediaType);
      if (parsed.kind === 'index') throw new Error('an index');
      return parsed.manifest;
    });
    expect(between?.layers[0]?.mediaType).toBe('application/vnd.docker.image.rootfs.diff.tar.gzip');
    expect(after).toEqual(before);
  });

  it('refuses what a format has no type for', async () => {
    const zstd = await documentOf('oci', 'zstd');
    expect(() => inFormat(zstd, 'v2s2')).toThrow(
      'it has no type for "application/vnd.oci.image.layer.v1.tar+zstd"',
    );
    const { target } = indexOf([]);
    const index = { ...target.descriptor, bytes: target.bytes };
    expect(() => inFormat(index, 'oci')).toThrow('Cannot change the format of an index');
  });
});
