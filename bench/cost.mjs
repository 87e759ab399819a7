import { spawn, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { pss } from './memory.mjs';

const TICKS = Number(spawnSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }).stdout) || 100;

/** Seconds of processor time of processes and of their children that have ended; fields 14 to 17 of /proc/<pid>/stat. */
export function processorTime(pids) {
  let ticks = 0;
  for (const pid of pids) {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    for (const field of fields.slice(11, 15)) ticks += Number(field);
  }
  return ticks / TICKS;
}

/**
 * The most memory (PSS, MB) that processes take together while `action` runs. Another process looks, every 50 ms.
 * @param pattern of their command lines
 */
export function peakOf(pattern, action) {
  const watcher = spawn(process.execPath, [fileURLToPath(import.meta.url), pattern.source], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const file = `/tmp/tinyrun-bench-peak-${watcher.pid}`;
  try {
    action();
  } finally {
    watcher.kill('SIGTERM');
  }
  spawnSync('sleep', ['0.3']);
  const kilobytes = Number(spawnSync('cat', [file], { encoding: 'utf8' }).stdout);
  spawnSync('rm', ['-f', file]);
  return kilobytes / 1000;
}

/** Ids of the processes whose command line a pattern fits. */
function running(pattern) {
  return readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) return false;
    try {
      return pattern.test(readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' '));
    } catch {
      return false;
    }
  });
}

async function watch(source) {
  const { writeFileSync } = await import('node:fs');
  const pattern = new RegExp(source);
  let most = 0;
  process.on('SIGTERM', () => {
    writeFileSync(`/tmp/tinyrun-bench-peak-${process.pid}`, String(most));
    process.exit(0);
  });
  for (;;) {
    let sum = 0;
    for (const pid of running(pattern)) sum += pss(pid);
    most = Math.max(most, sum);
    await sleep(50);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await watch(process.argv[2]);
