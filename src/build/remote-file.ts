import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { readJson, writeJson } from '../disk/atomic.ts';
import { TinyrunError } from '../errors.ts';
import { fetchFile, type HttpFile } from '../image/http-file.ts';
import type { Digest } from '../oci/digest.ts';
import type { Environment } from './git-program.ts';

export interface RemoteFileInput {
  readonly url: string;
  /** What it must be (`--checksum`): a copy that is known to be that is taken without asking the server. */
  readonly checksum?: string;
  /** Where files of URLs are kept (paths.buildDownloads). */
  readonly cacheDirectory: string;
  readonly maxBytes?: number;
  readonly env: Environment;
  readonly signal?: AbortSignal;
  readonly onProgress?: (current: number, total: number | undefined) => void;
}

export interface RemoteFile {
  /** In the cache: not to be changed. Mode and owner of a copy are the caller's matter (ADD: 0600, root). */
  readonly file: string;
  readonly digest: Digest;
  readonly size: number;
  /** The last part of the URL's path, else of Content-Disposition. */
  readonly name: string;
  /** Milliseconds, from Last-Modified; 0 where the server did not say. */
  readonly mtimeMs: number;
}

const MAX_BYTES = 16 * 1024 ** 3;

/**
 * A file from http or https, by ETag and Last-Modified fetched only when it has changed.
 * @throws TinyrunError `digest mismatch sha256:…: sha256:…`
 */
export async function remoteFile(input: RemoteFileInput): Promise<RemoteFile> {
  const { url, cacheDirectory, checksum } = input;
  const wanted = checksum === undefined ? undefined : parseChecksum(checksum);
  const key = createHash('sha256').update(url).digest('hex');
  const record = join(cacheDirectory, `${key}.json`);
  const file = join(cacheDirectory, key);
  const known = existsSync(file) ? readRecord(record) : undefined;
  if (known !== undefined && wanted !== undefined && known.digest === wanted)
    return described(url, file, known);
  mkdirSync(cacheDirectory, { recursive: true, mode: 0o700 });
  const partial = `${file}.${randomBytes(4).toString('hex')}.tmp`;
  try {
    const fetched = await fetchFile({
      url,
      file: partial,
      maxBytes: input.maxBytes ?? MAX_BYTES,
      env: input.env,
      ...(known === undefined ? {} : { known }),
      ...(input.signal === undefined ? {} : { signal: input.signal }),
      ...(input.onProgress === undefined ? {} : { onProgress: input.onProgress }),
    });
    const result = fetched ?? known;
    if (result === undefined) throw new TinyrunError('internal', `Cannot fetch "${url}": no answer`);
    if (wanted !== undefined && result.digest !== wanted)
      throw new TinyrunError('invalid', `digest mismatch ${result.digest}: ${wanted}`);
    if (fetched !== undefined) {
      // The record first goes: a file never stands beside another's record.
      rmSync(record, { force: true });
      renameSync(partial, file);
      writeJson(record, fetched, { durable: false });
    }
    return described(url, file, result);
  } finally {
    rmSync(partial, { force: true });
  }
}

function parseChecksum(text: string): string {
  if (/^sha256:[0-9a-f]{64}$/.test(text)) return text;
  throw new TinyrunError(
    'invalid',
    `invalid checksum digest format: ${JSON.stringify(text)}, expected sha256:<64 hex digits>`,
  );
}

function readRecord(file: string): HttpFile | undefined {
  try {
    return readJson(file, parseRecord);
  } catch {
    // Only a help; it is fetched again.
    return undefined;
  }
}

function parseRecord(value: unknown): HttpFile {
  const fields: Readonly<Record<string, unknown>> =
    typeof value === 'object' && value !== null ? { ...value } : {};
  const { digest, size, etag, lastModified, fileName } = fields;
  if (typeof digest !== 'string' || typeof size !== 'number') throw new Error('damaged');
  return {
    digest: digest as Digest,
    size,
    ...(typeof etag === 'string' ? { etag } : {}),
    ...(typeof lastModified === 'string' ? { lastModified } : {}),
    ...(typeof fileName === 'string' ? { fileName } : {}),
  };
}

function described(
  url: string,
  file: string,
  { digest, size, lastModified, fileName }: HttpFile,
): RemoteFile {
  const time = Date.parse(lastModified ?? '');
  return {
    file,
    digest,
    size,
    name: nameOf(url) ?? fileName ?? '__unnamed__',
    mtimeMs: Number.isNaN(time) ? 0 : time,
  };
}

function nameOf(url: string): string | undefined {
  const last = new URL(url).pathname.split('/').at(-1) ?? '';
  try {
    const name = decodeURIComponent(last);
    return name === '' || name === '.' || name === '..' || /[/\0]/.test(name) ? undefined : name;
  } catch {
    return last;
  }
}

/** Whether a source of ADD is fetched by http; an address that ends in `.git` is a repository (git-url.ts). */
export function isHttpUrl(text: string): boolean {
  return /^https?:\/\//.test(text);
}
