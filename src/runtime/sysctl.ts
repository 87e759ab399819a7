import { TinyrunError } from '../errors.ts';

/** The sysctls of System V IPC that belong to the ipc namespace. */
const IPC_KEYS: ReadonlySet<string> = new Set([
  'kernel.msgmax',
  'kernel.msgmnb',
  'kernel.msgmni',
  'kernel.sem',
  'kernel.shmall',
  'kernel.shmmax',
  'kernel.shmmni',
  'kernel.shm_rmid_forced',
]);

/** Which namespaces are the container's own (or another container's, for the network): only their sysctls may be set. */
export interface SysctlScope {
  readonly network: boolean;
  readonly ipc: boolean;
  readonly uts: boolean;
}

/**
 * Refuses every sysctl that is not namespaced, or whose namespace is the host's: it would change the host.
 * @throws TinyrunError `invalid` with Docker's words (runc's validator)
 */
export function checkSysctl(key: string, value: string, scope: SysctlScope): void {
  const dotted = dottedKey(key);
  // A separator in key or value would smuggle in a second setting (CVE-2022-0811).
  if (
    !/^[A-Za-z0-9_.\-/*@:]+$/.test(key) ||
    /[\x00-\x08\x0a-\x1f]/.test(value) ||
    /(^|[./])\.?\.([./]|$)/.test(key)
  ) {
    throw new TinyrunError('invalid', `sysctl '${key}=${value}' is not allowed`);
  }
  if (IPC_KEYS.has(dotted) || dotted.startsWith('fs.mqueue.')) {
    if (scope.ipc) return;
    throw new TinyrunError('invalid', `sysctl "${key}" is not allowed in the hosts ipc namespace`);
  }
  if (dotted.startsWith('net.')) {
    if (scope.network) return;
    throw new TinyrunError('invalid', `sysctl "${key}" not allowed in host network namespace`);
  }
  if (dotted === 'kernel.domainname' && scope.uts) return;
  if (dotted === 'kernel.hostname' && scope.uts) {
    throw new TinyrunError(
      'invalid',
      `sysctl "${key}" is not allowed as it conflicts with the OCI "hostname" field`,
    );
  }
  throw new TinyrunError('invalid', `sysctl "${key}" is not in a separate kernel namespace`);
}

/** `net/ipv4/conf/eth0.100/forwarding` → `net.ipv4.conf.eth0/100.forwarding`: whichever separator comes first is the one. */
function dottedKey(key: string): string {
  const slash = key.indexOf('/');
  const dot = key.indexOf('.');
  if (slash === -1 || (dot !== -1 && dot < slash)) return key;
  return swapSeparators(key);
}

/** The path below /proc/sys, such as `net/ipv4/ip_forward`. */
export function sysctlPath(key: string): string {
  const dotted = dottedKey(key);
  return swapSeparators(dotted);
}

function swapSeparators(key: string): string {
  return key.replace(/[./]/g, (separator) => (separator === '.' ? '/' : '.'));
}
