import { posix } from 'node:path';
import { TinyrunError } from '../errors.ts';
import { cacheDirectory, type HeldDirectory } from './cache-mounts.ts';
import { copyFiles } from './copy-files.ts';
import { planCopy } from './copy-plan.ts';
import type { FileSource } from './copy-source.ts';
import type { RunMount } from './dockerfile/ast.ts';
import type { Draft } from './image-config.ts';
import type { RunMountSource, SolveInput } from './step-host.ts';

/** What decides the cache key of a RUN with mounts, and how to get at what is mounted when it does run. */
export interface PlannedMounts {
  /** Plain values; no secret is among them. */
  readonly key: readonly unknown[];
  /**
   * @param scratch a directory for copies, which goes with the step
   * @returns the mounts; `env` has the secrets that are asked for as variables
   */
  open(scratch: string): Promise<OpenMounts>;
}

export interface OpenMounts {
  readonly sources: readonly RunMountSource[];
  readonly env: readonly string[];
  close(): void;
}

export interface MountsInput {
  readonly input: SolveInput;
  readonly draft: Draft;
  readonly mounts: readonly RunMount[];
  /** Of `from=`; undefined: the build context. */
  readonly sourceOf: (from: string | undefined) => Promise<FileSource>;
}

/** @throws TinyrunError `not_found` for a source that is not there, `invalid` */
export async function planMounts(planned: MountsInput): Promise<PlannedMounts> {
  const { mounts, draft } = planned;
  const key = await Promise.all(mounts.map((mount) => keyOf(planned, mount)));
  return {
    key,
    open: async (scratch) => {
      const sources: RunMountSource[] = [];
      const env: string[] = [];
      const held: HeldDirectory[] = [];
      const close = (): void => held.forEach((directory) => void directory.release());
      try {
        for (const [index, mount] of mounts.entries()) {
          const own = posix.join(scratch, `mount-${index}`);
          const opened = await openMount(planned, mount, {
            index,
            scratch: own,
            target: targetOf(draft, mount, index),
          });
          if (opened.held !== undefined) held.push(opened.held);
          if (opened.source !== undefined) sources.push(opened.source);
          if (opened.env !== undefined) env.push(opened.env);
        }
      } catch (error) {
        close();
        throw error;
      }
      return { sources, env, close };
    },
  };
}

function targetOf({ config }: Draft, mount: RunMount, index: number): string {
  const secret = mount.type === 'secret' ? `/run/secrets/${mount.id.split('/').at(-1)}` : '';
  const target = mount.target ?? (mount.type === 'ssh' ? `/run/buildkit/ssh_agent.${index}` : secret);
  const path = posix.resolve('/', config.WorkingDir ?? '/', target);
  if (path === '/')
    throw new TinyrunError('invalid', `invalid mount target ${JSON.stringify(target)}: it is the root`);
  return path;
}

async function keyOf(planned: MountsInput, mount: RunMount): Promise<unknown> {
  if (mount.type !== 'bind') return mount;
  const source = await planned.sourceOf(mount.from);
  return { ...mount, digest: await source.digest([mount.source ?? '/']) };
}

interface Opened {
  readonly source?: RunMountSource;
  readonly env?: string;
  readonly held?: HeldDirectory;
}

interface Place {
  readonly index: number;
  readonly scratch: string;
  readonly target: string;
}

async function openMount(planned: MountsInput, mount: RunMount, place: Place): Promise<Opened> {
  const { target } = place;
  switch (mount.type) {
    case 'bind':
      return { source: await bindSource(planned, mount, place) };
    case 'tmpfs': {
      const { readOnly, size } = mount;
      return { source: { type: 'tmpfs', target, readOnly, ...(size === undefined ? {} : { size }) } };
    }
    case 'cache':
      return cacheSource(planned, mount, target);
    case 'secret':
      return secretSource(planned, mount, target);
    case 'ssh':
      return sshSource(planned, mount, target);
  }
}

