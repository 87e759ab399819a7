import { closeSync, openSync } from 'node:fs';
import { readJson } from '../disk/atomic.ts';
import { errorCode, TinyrunError } from '../errors.ts';
import type { Mount, Spec } from '../oci/runtime-spec.ts';
import { mountedOptions } from './container-volumes.ts';
import type { Container } from './containers.ts';
import type { Core } from './core.ts';
import { holdProcess } from './live-process.ts';
import { specMounts } from './spec-mounts.ts';

/**
 * A container's files for the native programs, which make them the root of their sandbox: nothing in this process ever
 * resolves a path in there (CVE-2018-15664).
 */
export interface ContainerFiles {
  /**
   * For one run of a program, which uses the descriptor up.
   * @param access `write` mounts the container's own layer for writing, where it does not run; `alone` is to read without
   * what is mounted in the container
   */
  open(access: 'read' | 'write' | 'alone'): OpenFiles;
  close(): void;
}

export interface OpenFiles {
  readonly fd: number;
  /** Options of tinyrun-pack and tinyrun-unpack. @param number which descriptor of theirs `fd` is */
  options(number: number): readonly string[];
  close(): void;
}

/**
 * Of a container that runs: its mount namespace, held by a descriptor, with all that is mounted there. Of one that does not:
 * its layers, mounted where nobody else sees it, with its binds and volumes.
 * @throws TinyrunError `not_found` where its image is gone
 */
export async function openContainerFiles(core: Core, container: Container): Promise<ContainerFiles> {
  const { state, status } = container;
  const isAlive = status === 'running' || status === 'paused' || status === 'restarting';
  const fd = isAlive && state !== undefined ? openNamespace(state) : undefined;
  if (fd === undefined) return await openLayers(core, container);
  const open = (access: string): OpenFiles => {
    const more = access === 'alone' ? ['--alone', '1'] : [];
    return { fd, options: (number) => ['--namespace', String(number), ...more], close: () => {} };
  };
  return { open, close: () => closeSync(fd) };
}

/** Undefined where the process has ended. */
function openNamespace({ pid, startTime }: { pid: number; startTime: number }): number | undefined {
  const process = holdProcess(pid, startTime);
  if (process === undefined) return undefined;
  try {
    return openSync(`${process.directory}/ns/mnt`, 'r');
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes(errorCode(error) ?? '')) return undefined;
    throw error;
  } finally {
    process.close();
  }
}

async function openLayers(core: Core, container: Container): Promise<ContainerFiles> {
  const { paths } = core;
  const { id, record, name } = container;
  const store = await core.store();
  const image = store.resolve(record.image.id);
  if (image === undefined) {
    throw new TinyrunError('not_found', `Cannot read the files of container "${name}": its image is gone`);
  }
  const { closeFd, openOverlay, openRoot } = await import('../native/syscalls.ts');
  const lower = store.lowerDirs(image);
  const upper = paths.upper(id);
  const binds = mountsOf(core, container).flatMap(bindOptions);
  return {
    open: (access) => {
      const fd = access === 'read' ? openRoot([upper, ...lower]) : openOverlay(lower, upper, paths.work(id));
      return { fd, options: (number) => ['--mount', String(number), ...binds], close: () => closeFd(fd) };
    },
    close: () => {},
  };
}

/** Where something is mounted in the container when it runs; its last start's, or what the next will mount. */
export function mountsOf(core: Core, { id, record }: Container): readonly Mount[] {
  const spec = readJson(core.paths.config(id), (value) => value as Spec);
  return spec?.mounts ?? specMounts(mountedOptions(core.paths, record), {});
}

function bindOptions({ type, source, destination, options = [] }: Mount): string[] {
  const isBind = type === 'bind' || options.includes('bind') || options.includes('rbind');
  if (!isBind || source === undefined || !source.startsWith('/')) return [];
  const readonly = options.includes('ro') || options.includes('rro');
  const bind = ['--bind-source', source, '--bind-target', destination];
  return readonly ? [...bind, '--bind-readonly', '1'] : bind;
}
