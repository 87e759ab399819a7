import { TinyrunError } from '../errors.ts';

/**
 * Linux capabilities in the order of their numbers.
 * @see include/uapi/linux/capability.h
 */
export const CAPABILITIES: readonly string[] = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_DAC_READ_SEARCH',
  'CAP_FOWNER',
  'CAP_FSETID',
  'CAP_KILL',
  'CAP_SETGID',
  'CAP_SETUID',
  'CAP_SETPCAP',
  'CAP_LINUX_IMMUTABLE',
  'CAP_NET_BIND_SERVICE',
  'CAP_NET_BROADCAST',
  'CAP_NET_ADMIN',
  'CAP_NET_RAW',
  'CAP_IPC_LOCK',
  'CAP_IPC_OWNER',
  'CAP_SYS_MODULE',
  'CAP_SYS_RAWIO',
  'CAP_SYS_CHROOT',
  'CAP_SYS_PTRACE',
  'CAP_SYS_PACCT',
  'CAP_SYS_ADMIN',
  'CAP_SYS_BOOT',
  'CAP_SYS_NICE',
  'CAP_SYS_RESOURCE',
  'CAP_SYS_TIME',
  'CAP_SYS_TTY_CONFIG',
  'CAP_MKNOD',
  'CAP_LEASE',
  'CAP_AUDIT_WRITE',
  'CAP_AUDIT_CONTROL',
  'CAP_SETFCAP',
  'CAP_MAC_OVERRIDE',
  'CAP_MAC_ADMIN',
  'CAP_SYSLOG',
  'CAP_WAKE_ALARM',
  'CAP_BLOCK_SUSPEND',
  'CAP_AUDIT_READ',
  'CAP_PERFMON',
  'CAP_BPF',
  'CAP_CHECKPOINT_RESTORE',
];

/** What Docker gives a container: 14 of 41. */
export const DEFAULT_CAPABILITIES: readonly string[] = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FSETID',
  'CAP_FOWNER',
  'CAP_MKNOD',
  'CAP_NET_RAW',
  'CAP_SETGID',
  'CAP_SETUID',
  'CAP_SETFCAP',
  'CAP_SETPCAP',
  'CAP_NET_BIND_SERVICE',
  'CAP_SYS_CHROOT',
  'CAP_KILL',
  'CAP_AUDIT_WRITE',
];

const NUMBER_OF: ReadonlyMap<string, number> = new Map(CAPABILITIES.map((name, number) => [name, number]));

export interface CapabilityRequest {
  readonly add: readonly string[];
  readonly drop: readonly string[];
  readonly privileged: boolean;
  /** What this process itself has (CapEff), as a mask; undefined: not known, everything is assumed to be there. */
  readonly available?: bigint;
}

/**
 * The capabilities of a container, in Docker's order: all of ours where privileged; `ALL` is understood in both lists and
 * adding wins over dropping.
 * @throws TinyrunError `invalid` with Docker's words for a name that is unknown or not available here
 */
export function capabilitiesOf(request: CapabilityRequest): string[] {
  const all = CAPABILITIES.filter((name) => isAvailable(name, request.available));
  if (request.privileged) return all;
  const drop = new Set(request.drop.map((name) => normalise(name, request.available)));
  const add = [...new Set(request.add.map((name) => normalise(name, request.available)))];
  if (add.includes('ALL')) return all.filter((name) => !drop.has(name));
  if (drop.has('ALL')) return add;
  const kept = DEFAULT_CAPABILITIES.filter((name) => !drop.has(name));
  return [...kept, ...add.filter((name) => !kept.includes(name))];
}

function normalise(name: string, available: bigint | undefined): string {
  const upper = name.toUpperCase();
  if (upper === 'ALL') return upper;
  const full = upper.startsWith('CAP_') ? upper : `CAP_${upper}`;
  if (!NUMBER_OF.has(full)) throw new TinyrunError('invalid', `unknown capability: "${full}"`);
  if (!isAvailable(full, available)) {
    throw new TinyrunError(
      'invalid',
      `capability not supported by your kernel or not available in the current environment: "${full}"`,
    );
  }
  return full;
}

function isAvailable(name: string, available: bigint | undefined): boolean {
  if (available === undefined) return true;
  return ((available >> BigInt(NUMBER_OF.get(name) ?? 63)) & 1n) === 1n;
}

/**
 * Names as the kernel's mask.
 * @throws TinyrunError `invalid` for an unknown name
 */
export function capabilityMask(names: readonly string[]): bigint {
  let mask = 0n;
  for (const name of names) {
    const number = NUMBER_OF.get(name);
    if (number === undefined) throw new TinyrunError('invalid', `unknown capability: "${name}"`);
    mask |= 1n << BigInt(number);
  }
  return mask;
}

/** CapEff out of the text of /proc/self/status: what can be handed on. */
export function ownCapabilities(status: string): bigint | undefined {
  const hex = /^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1];
  return hex === undefined ? undefined : BigInt(`0x${hex}`);
}
