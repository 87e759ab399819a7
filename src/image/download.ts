import { writeSync } from 'node:fs';
import type { Descriptor } from '../oci/image-spec.ts';
import { registryErrorIn } from '../registry/errors.ts';
import type { Reference } from '../registry/reference.ts';
import type { Registry } from '../registry/registry.ts';

/** Bytes: what an attempt must get beyond the furthest byte to count as progress, so that no server can drip for ever. */
const GRAIN = 64 << 10;

export interface BlobDownload {
  readonly registry: Registry;
  readonly reference: Reference;
  readonly descriptor: Descriptor;
  /** Bytes that are there already. */
  readonly from: number;
  readonly signal: AbortSignal;
  /** Told the furthest byte reached. */
  readonly onProgress: (furthest: number) => void;
  /** Told before each wait, in milliseconds. */
  readonly onRetry: (milliseconds: number) => void;
  /** Told where an answer turned out to be wrong after some of it was put into the file. */
  readonly onDistrust: () => void;
}

/**
 * Fetches the bytes of a blob from `from` to its end into its partial file, each byte once, however often the connection
 * breaks. An attempt goes on where the last one ended; what a server sends again that ignores `Range` is passed
 * over. The retry policy counts attempts that got no further than the furthest byte, so a server that lies about the
 * size, or always breaks at the same place, ends the loop. The digest is not verified here.
 *
 * Writes are synchronous, to the page cache: cheaper than a thread hop per chunk.
 * @throws RegistryError; a file system error
 */
export async function downloadBlob(download: BlobDownload, fd: number): Promise<void> {
  const { registry, reference, descriptor, signal } = download;
  let furthest = download.from;
  const attempt = async (): Promise<void> => {
    if (furthest >= descriptor.size) return;
    const { start, body, close } = await registry.blob(reference, descriptor, furthest);
    // A silent server would otherwise keep an ended pull waiting until it is taken for stalled.
    signal.addEventListener('abort', close, { once: true });
    let position = start;
    try {
      for await (const chunk of body) {
        signal.throwIfAborted();
        const known = Math.min(Math.max(furthest - position, 0), chunk.byteLength);
        for (let at = known; at < chunk.byteLength; )
          at += writeSync(fd, chunk, at, undefined, position + at);
        position += chunk.byteLength;
        if (position <= furthest) continue;
        furthest = position;
        download.onProgress(furthest);
      }
    } catch (error) {
      if (position > start && registryErrorIn(error)?.kind === 'invalid') download.onDistrust();
      throw error;
    } finally {
      signal.removeEventListener('abort', close);
    }
  };
  const watch = { signal, onRetry: download.onRetry, progress: () => Math.floor(furthest / GRAIN) };
  await registry.retrying(attempt, watch);
}
