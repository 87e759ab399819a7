import { mkdirSync, mkdtempSync, readdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { errorCode } from '../errors.ts';
import { copyTree } from '../image/copy-tree.ts';
import type { StoredImage } from '../image/stored-image.ts';
import { packProgram, unpackProgram } from '../native/library.ts';
import { closeFd, openRoot, removeTree, statInRoot } from '../native/syscalls.ts';
import { findVolume } from '../volumes/volumes.ts';
import type { Core } from './core.ts';

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
  const { paths } = core;
  const data = paths.volumeData(name);
  const options = findVolume(paths, name)?.options ?? {};
  if (Object.keys(options).length > 0 || readdirSync(data).length > 0) return;
  const lower = (await core.store()).lowerDirs(image);
  const root = openRoot(lower);
  const temporary = mkdtempSync(join(paths.volume(name), '.fill-'));
  try {
    if (!isDirectory(root, target)) return;
    const content = join(temporary, 'data');
    mkdirSync(content, { mode: 0o755 });
    await copyTree({
      packer: packProgram(),
      unpacker: unpackProgram(),
      // One layer is no mount.
      root: lower.length === 1 ? { directory: lower[0] ?? '' } : { mountFd: root },
      path: target,
      target: content,
      what: `the volume "${name}"`,
    });
    renameSync(content, data);
  } catch (error) {
    // Another container filled it meanwhile: its content is as good as ours.
    if (!['ENOTEMPTY', 'EEXIST'].includes(errorCode(error) ?? '')) throw error;
  } finally {
    closeFd(root);
    removeTree(temporary);
  }
}

function isDirectory(root: number, path: string): boolean {
  try {
    return statInRoot(root, path).type === 'directory';
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ELOOP', 'EACCES'].includes(errorCode(error) ?? '')) return false;
    throw error;
  }
}
