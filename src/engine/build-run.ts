import { chmodSync, chownSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { RunOutcome, RunRequest } from '../build/step-host.ts';
import { makePrivateDirectory } from '../disk/atomic.ts';
import { buildRunPaths } from '../disk/paths.ts';
import { TinyrunError } from '../errors.ts';
import type { StoredImage } from '../image/stored-image.ts';
import type { Session } from '../native/launch.ts';
import type { Op } from '../native/plan.ts';
import { parseDigest } from '../oci/digest.ts';
import { MEDIA_TYPE } from '../oci/image-spec.ts';
import { StartError } from '../runtime/start-error.ts';
import { timestamp } from './clock.ts';
import { completeOptions } from './container-options.ts';
import type { ContainerRecord } from './containers.ts';
import type { Core } from './core.ts';
import { newId } from './ids.ts';
import type { CreateOptions, Limits, MountRequest, NetworkRequest } from './options.ts';
import { startBuildStep } from './start.ts';

/** What every RUN of a build gets. */
export interface BuildRunSettings {
  readonly limits: Limits;
  readonly extraHosts: readonly string[];
  readonly shmSize?: number;
  readonly ulimits: CreateOptions['ulimits'];
  readonly cgroupParent?: string;
}

/** The host name that BuildKit gives: the same in every build, for the sake of the cache. */
const HOSTNAME = 'buildkitsandbox';

/**
 * A RUN, by the launch path of every container: its root is an overlay of the layers so far and the directory of its
 * own layer, in which nothing of ours is left. It ends with this command, however that ends.
 */
export async function runBuildStep(
  core: Core,
  request: RunRequest,
  settings: BuildRunSettings,
): Promise<RunOutcome> {
  const id = newId();
  const { scratch, signal } = request;
  const paths = buildRunPaths(core.paths, request.upper, scratch);
  const stepCore: Core = { ...core, paths };
  mkdirSync(scratch, { recursive: true, mode: 0o700 });
  mkdirSync(paths.work(id), { mode: 0o700 });
  mkdirSync(paths.rootfs(id), { mode: 0o710 });
  const closers: (() => void)[] = [];
  try {
    const files = await openMountFiles(core, id, request, closers);
    const options = optionsOf(request, settings, files.mounts);
    const store = await core.store();
    const image = imageOf(request);
    const stubs = makeStubs(scratch, [...request.mounts.map(({ target }) => target)], files.fileTargets);
    const layers = request.draft.layers.length === 0 ? [] : store.lowerDirs(image);
    const started = await startBuildStep(stepCore, recordOf(id, image, options), {
      stdio: 'attach',
      image,
      step: { lower: [...layers, stubs], mounts: files.ops },
    });
    return await outcomeOf(stepCore, id, started.session, request);
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof StartError)) throw error;
    // What the shell of a person would say on the spot.
    request.onOutput('stderr', Buffer.from(`${error.message}\n`));
    return { exitCode: error.exitCode, oomKilled: false };
  } finally {
    for (const close of closers.reverse()) close();
  }
}

