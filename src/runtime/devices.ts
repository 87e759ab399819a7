import { type Dirent, readdirSync, type Stats, statSync } from 'node:fs';
import { join } from 'node:path';
import { errorCode, TinyrunError } from '../errors.ts';
import type { Device, DeviceRule } from '../oci/runtime-spec.ts';

/** The nodes every container has. @see runtime-spec config-linux.md#default-devices */
export const DEFAULT_DEVICES: readonly Device[] = [
  charDevice('/dev/null', 1, 3),
  charDevice('/dev/random', 1, 8),
  charDevice('/dev/full', 1, 7),
  charDevice('/dev/tty', 5, 0),
  charDevice('/dev/zero', 1, 5),
  charDevice('/dev/urandom', 1, 9),
];

function charDevice(path: string, major: number, minor: number): Device {
  return { type: 'c', path, major, minor, fileMode: 0o666, uid: 0, gid: 0 };
}

/** Docker's list with what runc adds on its own: nothing but these, mknod of anything (opening it stays forbidden). */
export const DEFAULT_DEVICE_RULES: readonly DeviceRule[] = [
  { allow: false, access: 'rwm' },
  { allow: true, type: 'c', major: -1, minor: -1, access: 'm' },
  { allow: true, type: 'b', major: -1, minor: -1, access: 'm' },
  { allow: true, type: 'c', major: 1, minor: 3, access: 'rwm' },
  { allow: true, type: 'c', major: 1, minor: 5, access: 'rwm' },
  { allow: true, type: 'c', major: 1, minor: 7, access: 'rwm' },
  { allow: true, type: 'c', major: 1, minor: 8, access: 'rwm' },
  { allow: true, type: 'c', major: 1, minor: 9, access: 'rwm' },
  { allow: true, type: 'c', major: 5, minor: 0, access: 'rwm' },
  { allow: true, type: 'c', major: 5, minor: 1, access: 'rwm' },
  { allow: true, type: 'c', major: 5, minor: 2, access: 'rwm' },
  { allow: true, type: 'c', major: 136, minor: -1, access: 'rwm' },
];

/** `--privileged`: no restriction. */
export const ALL_DEVICE_RULES: readonly DeviceRule[] = [{ allow: true, access: 'rwm' }];

/**
 * `--device-cgroup-rule`, such as `c 1:3 mr` or `b *:* rwm`.
 * @throws TinyrunError `invalid` with Docker's words
 */
export function parseDeviceRule(text: string): DeviceRule {
  const match = /^([acb]) ([0-9]+|\*):([0-9]+|\*) ([rwm]{1,3})$/.exec(text);
  const [, type, major, minor, access] = match ?? [];
  if (major === undefined || minor === undefined || access === undefined) {
    throw new TinyrunError('invalid', `invalid device cgroup rule format: '${text}'`);
  }
  return {
    allow: true,
    type: type === 'c' || type === 'b' ? type : 'a',
    major: major === '*' ? -1 : Number(major),
    minor: minor === '*' ? -1 : Number(minor),
    access,
  };
}

/** What is asked of the host's file system; a table in tests. */
export interface DeviceHost {
  /** Follows symbolic links. */
  stat(path: string): Stats;
  list(path: string): Dirent[];
}

export const fileSystemDevices: DeviceHost = {
  stat: (path) => statSync(path),
  list: (path) => readdirSync(path, { withFileTypes: true }),
};

/**
 * `--device`: the nodes to make and what to allow of them. A directory stands for every device below it.
 * @throws TinyrunError `invalid` for an access that is not some of `rwm`, or a path that is no device, with Docker's words
 */
export function resolveDevices(
  requests: readonly { readonly source: string; readonly target: string; readonly access: string }[],
  host: DeviceHost = fileSystemDevices,
): { devices: Device[]; rules: DeviceRule[] } {
  const devices: Device[] = [];
  const rules: DeviceRule[] = [];
  for (const request of requests) {
    const access = request.access === '' ? 'rwm' : request.access;
    if (!/^[rwm]{1,3}$/.test(access)) {
      throw new TinyrunError('invalid', `invalid device mode: ${access}`);
    }
    for (const device of devicesAt(request.source, request.target, host)) {
      devices.push(device);
      rules.push({
        allow: true,
        type: device.type === 'b' ? 'b' : 'c',
        major: device.major,
        minor: device.minor,
        access,
      });
    }
  }
  return { devices, rules };
}

function devicesAt(source: string, target: string, host: DeviceHost): Device[] {
  let cause: unknown;
  try {
    const stats = host.stat(source);
    const found = stats.isDirectory()
      ? devicesBelow(source, target, host, NOTHING)
      : compact([deviceOf(stats, target)]);
    if (found.length > 0) return found;
  } catch (error) {
    cause = error;
  }
  const reason =
    cause === undefined
      ? 'not a device node'
      : errorCode(cause) === 'ENOENT'
        ? 'no such file or directory'
        : String(errorCode(cause));
  throw new TinyrunError(
    'invalid',
    `error gathering device information while adding custom device "${source}": ${reason}`,
  );
}

const NOTHING: ReadonlySet<string> = new Set();
/** Not devices of the host but views that every container has of its own. */
const NOT_SHARED: ReadonlySet<string> = new Set([
  'pts',
  'shm',
  'fd',
  'mqueue',
  '.lxc',
  '.lxd-mounts',
  '.udev',
  'console',
]);

/** Every device node of the host, for `--privileged`. */
export function hostDevices(host: DeviceHost = fileSystemDevices): Device[] {
  return devicesBelow('/dev', '/dev', host, NOT_SHARED);
}

function devicesBelow(source: string, target: string, host: DeviceHost, skip: ReadonlySet<string>): Device[] {
  return host.list(source).flatMap((entry): Device[] => {
    if (skip.has(entry.name)) return [];
    const from = join(source, entry.name);
    const to = join(target, entry.name);
    try {
      if (entry.isDirectory()) return devicesBelow(from, to, host, skip);
      if (!entry.isCharacterDevice() && !entry.isBlockDevice()) return [];
      return compact([deviceOf(host.stat(from), to)]);
    } catch {
      return []; // Gone since it was listed: devices come and go.
    }
  });
}

function deviceOf(stats: Stats, path: string): Device | undefined {
  const type = stats.isCharacterDevice() ? 'c' : stats.isBlockDevice() ? 'b' : undefined;
  if (type === undefined) return undefined;
  const { major, minor } = deviceNumbers(stats.rdev);
  return { type, path, major, minor, fileMode: stats.mode & 0o7777, uid: stats.uid, gid: stats.gid };
}

/** Splits a dev_t as glibc packs it; plain numbers, since bit operations would cut it to 32 bits. */
export function deviceNumbers(rdev: number): { major: number; minor: number } {
  const low = rdev % 2 ** 32;
  const high = Math.floor(rdev / 2 ** 32);
  return {
    major: ((low >>> 8) & 0xfff) + ((high & 0xfffff000) >>> 0),
    minor: (low & 0xff) + ((((low >>> 12) & 0xfff00) + (high & 0xfff) * 2 ** 20) >>> 0),
  };
}

function compact<T>(items: readonly (T | undefined)[]): T[] {
  return items.filter((item): item is T => item !== undefined);
}
