import { TinyrunError } from '../errors.ts';
import { MEDIA_TYPE } from '../oci/image-spec.ts';
import { parseDocument } from '../registry/manifest.ts';
import { printable } from '../registry/printable.ts';
import { digestOf } from './blobs.ts';
import type { PushDocument } from './push-plan.ts';

/** As skopeo names them. */
export type ManifestFormat = 'oci' | 'v2s2';

const FOREIGN_GZIP = 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip';
const DOCKER_TAR = 'application/vnd.docker.image.rootfs.diff.tar';
const OCI_FOREIGN_GZIP = 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip';

/** Docker's type, OCI's for the same. */
const PAIRS: readonly (readonly [docker: string, oci: string])[] = [
  [MEDIA_TYPE.dockerManifest, MEDIA_TYPE.ociManifest],
  [MEDIA_TYPE.dockerConfig, MEDIA_TYPE.ociConfig],
  [MEDIA_TYPE.dockerLayerGzip, MEDIA_TYPE.ociLayerGzip],
  [DOCKER_TAR, MEDIA_TYPE.ociLayer],
  [FOREIGN_GZIP, OCI_FOREIGN_GZIP],
];

/**
 * A manifest in the other format, over the same blobs; as it is where it has the format already. It gets another digest, and
 * what Docker's format has no place for (annotations) is left out.
 * @throws TinyrunError `unsupported` for an index, and for layers that the format does not know (zstd in Docker's)
 */
export function inFormat(document: PushDocument, format: ManifestFormat): PushDocument {
  const parsed = parseDocument(document.bytes, document.mediaType);
  if (parsed.kind === 'index')
    throw new TinyrunError('unsupported', 'Cannot change the format of an index, only of one image');
  const { manifest } = parsed;
  const mediaType = format === 'oci' ? MEDIA_TYPE.ociManifest : MEDIA_TYPE.dockerManifest;
  if (manifest.mediaType === mediaType) return document;
  const typed = <T extends { readonly mediaType: string }>(descriptor: T): T => ({
    ...descriptor,
    mediaType: typeIn(descriptor.mediaType, format),
  });
  const { annotations } = manifest;
  const bytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType,
      config: typed(manifest.config),
      layers: manifest.layers.map((layer) => plain(typed(layer), format)),
      ...(format === 'oci' && annotations !== undefined ? { annotations } : {}),
    }),
  );
  return { digest: digestOf(bytes), mediaType, bytes };
}

function plain<T extends { readonly annotations?: unknown }>(descriptor: T, format: ManifestFormat): object {
  const { annotations, ...rest } = descriptor;
  return format === 'oci' && annotations !== undefined ? descriptor : rest;
}

function typeIn(type: string, format: ManifestFormat): string {
  const pair = PAIRS.find((one) => one.includes(type));
  if (pair !== undefined) return pair[format === 'oci' ? 1 : 0];
  throw new TinyrunError(
    'unsupported',
    `Cannot write a manifest of the format "${format}": it has no type for "${printable(type, 100)}"`,
  );
}