/**
 * Of a context a copy is mounted: it has what .dockerignore leaves and nothing else of the directory, and what the program writes
 * to it reaches nobody.
 */
async function bindSource(
  planned: MountsInput,
  mount: Extract<RunMount, { type: 'bind' }>,
  { scratch, target }: Place,
): Promise<RunMountSource> {
  const source = await planned.sourceOf(mount.from);
  const path = mount.source ?? '/';
  if (source.keepsOwner) {
    return { type: 'files', directories: source.directories, path, target, readOnly: mount.readOnly };
  }
  const { mkdirSync } = await import('node:fs');
  mkdirSync(scratch, { recursive: true, mode: 0o755 });
  const selections = await source.select([path]);
  const isDirectory = selections[0]?.matches[0]?.entry.type === 'directory';
  const records = planCopy({
    selections,
    contents: [],
    destination: isDirectory ? '/' : '/file',
    owner: { uid: 0, gid: 0 },
    parents: false,
    now: planned.input.now(),
  });
  await copyFiles({
    upper: scratch,
    lower: [],
    source: source.directories,
    records,
    signal: planned.input.signal,
  });
  const below = isDirectory ? '/' : '/file';
  return { type: 'files', directories: [scratch], path: below, target, readOnly: mount.readOnly };
}

async function cacheSource(
  planned: MountsInput,
  mount: Extract<RunMount, { type: 'cache' }>,
  target: string,
): Promise<Opened> {
  const { paths } = planned.input.host;
  const { from, source, sharing, readOnly, mode, uid, gid } = mount;
  const held = await cacheDirectory(paths, {
    id: mount.id ?? target,
    sharing,
    owner: { mode: mode ?? 0o755, uid: uid ?? 0, gid: gid ?? 0 },
    signal: planned.input.signal,
    ...(from === undefined ? {} : { origin: from }),
    fill: async (directory) => {
      if (from === undefined) return;
      const files = await planned.sourceOf(from);
      const selections = await files.select([source ?? '/']);
      const records = planCopy({
        selections,
        contents: [],
        destination: '/',
        parents: false,
        now: planned.input.now(),
      });
      await copyFiles({
        upper: directory,
        lower: [],
        source: files.directories,
        records,
        signal: planned.input.signal,
      });
    },
  });
  const below = from === undefined ? (source ?? '/') : '/';
  return { held, source: { type: 'directory', path: held.path, below, target, readOnly } };
}

async function secretSource(
  { input }: MountsInput,
  mount: Extract<RunMount, { type: 'secret' }>,
  target: string,
): Promise<Opened> {
  const secret = input.secrets.get(mount.id);
  if (secret === undefined) {
    if (!mount.required) return {};
    throw new TinyrunError('not_found', `secret ${mount.id}: not found`, {
      hint: `Give it with --secret id=${mount.id},src=FILE or --secret id=${mount.id},env=NAME`,
    });
  }
  const data = await secret.read();
  const env = mount.env === undefined ? {} : { env: `${mount.env}=${Buffer.from(data).toString('utf8')}` };
  // With a variable alone there is no file.
  if (mount.env !== undefined && mount.target === undefined) return env;
  const { uid = 0, gid = 0, mode = 0o400 } = mount;
  return { ...env, source: { type: 'secret', data, target, uid, gid, mode } };
}

function sshSource(
  { input }: MountsInput,
  mount: Extract<RunMount, { type: 'ssh' }>,
  target: string,
): Opened {
  const socket = input.ssh.get(mount.id);
  if (socket === undefined) {
    if (!mount.required) return {};
    throw new TinyrunError('not_found', `unset ssh forward key ${mount.id}`, {
      hint: 'Start an agent (ssh-agent, ssh-add) and build with --ssh default',
    });
  }
  const { uid = 0, gid = 0, mode = 0o600 } = mount;
  return { env: `SSH_AUTH_SOCK=${target}`, source: { type: 'ssh', socket, target, uid, gid, mode } };
}
