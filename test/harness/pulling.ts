import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { hexOf } from '../../src/oci/digest.ts';
import { type ImageConfig, MEDIA_TYPE } from '../../src/oci/image-spec.ts';
import { describeTree } from '../fixtures/trees.ts';
import type { FaultyRegistry } from './faulty-registry.ts';
import { type BuiltImage, type BuiltLayer, digestOf, type LayerEntry, tarOf } from './images.ts';
import { type Outcome, type Sandbox, show } from './sandbox.ts';

/** Puts an image into a registry of this process. @param repository such as `library/busybox` */
export function publishTo(
  registry: FaultyRegistry,
  repository: string,
  tag: string,
  { target, blobs }: BuiltImage,
): void {
  for (const bytes of blobs.values()) registry.addBlob(bytes);
  for (const [digest, bytes] of blobs) {
    const mediaType = mediaTypeOf(bytes);
    if (mediaType !== undefined && digest !== target.descriptor.digest)
      registry.addManifest(repository, digest, bytes, mediaType);
  }
  registry.addManifest(repository, tag, target.bytes, target.descriptor.mediaType);
}

/** Of a manifest or an index; undefined for any other blob. */
function mediaTypeOf(bytes: Buffer): string | undefined {
  if (bytes.length > 1 << 20 || bytes[0] !== 0x7b) return undefined;
  const { mediaType } = JSON.parse(bytes.toString()) as { mediaType?: unknown };
  return typeof mediaType === 'string' && /manifest|index/.test(mediaType) ? mediaType : undefined;
}

/** A layer that the zstd program compressed. */
export async function zstdLayer(entries: readonly LayerEntry[]): Promise<BuiltLayer> {
  const tar = await tarOf(entries);
  const bytes = execFileSync('zstd', ['-q', '-c', '-3'], { input: tar, maxBuffer: 1 << 28 });
  return {
    bytes,
    diffId: digestOf(tar),
    descriptor: { mediaType: MEDIA_TYPE.ociLayerZstd, digest: digestOf(bytes), size: bytes.length },
  };
}

/**
 * What of a store is no part of an image: partial downloads, half-made layers, temporary files, trash, containers. Waits a
 * moment, because a monitor clears a container away after the command has ended.
 */
export async function leftovers(root: string): Promise<string[]> {
  const deadline = Date.now() + 2000;
  for (;;) {
    const left = leftoversNow(root);
    if (left.length === 0 || Date.now() > deadline) return left;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function leftoversNow(root: string): string[] {
  const names = (directory: string, wanted: (name: string) => boolean): string[] =>
    listing(join(root, directory))
      .filter(wanted)
      .map((name) => join(directory, name));
  return [
    ...names('ingest', () => true),
    ...names('trash', () => true),
    ...names('layers', (name) => name.startsWith('tmp-')),
    ...names('blobs/sha256', (name) => name.endsWith('.tmp')),
    ...names('.', (name) => name.endsWith('.tmp')),
    ...names('containers', () => true),
    ...names('names', () => true),
  ];
}

function listing(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

/**
 * What a command that failed must look like: its exit code, nothing but its beginning on stdout, one line that says why,
 * at most one line of advice, and for `run` Docker's pointer to the help.
 * @returns the line
 */
export function failureLine(outcome: Outcome, code: 1 | 125): string {
  const [line = '', ...more] = outcome.stderr.replace(/\n$/, '').split('\n');
  const rest = more.join('\n').replace(/\n?\nRun 'tinyrun [a-z]+ --help' for more information$/, '');
  const isClean = outcome.code === code && /^tinyrun: \S/.test(line) && !rest.includes('\n');
  const isPlain = !/[^\x20-\x7e\n…–“”’]|\bat .*\.(ts|cjs):\d|undefined|\[object/.test(outcome.stderr);
  if (!isClean || !isPlain || line.length > 1020) throw new Error(`not one clear line: ${show(outcome)}`);
  return line.slice('tinyrun: '.length);
}

/** A document of the store. */
export function readBlob<T>(root: string, digest: string): T {
  return JSON.parse(readFileSync(join(root, 'blobs/sha256', digest.replace('sha256:', '')), 'utf8')) as T;
}

/** The files of an image that a store has, as a container sees them: see describeTree(). */
export async function treeOfImage(box: Sandbox, name: string): Promise<Map<string, string>> {
  const id = (await box.ok(['images', '-q', '--no-trunc', name])).split('\n')[0] ?? '';
  const { rootfs } = readBlob<ImageConfig>(box.root, id);
  const layers = rootfs.diff_ids.map((diffId) => join(box.root, 'layers', hexOf(diffId), 'fs')).reverse();
  return treeOfLayers(box.directory, layers);
}

/** @param layers directories, the top one first */
async function treeOfLayers(directory: string, layers: readonly string[]): Promise<Map<string, string>> {
  // Overlay wants two at the least.
  const empty = mkdtempSync(join(directory, 'empty-'));
  const at = mkdtempSync(join(directory, 'tree-'));
  execFileSync('mount', ['-t', 'overlay', '-o', `ro,lowerdir=${[...layers, empty].join(':')}`, 'tree', at]);
  try {
    return await describeTree(at);
  } finally {
    execFileSync('umount', [at]);
    rmSync(at, { recursive: true });
    rmSync(empty, { recursive: true });
  }
}

/** The store on a file system of its own, of a size that can be changed. */
export function mountSmallStore(
  directory: string,
  megabytes: number,
): { grow(megabytes: number): void; unmount(): void } {
  mkdirSync(directory, { recursive: true });
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m,mode=700`, 'tinyrun-test', directory]);
  return {
    grow: (size) => execFileSync('mount', ['-o', `remount,size=${size}m`, directory]),
    unmount: () => execFileSync('umount', [directory]),
  };
}
