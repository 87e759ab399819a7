import { createHash } from 'node:crypto';
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isUnpackError, type UnpackInput, type UnpackReport, unpackLayer } from '../../src/image/unpack.ts';
import { verifyLayer } from '../../src/image/verify-layer.ts';
import { type Digest, parseDigest } from '../../src/oci/digest.ts';
import { describeTree } from '../fixtures/trees.ts';

/** TINYRUN_NATIVE: another build of the native programs, such as the one with the sanitizers. */
const NATIVE =
  process.env.TINYRUN_NATIVE ?? join(import.meta.dirname, '..', '..', 'dist', 'native', process.arch);
export const UNPACKER = join(NATIVE, 'tinyrun-unpack');
export const PACKER = join(NATIVE, 'tinyrun-pack');

export interface Unpacked {
  /** The layer's directory. */
  readonly layer: string;
  readonly report?: UnpackReport;
  readonly error?: unknown;
  /** `ok`, an UnpackError's `failure`, or the message of any other error. */
  readonly outcome: string;
  /** What is in the blob's file afterwards. */
  readonly blob: Buffer;
}

export interface UnpackBench {
  /** A directory of the host whose content must never change. */
  readonly canary: string;
  /** Temporary, removed by dispose(). */
  readonly top: string;
  /** @param blob the layer as a registry has it @param content the tar that it is a compressed form of; default: the same */
  unpack(blob: Uint8Array, content?: Uint8Array, changes?: Partial<UnpackInput>): Promise<Unpacked>;
  /** The tree of a layer that must unpack. */
  treeOf(content: Uint8Array, changes?: Partial<UnpackInput>): Promise<Map<string, string>>;
  dispose(): void;
}

export function digestOf(bytes: Uint8Array): Digest {
  return parseDigest(`sha256:${createHash('sha256').update(bytes).digest('hex')}`);
}

export async function* piecesOf(bytes: Uint8Array, size = 30_000): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

/** Unpacks layers with the real program, each into a directory of its own. */
export function makeUnpackBench(parent = tmpdir()): UnpackBench {
  const top = mkdtempSync(join(parent, 'tinyrun-unpack-'));
  const canary = join(top, 'canary');
  mkdirSync(canary);
  writeFileSync(join(canary, 'file'), 'as it was');
  let count = 0;
  const unpack: UnpackBench['unpack'] = async (blob, content = blob, changes = {}) => {
    const directory = join(top, String(count++));
    const layer = join(directory, 'fs');
    mkdirSync(layer, { recursive: true });
    const path = join(directory, 'blob');
    const { have = 0 } = changes;
    writeFileSync(path, blob.subarray(0, have));
    const fd = openSync(path, 'r+');
    try {
      const input = {
        unpacker: UNPACKER,
        layerDir: layer,
        blobFd: fd,
        have,
        descriptor: { mediaType: '', digest: digestOf(blob), size: blob.length },
        diffId: digestOf(content),
        ...(have < blob.length ? { body: piecesOf(blob.subarray(have)) } : {}),
        ...changes,
      };
      const report = await unpackLayer(input);
      // Whatever unpacks must also look undamaged to the verifier.
      const { count, first } = await verifyLayer(input);
      if (count > 0) throw new Error(`the verifier disagrees: ${JSON.stringify(first)}`);
      return { layer, report, outcome: 'ok', blob: readFileSync(path) };
    } catch (error) {
      const outcome = isUnpackError(error) ? error.failure : String(error);
      return { layer, error, outcome, blob: readFileSync(path) };
    } finally {
      closeSync(fd);
    }
  };
  return {
    canary,
    top,
    unpack,
    async treeOf(content, changes) {
      const { layer, error } = await unpack(content, content, changes);
      if (error !== undefined) throw error;
      return describeTree(layer);
    },
    dispose: () => rmSync(top, { recursive: true, force: true }),
  };
}
