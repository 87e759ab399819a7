import { TinyrunError } from '../../errors.ts';
import type { Descriptor } from '../../oci/image-spec.ts';
import { parseJsonObject, shapeOf } from '../json-shape.ts';
import { descriptor, descriptors, documentMediaType, isForeign, LONGEST_MANIFEST } from '../manifest.ts';

/** A manifest or index of any kind, images and other artifacts alike, as far as a registry looks into it. */
export interface ServedManifest {
  readonly mediaType: string;
  /** Manifests below it. */
  readonly manifests: readonly Descriptor[];
  /** Blobs that it is made of; not those that are fetched from elsewhere. */
  readonly blobs: readonly Descriptor[];
  /** What it is about. */
  readonly subject?: Descriptor;
  /** As the referrers API says it: of a manifest without one the type of its config. */
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

/**
 * @param contentType as the client announced it
 * @throws TinyrunError `invalid`, `unsupported` (schema 1; digests other than sha256)
 * @see https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-manifests
 */
export function parseServedManifest(bytes: Uint8Array, contentType?: string): ServedManifest {
  const mediaType = documentMediaType(bytes, contentType);
  const shape = shapeOf('manifest');
  const raw = parseJsonObject(bytes, 'manifest', LONGEST_MANIFEST);
  const annotations = shape.map(raw, 'annotations');
  const subject = raw.subject ?? undefined;
  const isIndex = Object.hasOwn(raw, 'manifests');
  if (!isIndex && !Object.hasOwn(raw, 'config')) {
    throw new TinyrunError('invalid', 'Cannot read manifest: it has no "config"');
  }
  const config = isIndex ? undefined : descriptor(raw.config, 'config', shape);
  const said = shape.text(raw, 'artifactType') || undefined;
  const artifactType = said ?? config?.mediaType;
  const layers = isIndex ? [] : descriptors(raw, 'layers', shape);
  return {
    mediaType,
    manifests: isIndex ? descriptors(raw, 'manifests', shape) : [],
    blobs: [...(config === undefined ? [] : [config]), ...layers.filter((layer) => !isForeign(layer))],
    ...(subject === undefined ? {} : { subject: descriptor(subject, 'subject', shape) }),
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(annotations === undefined ? {} : { annotations }),
  };
}
