import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { hostCgroups } from '../cgroups/host.ts';
import { resourcesOf } from '../cgroups/limits.ts';
import { hostMachine } from '../cgroups/machine.ts';
import { planCgroup } from '../cgroups/plan.ts';
import { makePrivateDirectory } from '../disk/atomic.ts';
import type { Paths } from '../disk/paths.ts';
import { TinyrunError } from '../errors.ts';
import { nativeDirectory } from '../native/library.ts';
import type { LaunchPlan, Op } from '../native/plan.ts';
import type { NetworkPlan } from '../network/networks.ts';
import type { Spec } from '../oci/runtime-spec.ts';
import { ownCapabilities } from '../runtime/capabilities.ts';
import { compile } from '../runtime/compile.ts';
import { thermalThrottlePaths } from '../runtime/defaults.ts';
import { hostDevices, resolveDevices } from '../runtime/devices.ts';
import { limitsFromProc } from '../runtime/rlimits.ts';
import { type SeccompFilter, seccompFor } from '../runtime/seccomp/seccomp.ts';
import { cgroupsPathOf } from './cgroup-path.ts';
import type { ContainerRecord } from './containers.ts';
import type { Core } from './core.ts';
import { accountIn } from './image-root.ts';
import { logPlan } from './log-plan.ts';
import { hostnameOf, joinedNamespaces } from './network-plan.ts';
import type { CreateOptions } from './options.ts';
import { checkPropagation } from './propagation.ts';
import { discardOps } from './remove.ts';
import { containerCapabilities, containerSpec } from './spec.ts';
import type { EtcFiles } from './spec-mounts.ts';
import type { StartHow } from './start.ts';
import { type Supervised, supervisionOf } from './supervision.ts';

/** A plan, and what is needed to say why it failed. */
export interface Launchable {
  readonly plan: LaunchPlan;
  /** What the plan was compiled from. */
  readonly spec: Spec;
  /** The container's root for reading, top first. */
  readonly rootDirectories: readonly string[];
}

export interface PlanFrom {
  readonly network: NetworkPlan;
  readonly how: StartHow;
}

/**
 * Record, image, network and machine as config.json and launch plan.
 * @throws TinyrunError for options that this image or this machine cannot satisfy
 */
export async function planLaunch(core: Core, record: ContainerRecord, from: PlanFrom): Promise<Launchable> {
  const { paths } = core;
  const { id } = record;
  const options =
    record.mounts === undefined
      ? record.options
      : (await import('./container-volumes.ts')).mountedOptions(paths, record);
  const store = await core.store();
  const image = from.how.image ?? store.resolve(record.image.id);
  if (image === undefined) {
    throw new TinyrunError(
      'not_found',
      `Cannot start container "${record.name}": its image ${record.image.id} is gone`,
    );
  }
  const lower = from.how.step?.lower ?? store.lowerDirs(image);
  const rootDirectories = [paths.upper(id), ...lower];
  const account = await accountIn(
    { directories: isEmptyUpper(record, from.how) ? lower : rootDirectories },
    options.user ?? image.config.config.User,
    options.groupAdd,
  );
  core.phase('account');
  const host = hostCgroups();
  const { resources, warnings } = resourcesOf(options.limits, host, hostMachine());
  for (const warning of warnings) from.how.onWarning?.(warning);
  const cgroupsPath = cgroupsPathOf(paths, id, options.limits.cgroupParent);
  makeMountSources(options);
  checkPropagation(options);
  const hostCapabilities = ownCapabilities(readFileSync('/proc/self/status', 'utf8'));
  const filter = await filterOf(core, options, hostCapabilities);
  const { devices, rules } = devicesOf(options);
  const joined = sharesNamespaces(options) ? await joinedNamespaces(core, options) : {};
  core.phase('host facts');
  const spec = containerSpec({
    id,
    image: image.config,
    options,
    account,
    resources,
    cgroupsPath,
    rootfs: paths.rootfs(id),
    etc: writeEtcFiles(core, record, from.network),
    networkNamespace: from.network.namespace,
    hostLimits: limitsFromProc(readFileSync('/proc/self/limits', 'utf8')),
    ...(hostCapabilities === undefined ? {} : { hostCapabilities }),
    devices,
    deviceRules: rules,
    ...(filter === undefined ? {} : { seccomp: filter.seccomp }),
    defaultHostname: hostnameOf(core, record),
    extraMaskedPaths: thermalThrottlePaths(possibleCpus(), existsSync),
    ...consoleSizeOf(from.how),
    joined,
  });
  core.phase('spec');
  const discard = options.remove ? await discardOps(paths, record) : { release: [], cleanup: [] };
  const cgroup = planCgroup(host, cgroupsPath, spec.linux.resources ?? {});
  // The step of a build is no container that anybody knows of.
  const supervised: Supervised =
    from.how.step === undefined
      ? await supervisionOf(core, { record, spec, cgroup, seccompProgram: filter?.program })
      : { options: {} };
  const log = await logPlan(paths, record);
  const plan = compile(spec, {
    id,
    paths: { statePath: paths.state(id), attachSocket: paths.attachSocket(id) },
    ...(log === undefined ? {} : { log }),
    overlay: {
      lower,
      upper: paths.upper(id),
      work: paths.work(id),
      options: overlayOptions(options, from.how),
    },
    cgroup,
    network: from.network,
    ...(filter === undefined ? {} : { seccompProgram: filter.program }),
    supervision: supervised.options,
    ...(supervised.probe === undefined ? {} : { probe: supervised.probe }),
    extraMounts: [...sharedMemory(joined.mount), ...(from.how.step?.mounts ?? [])],
    ...(from.how.step === undefined ? {} : { withClient: true }),
    openStdin: options.openStdin,
    stdinOnce: options.openStdin && options.attach.includes('stdin'),
    init: options.init,
    extraPrepare: [],
    extraRelease: [forgetNetwork(paths.networkSettings(id)), ...discard.release],
    extraCleanup: [...portFiles(paths, id), ...discard.cleanup],
  });
  return { plan, spec, rootDirectories };
}

