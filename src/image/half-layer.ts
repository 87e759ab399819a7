import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  constants,
  fstatSync,
  mkdirSync,
  openSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { makePrivateDirectory } from '../disk/atomic.ts';
import type { Paths } from '../disk/paths.ts';
import { errorCode } from '../errors.ts';
import { flock, removeTree, spreadDirectories } from '../native/syscalls.ts';
import type { Digest } from '../oci/digest.ts';
import { type LayerRecord, writeLayerRecord } from './layer-record.ts';

/** A layer while it is unpacked: `layers/tmp-<random>/`, seen by nobody until it is renamed whole. */
export interface HalfLayer {
  /** Where the unpacker writes. */
  readonly fs: string;
  /**
   * Gives the layer its name. Where another command was faster, that one's stays: the content is the same.
   * @param name its diffID, or its chain ID where it depends on the layers below
   */
  finish(name: Digest, record: LayerRecord): void;
  /** Deletes what is left of it; nothing after finish(). */
  dispose(): void;
}

/** A new empty layer directory, locked so that repairStore() of another command leaves it alone. */
export function beginLayer(paths: Paths): HalfLayer {
  makePrivateDirectory(paths.layers);
  spreadDirectories(paths.layers);
  const { directory, lock } = lockedDirectory(paths);
  const fs = join(directory, 'fs');
  mkdirSync(fs);
  // The root of a layer that has no entry for it; mkdir's mode is cut by the umask.
  chmodSync(fs, 0o755);
  let isThere = true;
  return {
    fs,
    finish: (name, record) => {
      writeLayerRecord(join(directory, 'layer.json'), record);
      if (record.opaqueRoot) writeFileSync(join(directory, 'opaque'), '');
      try {
        renameSync(directory, paths.layer(name));
        isThere = false;
      } catch (error) {
        if (!['EEXIST', 'ENOTEMPTY'].includes(errorCode(error) ?? '')) throw error;
      }
    },
    dispose: () => {
      try {
        if (isThere) removeTree(directory);
      } catch {
        // What made the layer fail is the error to report; the next repair deletes the rest.
      }
      closeSync(lock);
    },
  };
}

function lockedDirectory(paths: Paths): { directory: string; lock: number } {
  for (;;) {
    const directory = paths.temporaryLayer(randomBytes(8).toString('hex'));
    mkdirSync(directory, { mode: 0o700 });
    try {
      const lock = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
      if (flock(lock, 'exclusive', false) && fstatSync(lock).nlink > 0) return { directory, lock };
      closeSync(lock);
    } catch (error) {
      // A repair that looked between mkdir and the lock took it for a dead command's and deleted it.
      if (errorCode(error) !== 'ENOENT') throw error;
    }
  }
}
