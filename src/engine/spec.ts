import { TinyrunError } from '../errors.ts';
import type { ImageConfig } from '../oci/image-spec.ts';
import type { Device, DeviceRule, Linux, Resources, Rlimit, Seccomp, Spec } from '../oci/runtime-spec.ts';
import type { Account } from '../runtime/account.ts';
import { capabilitiesOf } from '../runtime/capabilities.ts';
import { DEFAULT_NETWORK_SYSCTLS, MASKED_PATHS, READONLY_PATHS } from '../runtime/defaults.ts';
import { ALL_DEVICE_RULES, DEFAULT_DEVICE_RULES, parseDeviceRule } from '../runtime/devices.ts';
import { rlimitsOf } from '../runtime/rlimits.ts';
import { checkSysctl, type SysctlScope } from '../runtime/sysctl.ts';
import type { CreateOptions } from './options.ts';
import { rootPropagationOf } from './propagation.ts';
import { type EtcFiles, specMounts } from './spec-mounts.ts';
import { argumentsOf, environmentOf, workingDirectoryOf } from './spec-process.ts';

/** All that decides what a container is. Nothing is read from the machine here: what is needed of it is in `host…`. */
export interface SpecInput {
  /** 64 hex digits. */
  readonly id: string;
  readonly image: ImageConfig;
  readonly options: CreateOptions;
  readonly account: Account;
  /** From `resourcesOf()`; its device rules are added here. */
  readonly resources: Resources;
  readonly cgroupsPath: string;
  /** Absolute host path the root is mounted on. */
  readonly rootfs: string;
  /** Host paths of the files to bind over the image's. */
  readonly etc: EtcFiles;
  readonly networkNamespace:
    | { readonly type: 'new' }
    | { readonly type: 'host' }
    | { readonly type: 'path'; readonly path: string };
  /** Files of the namespaces that `--pid container:X` and `--ipc container:X` mean. */
  readonly joined?: { readonly pid?: string; readonly ipc?: string };
  /** From `limitsFromProc()`; empty: not known, nothing is checked. */
  readonly hostLimits: readonly Rlimit[];
  /** What we have ourselves, from `ownCapabilities()`; undefined: everything. */
  readonly hostCapabilities?: bigint;
  /** `resolveDevices()` of `--device`, after `hostDevices()` with `--privileged`. */
  readonly devices: readonly Device[];
  readonly deviceRules?: readonly DeviceRule[];
  /** From `seccompOf()`; undefined: unconfined. */
  readonly seccomp?: Seccomp;
  /** The host name where `--hostname` is not given: of the host or of a container whose network is shared. */
  readonly defaultHostname?: string;
  /** `thermalThrottlePaths()`. */
  readonly extraMaskedPaths?: readonly string[];
  /** Size of the terminal to begin with. */
  readonly consoleSize?: { readonly height: number; readonly width: number };
}

const SYS_RESOURCE = 1n << 24n;

/**
 * Image config and options as an OCI config.json, exactly as Docker would have it.
 * @throws TinyrunError `invalid` (mostly in Docker's words) for options that make no sense
 * @see https://github.com/opencontainers/image-spec/blob/main/conversion.md
 */
export function containerSpec(input: SpecInput): Spec {
  const { options, account, image } = input;
  checkModes(options);
  const hostname = hostnameOf(input);
  const capabilities = containerCapabilities(options, input.hostCapabilities);
  // What execve does to a user without ambient capabilities anyhow; said here so that nothing before it has them (CVE-2018-10856).
  const effective = account.uid === 0 ? capabilities : [];
  const scoreAdjustment = options.limits.oomScoreAdj;
  const rlimits = rlimitsOf(options.ulimits, input.hostLimits, canRaise(input.hostCapabilities));
  return {
    ociVersion: '1.2.0',
    process: {
      terminal: options.tty,
      ...(options.tty && input.consoleSize !== undefined ? { consoleSize: input.consoleSize } : {}),
      user: { uid: account.uid, gid: account.gid, additionalGids: account.groups },
      args: argumentsOf(image.config, options),
      env: environmentOf({
        image: image.config.Env ?? [],
        requested: options.env,
        hostname,
        tty: options.tty,
        home: account.home,
      }),
      cwd: workingDirectoryOf(options.workingDir, image.config.WorkingDir),
      // Inheritable and ambient stay empty: else file capabilities would become permitted ones (CVE-2022-24769).
      capabilities: { bounding: capabilities, effective, permitted: effective, inheritable: [], ambient: [] },
      ...(rlimits.length === 0 ? {} : { rlimits }),
      noNewPrivileges: options.securityOpt.some((option) => option.type === 'no-new-privileges' && option.on),
      ...(scoreAdjustment === undefined ? {} : { oomScoreAdj: scoreAdjustment }),
    },
    root: { path: input.rootfs, readonly: options.readonlyRootfs },
    ...(options.utsMode === 'host' ? {} : { hostname }),
    ...(options.utsMode === 'host' || !options.domainname ? {} : { domainname: options.domainname }),
    mounts: specMounts(options, input.etc),
    linux: linuxOf(input),
    ...(Object.keys(options.annotations).length === 0 ? {} : { annotations: options.annotations }),
  };
}

