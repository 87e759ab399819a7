import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { checkLogOption } from '../engine/log-options.ts';
import type { CreateOptions, MountRequest, NetworkRequest } from '../engine/options.ts';
import { signalNumber } from '../engine/signals.ts';
import * as flags from './container-flags.ts';
import { type Environment, keyValues, parseEnv, parseKeyValueFile } from './env-file.ts';
import { lifeOf } from './life-flags.ts';
import { limitsOf } from './limit-flags.ts';
import { parseMount, parseTmpfs, parseVolume, parseVolumesFrom } from './mounts.ts';
import { networksOf } from './network-flags.ts';
import { FlagError, type Parsed } from './parse.ts';
import { parseExpose, parsePublish } from './ports.ts';
import { parseSecurityOption } from './security-flags.ts';

/** What the flags may look at besides themselves. */
export interface FlagWorld {
  readonly env: Environment;
  readonly cwd: string;
}

/**
 * The flags of `run` and `create` as the engine's options.
 * @throws FlagError for values and combinations that cannot be
 */
export function createOptionsOf(parsed: Parsed, world: FlagWorld): CreateOptions {
  const [image = '', ...command] = parsed.operands;
  refuseConflicts(parsed);
  const entrypoint = parsed.string('entrypoint');
  return {
    image,
    command,
    ...(entrypoint === undefined ? {} : { entrypoint: entrypoint === '' ? [] : [entrypoint] }),
    ...identityOf(parsed),
    env: environmentOf(parsed, world),
    labels: labelsOf(parsed, world),
    annotations: keyValues(parsed.each('annotation', flags.parseAnnotation)),
    groupAdd: parsed.list('group-add'),
    tty: parsed.bool('tty'),
    openStdin: parsed.bool('interactive'),
    attach: parsed.each('attach', (text) => attachOf(text)),
    remove: parsed.bool('rm'),
    ...lifeOf(parsed),
    init: parsed.bool('init'),
    readonlyRootfs: parsed.bool('read-only'),
    privileged: parsed.bool('privileged'),
    capAdd: parsed.each('cap-add', flags.parseCapability),
    capDrop: parsed.each('cap-drop', flags.parseCapability),
    securityOpt: parsed.each('security-opt', (text) =>
      parseSecurityOption(text, (path) => readText(resolve(world.cwd, path))),
    ),
    mounts: mountsOf(parsed, world),
    ...(parsed.list('volumes-from').length === 0
      ? {}
      : { volumesFrom: parsed.each('volumes-from', parseVolumesFrom) }),
    devices: parsed.each('device', flags.parseDevice),
    deviceCgroupRules: parsed.each('device-cgroup-rule', flags.parseDeviceRule),
    ulimits: parsed.each('ulimit', flags.parseUlimit),
    sysctls: keyValues(parsed.each('sysctl', flags.parseSysctl)),
    ...namespacesOf(parsed),
    network: networkOf(parsed),
    limits: limitsOf(parsed),
    ...logOf(parsed),
  };
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

function identityOf(parsed: Parsed): Partial<CreateOptions> {
  const result: Partial<Mutable<CreateOptions>> = {};
  for (const [key, long] of [
    ['name', 'name'],
    ['workingDir', 'workdir'],
    ['user', 'user'],
    ['hostname', 'hostname'],
    ['domainname', 'domainname'],
    ['platform', 'platform'],
  ] as const) {
    const value = parsed.string(long);
    if (value !== undefined && value !== '') result[key] = value;
  }
  for (const [key, long] of [
    ['shmSize', 'shm-size'],
    ['stopTimeout', 'stop-timeout'],
  ] as const) {
    const value = parsed.number(long);
    if (value !== undefined) result[key] = value;
  }
  const stopSignal = parsed.one('stop-signal', (text) => {
    signalNumber(text);
    return text;
  });
  if (stopSignal !== undefined) result.stopSignal = stopSignal;
  return result;
}

function namespacesOf(
  parsed: Parsed,
): Pick<CreateOptions, 'pidMode' | 'ipcMode' | 'utsMode' | 'cgroupnsMode'> {
  const mode = <T extends string>(long: string, words: readonly T[]): T | 'private' => {
    if (parsed.string(long) === '') return 'private';
    return parsed.one(long, flags.oneOf([...words, 'private' as const], `--${long}`)) ?? 'private';
  };
  parsed.one('userns', (text) => (text === '' ? 'host' : flags.oneOf(['host'], '--userns')(text)));
  const shared = <T extends string>(long: string, words: readonly T[]) => {
    const text = parsed.string(long) ?? '';
    if (!text.startsWith('container:')) return mode(long, words);
    if (text === 'container:') throw new FlagError(`--${long}: invalid container format container:<name|id>`);
    return text as `container:${string}`;
  };
  const ipc = parsed.string('ipc') === 'shareable' ? 'private' : shared('ipc', ['host', 'none']);
  return {
    pidMode: shared('pid', ['host']),
    ipcMode: ipc,
    utsMode: mode('uts', ['host']),
    cgroupnsMode: mode('cgroupns', ['host']),
  };
}

/** `--env-host`, `--env-file` and `-e`, in this order: what comes later holds. */
export function environmentOf(parsed: Parsed, world: FlagWorld): string[] {
  const fromFiles = parsed.each('env-file', (path) => {
    const text = readText(resolve(world.cwd, path));
    try {
      return parseKeyValueFile(text, world.env);
    } catch (cause) {
      throw new Error(
        `invalid env file (${path}): ${cause instanceof Error ? cause.message : String(cause)}`,
        { cause },
      );
    }
  });
  const given = parsed.each('env', (text) => parseEnv(text, world.env));
  const fromHost = parsed.bool('env-host')
    ? Object.entries(world.env).flatMap(([key, value]) => (value === undefined ? [] : `${key}=${value}`))
    : [];
  return [...fromHost, ...fromFiles.flat(), ...given.filter((text) => text !== undefined)];
}

function labelsOf(parsed: Parsed, world: FlagWorld): Record<string, string> {
  const fromFiles = parsed.each('label-file', (path) =>
    parseKeyValueFile(readText(resolve(world.cwd, path)), undefined),
  );
  return keyValues([...fromFiles.flat(), ...parsed.list('label')]);
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    const missing = cause instanceof Error && 'code' in cause && cause.code === 'ENOENT';
    throw missing ? new Error(`open ${path}: no such file or directory`, { cause }) : cause;
  }
}