function sharesNamespaces({ pidMode, ipcMode }: CreateOptions): boolean {
  return pidMode.startsWith('container:') || ipcMode.startsWith('container:');
}

/** POSIX shared memory belongs to an IPC namespace as much as System V's, but is a mount. */
function sharedMemory(namespace: string | undefined): Op[] {
  if (namespace === undefined) return [];
  const what = 'mount the other container’s /dev/shm';
  return [{ op: 'bindForeign', namespace, source: '/dev/shm', target: '/dev/shm', what }];
}

/** A container that was made for this start has nothing of its own yet: one mount less to look into the image. */
function isEmptyUpper(_record: ContainerRecord, how: StartHow): boolean {
  return how.image !== undefined;
}

/** What is removed with the container need not reach the disk before that: its unmount would wait for all of the disk. */
function overlayOptions({ remove }: CreateOptions, { step }: StartHow): string[] {
  return remove || step !== undefined ? ['volatile'] : [];
}

function consoleSizeOf({ size }: StartHow): { consoleSize?: { height: number; width: number } } {
  return size === undefined ? {} : { consoleSize: { height: size.rows, width: size.columns } };
}

async function filterOf(
  core: Core,
  options: CreateOptions,
  hostCapabilities: bigint | undefined,
): Promise<SeccompFilter | undefined> {
  return seccompFor({
    capabilities: containerCapabilities(options, hostCapabilities),
    arch: core.arch,
    kernel: readFileSync('/proc/sys/kernel/osrelease', 'utf8').trim(),
    securityOpt: options.securityOpt,
    privileged: options.privileged,
    programPath: core.paths.seccompProgram,
    carried: nativeDirectory(),
  });
}

function devicesOf(options: CreateOptions): ReturnType<typeof resolveDevices> {
  const requested = resolveDevices(options.devices);
  if (!options.privileged) return requested;
  return { devices: [...hostDevices(), ...requested.devices], rules: requested.rules };
}

/** `-v` makes a source that is missing, as a directory; `--mount` refuses it. */
function makeMountSources(options: CreateOptions): void {
  for (const mount of options.mounts) {
    if (mount.type !== 'bind' || existsSync(mount.source)) continue;
    if (!mount.createSource) {
      throw new TinyrunError(
        'invalid',
        `invalid mount config for type "bind": bind source path does not exist: ${mount.source}`,
      );
    }
    makePrivateDirectory(mount.source, 0o755);
  }
}

/** Writes the container's own files of /etc; those of the container whose network is shared are used as they are. */
function writeEtcFiles(core: Core, record: ContainerRecord, network: NetworkPlan): EtcFiles {
  const { paths } = core;
  const owner = network.etcOf ?? record.id;
  const path = (file: 'hosts' | 'hostname' | 'resolv.conf', text: string | undefined): string | undefined => {
    const target = paths.etcFile(owner, file);
    if (network.etcOf !== undefined) return existsSync(target) ? target : undefined;
    if (text === undefined) return undefined;
    writeFileSync(target, text, { mode: 0o644 });
    return target;
  };
  const hosts = path('hosts', network.etc.hosts);
  const hostname = path('hostname', network.etc.hostname);
  const resolvConf = path('resolv.conf', network.etc.resolvConf);
  return {
    ...(hosts === undefined ? {} : { hosts }),
    ...(hostname === undefined ? {} : { hostname }),
    ...(resolvConf === undefined ? {} : { resolvConf }),
  };
}

/** What changes of ports and rates have left in the run directory. */
function portFiles(paths: Paths, id: string): Op[] {
  return [paths.ports(id), paths.portsRelease(id), paths.rates(id), paths.ratesRelease(id)].map((path) => ({
    op: 'unlink',
    path,
    what: 'forget that ports or rates were changed',
    optional: true,
  }));
}

function forgetNetwork(path: string): Op {
  return { op: 'unlink', path, what: 'forget the addresses of the container', optional: true };
}

function possibleCpus(): string {
  try {
    return readFileSync('/sys/devices/system/cpu/possible', 'utf8');
  } catch {
    return '0';
  }
}