/** The bounding set: what the seccomp profile, too, depends on. */
export function containerCapabilities(
  options: Pick<CreateOptions, 'capAdd' | 'capDrop' | 'privileged'>,
  available: bigint | undefined,
): string[] {
  return capabilitiesOf({
    add: options.capAdd,
    drop: options.capDrop,
    privileged: options.privileged,
    ...(available === undefined ? {} : { available }),
  });
}

function canRaise(available: bigint | undefined): boolean {
  return available === undefined || (available & SYS_RESOURCE) !== 0n;
}

function checkModes(options: CreateOptions): void {
  if (options.utsMode === 'host' && (options.hostname || options.domainname)) {
    throw new TinyrunError('invalid', 'conflicting options: hostname and the UTS mode');
  }
  if (
    options.hostname !== undefined &&
    !/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(options.hostname) &&
    options.hostname !== ''
  ) {
    throw new TinyrunError('invalid', `invalid hostname format: ${options.hostname}`);
  }
  const score = options.limits.oomScoreAdj;
  if (score !== undefined && (score < -1000 || score > 1000)) {
    throw new TinyrunError('invalid', `Invalid value ${score}, range for oom score adj is [-1000, 1000]`);
  }
  if (options.shmSize !== undefined && options.shmSize < 0) {
    throw new TinyrunError('invalid', 'SHM size can not be less than 0');
  }
}

function hostnameOf(input: SpecInput): string {
  return input.options.hostname || input.defaultHostname || input.id.slice(0, 12);
}

function linuxOf(input: SpecInput): Linux {
  const { options } = input;
  const sysctl = sysctlsOf(input);
  const unmasked = options.privileged ? 'all' : unmaskedPaths(options);
  const visible = (path: string): boolean =>
    unmasked !== 'all' && !unmasked.some((prefix) => path === prefix || path.startsWith(`${prefix}/`));
  const rootfsPropagation = rootPropagationOf(options);
  const extraMasks = options.securityOpt.flatMap((option) => (option.type === 'mask' ? option.paths : []));
  return {
    namespaces: namespacesOf(input),
    devices: input.devices,
    cgroupsPath: input.cgroupsPath,
    resources: { ...input.resources, devices: deviceRulesOf(input) },
    ...(input.seccomp === undefined ? {} : { seccomp: input.seccomp }),
    ...(Object.keys(sysctl).length === 0 ? {} : { sysctl }),
    maskedPaths: [...[...MASKED_PATHS, ...(input.extraMaskedPaths ?? [])].filter(visible), ...extraMasks],
    readonlyPaths: READONLY_PATHS.filter(visible),
    ...(rootfsPropagation === undefined ? {} : { rootfsPropagation }),
  };
}

function unmaskedPaths(options: CreateOptions): readonly string[] | 'all' {
  const paths: string[] = [];
  for (const option of options.securityOpt) {
    if (option.type !== 'unmask') continue;
    if (option.paths === 'all') return 'all';
    paths.push(...option.paths);
  }
  return paths;
}

function deviceRulesOf(input: SpecInput): readonly DeviceRule[] {
  if (input.options.privileged) return ALL_DEVICE_RULES;
  return [
    ...DEFAULT_DEVICE_RULES,
    ...(input.deviceRules ?? []),
    ...input.options.deviceCgroupRules.map(parseDeviceRule),
  ];
}

function namespacesOf(input: SpecInput): Linux['namespaces'] {
  const { options, networkNamespace } = input;
  const namespaces: Linux['namespaces'][number][] = [{ type: 'mount' }];
  if (networkNamespace.type === 'new') namespaces.push({ type: 'network' });
  if (networkNamespace.type === 'path') namespaces.push({ type: 'network', path: networkNamespace.path });
  if (options.utsMode === 'private') namespaces.push({ type: 'uts' });
  const { pid, ipc } = input.joined ?? {};
  if (pid !== undefined) namespaces.push({ type: 'pid', path: pid });
  else if (options.pidMode === 'private') namespaces.push({ type: 'pid' });
  if (ipc !== undefined) namespaces.push({ type: 'ipc', path: ipc });
  else if (options.ipcMode !== 'host') namespaces.push({ type: 'ipc' });
  if (options.cgroupnsMode === 'private') namespaces.push({ type: 'cgroup' });
  return namespaces;
}

function sysctlsOf(input: SpecInput): Record<string, string> {
  const { options, networkNamespace } = input;
  const scope: SysctlScope = {
    network: networkNamespace.type !== 'host',
    ipc: options.ipcMode !== 'host',
    uts: options.utsMode !== 'host',
  };
  for (const [key, value] of Object.entries(options.sysctls)) checkSysctl(key, value, scope);
  return { ...(networkNamespace.type === 'new' ? DEFAULT_NETWORK_SYSCTLS : {}), ...options.sysctls };
}