function mountsOf(parsed: Parsed, world: FlagWorld): MountRequest[] {
  const mounts = [
    ...parsed.each('volume', (text) => parseVolume(text, world)),
    ...parsed.each('mount', (text) => parseMount(text, world)),
    ...parsed.each('tmpfs', parseTmpfs),
  ];
  const seen = new Set<string>();
  for (const { target } of mounts) {
    if (seen.has(target)) throw new FlagError(`Duplicate mount point: ${target}`);
    seen.add(target);
  }
  return mounts;
}

function networkOf(parsed: Parsed): NetworkRequest {
  return {
    ...networksOf(parsed),
    publish: parsed.each('publish', parsePublish),
    publishAll: parsed.bool('publish-all'),
    expose: parsed.each('expose', parseExpose).flat(),
    dns: parsed.each('dns', flags.parseDns),
    dnsSearch: parsed.each('dns-search', flags.parseDnsSearch),
    dnsOptions: [...parsed.list('dns-option'), ...parsed.list('dns-opt')],
    extraHosts: parsed.each('add-host', flags.parseAddHost),
  };
}

function attachOf(text: string): 'stdin' | 'stdout' | 'stderr' {
  return flags.oneOf(
    ['stdin', 'stdout', 'stderr'],
    'valid streams are STDIN, STDOUT and STDERR',
  )(text.toLowerCase());
}

const LOG_DRIVERS = ['json-file', 'local', 'journald', 'none'] as const;

function logOf(parsed: Parsed): Pick<CreateOptions, 'logDriver' | 'logOptions'> {
  const logDriver =
    parsed.one('log-driver', flags.oneOf(LOG_DRIVERS, 'unsupported log driver')) ?? 'json-file';
  const logOptions = keyValues(parsed.list('log-opt'));
  for (const [key, value] of Object.entries(logOptions)) {
    try {
      checkLogOption(logDriver, key, value);
    } catch (cause) {
      throw new FlagError(
        `invalid argument "${key}=${value}" for "--log-opt" flag: ${cause instanceof Error ? cause.message : ''}`,
      );
    }
  }
  return { logDriver, logOptions };
}

/** Flags that contradict each other; the words are Docker's. */
function refuseConflicts(parsed: Parsed): void {
  const networks = [...parsed.list('network'), ...parsed.list('net')];
  if (networks.some((network) => network.startsWith('container:'))) {
    for (const [long, what] of [
      ['hostname', 'hostname and the network mode'],
      ['dns', 'dns and the network mode'],
      ['add-host', 'custom host-to-IP mapping and the network mode'],
      ['mac-address', 'mac-address and the network mode'],
      ['publish', 'port publishing and the container type network mode'],
      ['publish-all', 'port publishing and the container type network mode'],
      ['expose', 'port exposing and the container type network mode'],
    ] as const) {
      if (parsed.has(long)) throw new FlagError(`conflicting options: ${what}`);
    }
  }
  if (parsed.string('uts') === 'host' && parsed.has('hostname')) {
    throw new FlagError('conflicting options: hostname and the UTS mode');
  }
}