async function outcomeOf(core: Core, id: string, session: Session, request: RunRequest): Promise<RunOutcome> {
  const { signal } = request;
  const stop = (): void => session.close();
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  try {
    session.onOutput(request.onOutput);
    const { exitCode, oomKilled } = await session.exited;
    // Its root is unmounted then, and what it wrote is all there.
    await session.closed;
    return { exitCode, oomKilled };
  } catch (error) {
    if (!signal.aborted) throw error;
    const { waitForMonitor } = await import('./stop.ts');
    await waitForMonitor(core, id);
    throw signal.reason;
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

function optionsOf(
  request: RunRequest,
  settings: BuildRunSettings,
  mounts: readonly MountRequest[],
): CreateOptions {
  const { limits, extraHosts, shmSize, ulimits } = settings;
  return completeOptions({
    image: 'build',
    entrypoint: [],
    command: request.args,
    env: request.env,
    hostname: HOSTNAME,
    mounts,
    privileged: request.insecure,
    network: networkOf(request, extraHosts),
    limits,
    ulimits,
    ...(shmSize === undefined ? {} : { shmSize }),
    logDriver: 'none',
  });
}

function networkOf({ network }: RunRequest, extraHosts: readonly string[]): NetworkRequest {
  const mode: NetworkRequest['mode'] =
    network === 'default' ? { type: 'bridge', network: 'bridge' } : { type: network };
  return {
    mode,
    publish: [],
    publishAll: false,
    expose: [],
    dns: [],
    dnsSearch: [],
    dnsOptions: [],
    extraHosts,
  };
}

const NO_DIGEST = parseDigest(`sha256:${'0'.repeat(64)}`);

/** What the stage has come to, as the image that the RUN is a container of. It has no place in the store. */
function imageOf({ draft }: RunRequest): StoredImage {
  const { Volumes: _, ExposedPorts: __, ...config } = draft.config;
  const empty = { mediaType: MEDIA_TYPE.ociConfig, digest: NO_DIGEST, size: 0 };
  return {
    id: NO_DIGEST,
    references: [],
    repoDigests: [],
    manifestDigest: NO_DIGEST,
    targetDigest: NO_DIGEST,
    config: {
      architecture: draft.platform.architecture,
      os: draft.platform.os,
      config,
      rootfs: { type: 'layers', diff_ids: draft.layers.map(({ diffId }) => diffId) },
      history: [],
    },
    manifest: { mediaType: MEDIA_TYPE.ociManifest, config: empty, layers: [] },
    size: 0,
  };
}

function recordOf(id: string, image: StoredImage, options: CreateOptions): ContainerRecord {
  const { os, architecture, config } = image.config;
  return {
    version: 1,
    id,
    name: `build-${id.slice(0, 12)}`,
    created: timestamp(),
    image: { id: NO_DIGEST, manifestDigest: NO_DIGEST, platform: { os, architecture }, config },
    args: options.command,
    options,
  };
}

/** What every container has mounted: directories, and files. */
const PLACES: readonly string[] = ['/proc', '/sys', '/dev'];
const FILES: readonly string[] = ['/etc/hosts', '/etc/hostname', '/etc/resolv.conf'];

/**
 * A lowest layer that has the places of the mounts: an image without them would get them made in the layer of the RUN. So nothing
 * has to be taken out of that afterwards, by paths that the RUN may have turned into links (CVE-2024-23652).
 */
function makeStubs(scratch: string, targets: readonly string[], fileTargets: ReadonlySet<string>): string {
  const stubs = join(scratch, 'stubs');
  mkdirSync(stubs, { mode: 0o755 });
  chmodSync(stubs, 0o755);
  for (const target of [...PLACES, ...targets]) {
    if (!fileTargets.has(target)) mkdirSync(join(stubs, target), { recursive: true, mode: 0o755 });
  }
  for (const target of [...FILES, ...fileTargets]) {
    const path = join(stubs, target);
    mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
    writeFileSync(path, '', { flag: 'a', mode: 0o644 });
  }
  return stubs;
}

interface MountFiles {
  readonly mounts: readonly MountRequest[];
  readonly ops: readonly Op[];
  /** Those targets that are files. */
  readonly fileTargets: ReadonlySet<string>;
}

async function openMountFiles(
  core: Core,
  id: string,
  { mounts: sources, scratch }: Pick<RunRequest, 'mounts' | 'scratch'>,
  closers: (() => void)[],
): Promise<MountFiles> {
  const mounts: MountRequest[] = [];
  const ops: Op[] = [];
  const fileTargets = new Set<string>();
  for (const [index, source] of sources.entries()) {
    switch (source.type) {
      case 'tmpfs': {
        const size = source.size === undefined ? [] : [`size=${source.size}`];
        mounts.push({
          type: 'tmpfs',
          target: source.target,
          options: [...size, 'mode=1777', 'exec', ...(source.readOnly ? ['ro'] : [])],
        });
        break;
      }
      case 'secret': {
        const path = secretFile(core, id, `${index}`, closers);
        writeFileSync(path, source.data, { mode: 0o600, flag: 'wx' });
        chownSync(path, source.uid, source.gid);
        chmodSync(path, source.mode);
        fileTargets.add(source.target);
        mounts.push(bindOf(path, source.target, true));
        break;
      }
      case 'ssh': {
        const path = secretFile(core, id, `${index}.sock`, closers);
        const { forwardSocket } = await import('./build-ssh.ts');
        closers.push(await forwardSocket(source.socket, path));
        chownSync(path, source.uid, source.gid);
        chmodSync(path, source.mode);
        fileTargets.add(source.target);
        mounts.push(bindOf(path, source.target, false));
        break;
      }
      case 'files': {
        const below = join(scratch, `below-${index}`);
        if (await isFile(source.directories, source.path)) fileTargets.add(source.target);
        ops.push(bindBelow(source, below));
        break;
      }
      case 'directory': {
        const { path, below, target, readOnly } = source;
        const stage = join(scratch, `below-${index}`);
        ops.push(bindBelow({ directories: [path], path: below, target, readOnly: true }, stage, readOnly));
        break;
      }
    }
  }
  return { mounts, ops, fileTargets };
}

interface FilesMount {
  readonly directories: readonly string[];
  readonly path: string;
  readonly target: string;
  readonly readOnly: boolean;
}

/** What may be written to gets an upper directory, which goes with the step: no write reaches an image or a context. */
function bindBelow(
  { directories, path, target, readOnly }: FilesMount,
  below: string,
  isReadOnly = readOnly,
): Op {
  mkdirSync(below, { mode: 0o700 });
  const [stage, upper, work] = ['stage', 'upper', 'work'].map((name) => join(below, name));
  for (const each of [stage, upper, work]) if (each !== undefined) mkdirSync(each, { mode: 0o755 });
  return {
    op: 'bindBelow',
    what: `mount "${path}" of the source on "${target}"`,
    layers: directories,
    ...(readOnly || upper === undefined || work === undefined ? {} : { upper, work }),
    stage: stage ?? below,
    path,
    target,
    flags: isReadOnly ? ['ro'] : [],
  };
}

async function isFile(directories: readonly string[], path: string): Promise<boolean> {
  const { listFiles } = await import('../build/copy-files.ts');
  const [[entry] = []] = await listFiles({
    source: directories,
    paths: [path],
    withDigests: false,
    depth: 0,
  });
  if (entry === undefined)
    throw new TinyrunError('not_found', `failed to mount ${JSON.stringify(path)}: not found`);
  return entry.type === 'file';
}

function bindOf(source: string, target: string, readonly: boolean): MountRequest {
  return { type: 'bind', source, target, readonly, recursive: false, createSource: false, options: [] };
}

/** A path in memory that only this RUN has; gone with it. */
function secretFile(core: Core, id: string, name: string, closers: (() => void)[]): string {
  const directory = core.paths.buildSecret(id);
  makePrivateDirectory(directory);
  closers.push(() => rmSync(directory, { recursive: true, force: true }));
  return join(directory, name);
}
