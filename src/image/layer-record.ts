import { readJson, writeJson } from '../disk/atomic.ts';
import type { Paths } from '../disk/paths.ts';
import { TinyrunError } from '../errors.ts';
import { type Digest, parseDigest } from '../oci/digest.ts';

/** `layers/<name>/layer.json`: what the unpacker said of a layer. */
export interface LayerRecord {
  readonly diffId: Digest;
  /** Bytes of its tar. */
  readonly bytes: number;
  /** Entries of its tar. */
  readonly files: number;
  /** It hides everything below it (`.wh..wh..opq` at its root), which overlay cannot say of a root. */
  readonly opaqueRoot: boolean;
}

/** The record of an unpacked layer, undefined where it has none. */
export function readLayerRecord(paths: Paths, name: Digest): LayerRecord | undefined {
  return readJson(paths.layerRecord(name), (value) => {
    if (typeof value === 'object' && value !== null && 'bytes' in value && 'files' in value) {
      const { bytes, files } = value;
      const diffId = parseDigest('diffId' in value ? value.diffId : undefined);
      if (typeof bytes === 'number' && typeof files === 'number') {
        return { diffId, bytes, files, opaqueRoot: 'opaqueRoot' in value && value.opaqueRoot === true };
      }
    }
    throw new TinyrunError('invalid', 'Cannot read a layer record: expected diffId, bytes, files');
  });
}

/** Not durable: it is made anew with the layer, and only a listing reads it. */
export function writeLayerRecord(path: string, record: LayerRecord): void {
  writeJson(path, record, { durable: false });
}
