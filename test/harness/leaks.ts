import { execFileSync } from 'node:child_process';
import { appendFileSync, existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { pathsOf } from '../../src/disk/paths.ts';

/** Names the file in which a suite's stores are written down; set by the global setup, read by every worker. */
export const STORES = 'TINYRUN_TEST_STORES';

/** Counts what carries this store's name as ours. Another suite may run at the same time: its cgroups are not. */
export function ownStore(root: string): void {
  const file = process.env[STORES];
  if (file !== undefined) appendFileSync(file, `${pathsOf({ root, runRoot: root }).instance}\n`);
}

function isForeign(cgroup: string): boolean {
  const file = process.env[STORES];
  const instance = /^tinyrun-([0-9a-f]{6})$/.exec(cgroup)?.[1];
  if (file === undefined || instance === undefined) return false;
  return !readFileSync(file, 'utf8').split('\n').includes(instance);
}

/** What tinyrun can leave behind on a machine, each thing by a line of text. */
export function traces(): Set<string> {
  return new Set([...mounts(), ...cgroups(), ...links(), ...tables(), ...processes()]);
}

function mounts(): string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => /tinyrun/.test(line))
    .map((line) => `mount ${line.split(' ')[4]}`);
}

function cgroups(): string[] {
  const found: string[] = [];
  const look = (directory: string, depth: number): void => {
    for (const entry of listing(directory)) {
      const path = join(directory, entry);
      if (/^tinyrun/.test(entry)) {
        if (isForeign(entry)) continue;
        found.push(`cgroup ${path}`);
        for (const child of listing(path))
          if (existsSync(join(path, child, 'cgroup.procs'))) found.push(`cgroup ${path}/${child}`);
      } else if (depth > 0) look(path, depth - 1);
    }
  };
  look('/sys/fs/cgroup', 1);
  return found;
}

function links(): string[] {
  return listing('/sys/class/net')
    .filter((name) => /^(tr|ti)/.test(name))
    .map((name) => `link ${name}`);
}

function tables(): string[] {
  try {
    return execFileSync('nft', ['list', 'tables'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
      .split('\n')
      .filter((line) => /tinyrun/.test(line))
      .map((line) => `nft ${line}`);
  } catch {
    return [];
  }
}

function processes(): string[] {
  return listing('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const exe = readlinkSync(`/proc/${pid}/exe`);
        return /tinyrun-(monitor|unpack)/.test(exe) ? [`process ${pid} ${exe}`] : [];
      } catch {
        return [];
      }
    });
}

function listing(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

/** What is there now and was not before; waits, because veth pairs and cgroups die some time after their namespace. */
export async function newTraces(before: Set<string>, patienceMs = 5000): Promise<string[]> {
  const deadline = Date.now() + patienceMs;
  for (;;) {
    const left = [...traces()].filter((trace) => !before.has(trace));
    if (left.length === 0 || Date.now() > deadline) return left;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
