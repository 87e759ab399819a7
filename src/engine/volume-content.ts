import { mkdirSync, mkdtempSync, readdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { withLock } from '../disk/lock.ts';
import { errorCode, TinyrunError } from '../errors.ts';
import type { StoredImage } from '../image/stored-image.ts';
import { unpackArchive } from '../image/unpack-archive.ts';
import { unpackProgram } from '../native/library.ts';
import { closeFd, openRoot, removeTree, statInRoot } from '../native/syscalls.ts';
import { findVolume } from '../volumes/volumes.ts';
import type { Core } from './core.ts';
import { packStream } from './pack-stream.ts';

/**
 * Fills an empty volume with what the image has where it will be mounted, with the directory's own owner and mode, as
 * Docker does. It is copied beside the volume and appears by a rename: another container sees all of it or nothing.
 * @see https://docs.docker.com/engine/storage/volumes/#populate-a-volume-using-a-container
 */
export async function fillVolume(
  core: Core,
  { name, target }: { readonly name: string; readonly target: string },
  image: StoredImage,
): Promise<void> {
  if (!isOwnAndEmpty(core, name)) return;
  const lower = (await core.store()).lowerDirs(image);
  const root = openRoot(lower);
  try {
    if (!isDirectory(root, target)) return;
    // One layer is no mount.
    const from = lower.length === 1 ? ['--tree', lower[0] ?? ''] : ['--mount', '4'];
    const tar = packStream({
      args: [...from, '--path', target, '--follow', '1', '--name', '.'],
      fds: lower.length === 1 ? [] : [root],
      what: `Cannot copy "${target}" of the image into the volume "${name}"`,
      close: () => {},
    });
    await fill(core, name, tar);
  } catch (error) {
    // Another container filled it meanwhile: its content is as good as ours.
    if (!isTaken(error)) throw error;
  } finally {
    closeFd(root);
  }
}

/**
 * The content of a volume as a tar, packed in a sandbox: no link in it leads out of it (CVE-2023-0778).
 * @throws TinyrunError `not_found`
 */
export function exportVolume(core: Core, name: string): AsyncIterable<Uint8Array> {
  checkOwn(core, name);
  const args = ['--tree', core.paths.volumeData(name), '--path', '.', '--name', '.'];
  return packStream({ args, fds: [], what: `Cannot export the volume "${name}"`, close: () => {} });
}

/**
 * Fills an empty volume from a tar, plain or compressed with gzip or zstd.
 * @throws TinyrunError `not_found`; `conflict` where it has content or a container has it; `invalid` for what is no tar
 */
export async function importVolume(core: Core, name: string, tar: AsyncIterable<Uint8Array>): Promise<void> {
  const { volume } = await import('./volumes.ts');
  await withLock(core.paths.volumesLock, 'exclusive', async () => {
    checkOwn(core, name);
    const { users } = await volume(core, name);
    if (users.length > 0) {
      throw new TinyrunError('conflict', `import ${name}: volume is in use - [${users.join(', ')}]`);
    }
    try {
      await fill(core, name, tar);
    } catch (cause) {
      if (!isTaken(cause)) throw cause;
      throw new TinyrunError('conflict', `import ${name}: the volume is not empty`, {
        cause,
        hint: 'Import into a new one, or remove it first',
      });
    }
  });
}

async function fill(core: Core, name: string, tar: AsyncIterable<Uint8Array>): Promise<void> {
  const temporary = mkdtempSync(join(core.paths.volume(name), '.fill-'));
  try {
    const directory = join(temporary, 'data');
    mkdirSync(directory, { mode: 0o755 });
    const what = `the content of the volume "${name}"`;
    await unpackArchive({ unpacker: unpackProgram(), directory, body: tar, maxBytes: MAX_BYTES, what });
    renameSync(directory, core.paths.volumeData(name));
  } finally {
    removeTree(temporary);
  }
}

/** As much as a disk may hold: what is unpacked is the user's own. */
const MAX_BYTES = 2 ** 50;

function isTaken(error: unknown): boolean {
  return ['ENOTEMPTY', 'EEXIST'].includes(errorCode(error) ?? '');
}

function isOwnAndEmpty(core: Core, name: string): boolean {
  const options = findVolume(core.paths, name)?.options ?? {};
  return Object.keys(options).length === 0 && readdirSync(core.paths.volumeData(name)).length === 0;
}

function checkOwn(core: Core, name: string): void {
  const volume = findVolume(core.paths, name);
  if (volume === undefined) throw new TinyrunError('not_found', `get ${name}: no such volume`);
  if (Object.keys(volume.options).length === 0) return;
  throw new TinyrunError('unsupported', `volume ${name} is a mount of something else: its content is there`);
}

function isDirectory(root: number, path: string): boolean {
  try {
    return statInRoot(root, path).type === 'directory';
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ELOOP', 'EACCES'].includes(errorCode(error) ?? '')) return false;
    throw error;
  }
}
