import { readFileSync, statSync } from 'node:fs';
import type { Machine } from './limits.ts';
import { parseCpuList } from './lists.ts';

/** The machine that we run on; each list is read when a check first asks for it. */
export function hostMachine(): Machine {
  const online = (what: 'cpu' | 'node'): string => {
    try {
      return readFileSync(`/sys/devices/system/${what}/online`, 'utf8').trim();
    } catch {
      return '0';
    }
  };
  return {
    get cpus() {
      return parseCpuList(online('cpu'))?.size ?? 1;
    },
    get cpuList() {
      return online('cpu');
    },
    get memList() {
      return online('node');
    },
    device: blockDevice,
  };
}

/** The number of a block device node of the host; undefined for anything else. */
function blockDevice(path: string): { readonly major: number; readonly minor: number } | undefined {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat?.isBlockDevice() === true ? deviceNumber(stat.rdev) : undefined;
}

/** Linux's dev_t as Node gives it → major and minor: makedev(3), glibc's layout. */
export function deviceNumber(rdev: number): { readonly major: number; readonly minor: number } {
  const device = BigInt(rdev);
  const major = ((device >> 8n) & 0xfffn) | ((device >> 32n) & ~0xfffn);
  const minor = (device & 0xffn) | ((device >> 12n) & ~0xffn);
  return { major: Number(major), minor: Number(minor) };
}
