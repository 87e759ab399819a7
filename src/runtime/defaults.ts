import type { Mount } from '../oci/runtime-spec.ts';

/** PATH of a container whose image sets none. */
export const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Bytes of /dev/shm. */
export const DEFAULT_SHM_SIZE = 64 * 1024 * 1024;

/** Docker's mounts, before options change them. */
export const DEFAULT_MOUNTS: readonly Mount[] = [
  { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
  {
    destination: '/dev',
    type: 'tmpfs',
    source: 'tmpfs',
    options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
  },
  {
    destination: '/dev/pts',
    type: 'devpts',
    source: 'devpts',
    options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
  },
  { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', 'ro'] },
  {
    destination: '/sys/fs/cgroup',
    type: 'cgroup',
    source: 'cgroup',
    options: ['ro', 'nosuid', 'noexec', 'nodev'],
  },
  { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: ['nosuid', 'noexec', 'nodev'] },
  {
    destination: '/dev/shm',
    type: 'tmpfs',
    source: 'shm',
    options: ['nosuid', 'noexec', 'nodev', 'mode=1777'],
  },
];

/** Files of /proc and /sys that tell too much about the host. */
export const MASKED_PATHS: readonly string[] = [
  '/proc/acpi', // CVE-2018-10892
  '/proc/asound',
  '/proc/interrupts', // GHSA-6fw5-f8r9-fgfm, as are the thermal_throttle directories
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/sys/devices/virtual/powercap', // GHSA-jq35-85cj-fj4p
  '/sys/firmware',
];

/** Parts of /proc that would let root in the container change the host. */
export const READONLY_PATHS: readonly string[] = [
  '/proc/bus',
  '/proc/fs',
  '/proc/irq',
  '/proc/sys',
  '/proc/sysrq-trigger',
];

/** Set in a network namespace of the container's own: ping without CAP_NET_RAW, ports below 1024 without a capability. */
export const DEFAULT_NETWORK_SYSCTLS: Readonly<Record<string, string>> = {
  'net.ipv4.ping_group_range': '0 2147483647',
  'net.ipv4.ip_unprivileged_port_start': '0',
};

/**
 * The per-CPU directories that leak timing (GHSA-6fw5-f8r9-fgfm); virtual machines have none.
 * @param possible the text of /sys/devices/system/cpu/possible, such as `0-3,8`
 */
export function thermalThrottlePaths(possible: string, exists: (path: string) => boolean): string[] {
  const path = (cpu: number): string => `/sys/devices/system/cpu/cpu${cpu}/thermal_throttle`;
  if (!exists(path(0))) return [];
  const paths: string[] = [];
  for (const range of possible.trim().split(',')) {
    const [first = Number.NaN, last = first] = range.split('-').map(Number);
    for (let cpu = first; cpu <= Math.min(last, first + 8191); cpu += 1) {
      if (exists(path(cpu))) paths.push(path(cpu));
    }
  }
  return paths;
}
