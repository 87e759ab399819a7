import { argumentsOf, runUnpacker, UnpackError, type UnpackInput } from './unpack.ts';

export type VerifyInput = Pick<
  UnpackInput,
  'unpacker' | 'layerDir' | 'blobFd' | 'descriptor' | 'diffId' | 'signal'
>;

/** What of a layer's directory is not as its blob has it. */
export interface LayerDamages {
  /** All of them. */
  readonly count: number;
  /** The first twenty. */
  readonly first: readonly LayerDamage[];
}

export interface LayerDamage {
  /** In the layer; empty for its root. */
  readonly path: string;
  /** A predicate: `has the mode 0777, expected 0755`. */
  readonly what: string;
}

/**
 * Compares an unpacked layer with its blob, file by file, in the unpacker's sandbox and without writing: type, mode, owner,
 * size, time, attributes, hard links, content, and what is there besides. The blob's digest and the content's diffID are
 * verified in the same pass.
 * @throws UnpackError where the blob itself is damaged
 */
export async function verifyLayer(input: VerifyInput): Promise<LayerDamages> {
  const { unpacker, layerDir, blobFd, descriptor, diffId, signal } = input;
  const first: LayerDamage[] = [];
  const report = await runUnpacker({
    unpacker,
    arguments: [
      ...argumentsOf({ unpacker, layerDir, blobFd, descriptor, diffId, have: descriptor.size }),
      '--verify',
      '1',
    ],
    blobFd,
    body: undefined,
    signal,
    onLine: (line) => first.push(...parseDamage(line)),
  });
  if ('kind' in report) throw new UnpackError(descriptor.digest, report);
  return { count: report.damages ?? 0, first };
}

/** A line of native/unpack/report.c. */
function parseDamage(line: string): LayerDamage[] {
  const fields: unknown = JSON.parse(line);
  if (typeof fields !== 'object' || fields === null || !('path' in fields && 'what' in fields)) return [];
  const { path, what } = fields;
  return typeof path === 'string' && typeof what === 'string' ? [{ path, what }] : [];
}
