import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { connect } from 'node:net';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { type Paths, pathsOf } from '../../src/disk/paths.ts';
import type { StateRecord } from '../../src/native/launch.ts';
import { needing } from '../harness/requires.ts';
import { type Outcome, show } from '../harness/sandbox.ts';
import { type Seeded, seededSandbox } from '../harness/seed.ts';

const it = needing('root', 'overlay', 'nft', 'docker-registry', 'busybox-static');

const SEED = Number(process.env.TINYRUN_CRASH_SEED ?? 1);
const SECONDS = Number(process.env.TINYRUN_CRASH_SECONDS ?? 40);
const WORKERS = 3;
const PORTS = [38431, 38432, 38433, 38434];
/** Lines that may be on their way from the container to its monitor when that dies: it is slower than the machine is busy. */
const IN_THE_PIPE = 100;

let box: Seeded;
let paths: Paths;
let counts: string;
beforeAll(async () => {
  box = await seededSandbox();
  paths = pathsOf({ root: box.root, runRoot: box.runRoot });
  counts = join(box.directory, 'counts');
  mkdirSync(counts);
});
afterAll(() => box.dispose());

/** mulberry32: the same numbers for the same seed. */
function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

/** Is killed by its own health check, and started again. */
const SICKLY = [
  ...['--restart', 'on-failure:50', '--health-cmd', 'exit 1', '--health-interval', '400ms'],
  ...['--health-retries', '1', '--health-on-failure', 'kill'],
];

const COUNTER =
  'i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo "line $i"; echo $i >>/counts/$0; sleep 0.02; done';

/** One worker's next command, and what becomes of its own containers by it. */
function nextCommand(random: (below: number) => number, names: string[], fresh: string): string[] {
  const old = names[random(names.length)];
  const choice = random(old === undefined ? 6 : 16);
  const port = ['-p', `127.0.0.1:${PORTS[random(PORTS.length)]}:80`];
  const counter = ['-v', `${counts}:/counts`, 'busybox', 'sh', '-c', COUNTER, fresh];
  if (choice < 6) names.push(fresh);
  const published = random(2) === 0 ? port : [];
  if (choice === 0) return ['run', '--name', fresh, ...published, 'busybox', 'echo', 'short'];
  if (choice === 1) return ['run', '--rm', '--name', fresh, '--init', 'busybox', 'sleep', '0.2'];
  if (choice < 4) return ['run', '-d', '--name', fresh, ...published, ...counter];
  if (choice === 4) {
    const restless = ['--restart', 'always', 'busybox', 'sh', '-c', 'sleep 0.2; exit 1'];
    return ['run', '-d', '--name', fresh, ...published, ...restless];
  }
  if (choice === 5) return ['run', '-d', '--name', fresh, ...published, ...SICKLY, ...counter];
  const name = old ?? '';
  const commands = [
    ['start', name],
    ['start', name],
    ['stop', '-t', '0', name],
    ['stop', '-t', '0', name],
    ['kill', name],
    ['rm', '-f', name],
    ['rm', name],
    ['logs', name],
    ['ps', '-a'],
    ['inspect', name],
  ];
  return commands[choice - 6] ?? ['ps'];
}

/** Errors are expected; riddles, stack traces and commands that hang are not. */
function judge(args: readonly string[], outcome: Outcome): void {
  const problem = `tinyrun ${args.join(' ')}: ${show(outcome)}`;
  expect(/\n\s+at /.test(outcome.stderr), problem).toBe(false);
  expect(/internal error|undefined|unexpected/i.test(outcome.stderr), problem).toBe(false);
}

async function drive(worker: number, until: number): Promise<number> {
  const random = generator(SEED * 1000 + worker);
  const names: string[] = [];
  let count = 0;
  while (Date.now() < until) {
    count += 1;
    const args = nextCommand(random, names, `w${worker}n${count}`);
    const outcome = await box.run(args);
    judge(args, outcome);
    if (args[0] === 'rm' && outcome.code === 0) names.splice(names.indexOf(args.at(-1) ?? ''), 1);
  }
  return count;
}

/** Processes of this store alone: commands by their environment, monitors by the id in their name. */
function victims(): number[] {
  const ids = listing(paths.containers).map((id) => `tinyrun:[${id.slice(0, 12)}]`);
  return listing('/proc').flatMap((pid) => {
    if (!/^\d+$/.test(pid)) return [];
    try {
      const exe = basename(readlinkSync(`/proc/${pid}/exe`));
      if (exe === 'tinyrun-monitor') {
        const name = readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0')[0] ?? '';
        return ids.some((id) => id.startsWith(name) && name.length > 9) ? [Number(pid)] : [];
      }
      if (!/^node/.test(exe)) return [];
      const environment = readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0');
      const isOurs = environment.includes(`TINYRUN_ROOT=${box.root}`);
      return isOurs && /tinyrun|load\.cjs/.test(readFileSync(`/proc/${pid}/cmdline`, 'latin1'))
        ? [Number(pid)]
        : [];
    } catch {
      return [];
    }
  });
}

async function killAtRandom(until: number): Promise<number> {
  const random = generator(SEED);
  let killed = 0;
  while (Date.now() < until) {
    await sleep(100 + random(300));
    const candidates = victims();
    const victim = candidates[random(candidates.length)];
    if (victim === undefined) continue;
    try {
      process.kill(victim, 'SIGKILL');
      killed += 1;
    } catch {
      // Gone by itself.
    }
  }
  return killed;
}

function listing(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

function startTimeOf(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? 0 : Number(fields[19]);
  } catch {
    return 0;
  }
}

/** What a container's files and the kernel say of it: `running 123`, `restarting 0`, or that it does not run. */
function factsOf(id: string): string {
  if (!existsSync(paths.state(id))) return 'down';
  const state = JSON.parse(readFileSync(paths.state(id), 'utf8')) as StateRecord;
  const monitorLives = state.monitorPid !== 0 && startTimeOf(state.monitorPid) === state.monitorStartTime;
  if (state.restarting === true) return monitorLives ? 'restarting true 0' : 'down';
  const lives = state.pid !== 0 && startTimeOf(state.pid) === state.startTime;
  return lives ? `running true ${state.pid}` : 'down';
}

/** One that is started again and again may change while it is looked at: then once more. */
async function checkStatus(id: string): Promise<void> {
  const format = '{{.State.Status}} {{.State.Running}} {{.State.Pid}}';
  let told = '';
  let before = '';
  for (let attempt = 0; attempt < 10; attempt += 1) {
    before = factsOf(id);
    const outcome = await box.run(['inspect', '--format', format, id]);
    // With --rm: its monitor was still at it when the list was made.
    if (outcome.code !== 0 && !existsSync(paths.container(id))) return;
    expect(outcome.code, show(outcome)).toBe(0);
    told = outcome.stdout.trim();
    if (factsOf(id) === before && told.replace(/^(exited|created) false 0$/, 'down') === before) return;
  }
  expect(told, id).toBe(before);
}

/** What a container has counted in a file is in its log: nothing that it wrote before its monitor died is lost, or torn. */
function checkLog(id: string, name: string): void {
  const path = join(counts, name);
  if (!existsSync(path) || !existsSync(paths.log(id))) return;
  const entries = readFileSync(paths.log(id), 'utf8').split('\n').slice(0, -1);
  const runs: number[] = [];
  let last = 0;
  for (const entry of entries) {
    const line = (JSON.parse(entry) as { log: string }).log;
    const number = Number(/^line (\d+)\n$/.exec(line)?.[1]);
    // 1 again: it was started anew.
    if (number === 1 && last > 0) runs.push(last);
    expect(number === 1 ? 1 : number, `${name}: ${line}`).toBe(number === 1 ? 1 : last + 1);
    last = number;
  }
  if (last > 0) runs.push(last);
  const counted: number[] = [];
  for (const line of readFileSync(path, 'utf8').split('\n').slice(0, -1)) {
    if (line === '1') counted.push(1);
    else counted[counted.length - 1] = Number(line);
  }
  expect(runs.length, name).toBeGreaterThanOrEqual(counted.length - 1);
  counted.slice(0, runs.length).forEach((number, index) => {
    expect(runs[index], name).toBeGreaterThanOrEqual(number - IN_THE_PIPE);
  });
}

const isOpen = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('close', () => socket.destroy());
  });

async function leftOver(): Promise<string[]> {
  const left: string[] = [];
  for (const directory of [paths.containers, paths.names, paths.trash, join(paths.runRoot, 'containers')]) {
    left.push(...listing(directory).map((name) => join(directory, name)));
  }
  for (const network of listing(join(paths.runRoot, 'leases'))) {
    left.push(
      ...listing(join(paths.runRoot, 'leases', network))
        .filter((name) => !name.startsWith('.'))
        .map((name) => `lease ${name}`),
    );
  }
  const tables = execFileSync('nft', ['list', 'tables'], { encoding: 'utf8' });
  for (const [, family = '', table = ''] of tables.matchAll(/^table (\S+) (\S+)$/gm)) {
    if (!table.endsWith(`tinyrun-${paths.instance}`)) continue;
    const text = execFileSync('nft', ['list', 'table', family, table], { encoding: 'utf8' });
    for (const port of PORTS) if (text.includes(String(port))) left.push(`firewall entry of port ${port}`);
  }
  for (const port of PORTS) if (await isOpen(port)) left.push(`open port ${port}`);
  left.push(...victims().map((pid) => `process ${pid}`));
  return left;
}

describe('kill -9 at random', () => {
  it(
    `of commands and monitors for ${SECONDS} s leaves nothing, and tells no lies`,
    async () => {
      const until = Date.now() + SECONDS * 1000;
      const workers = Array.from({ length: WORKERS }, (_, worker) => drive(worker, until));
      const [killed, ...done] = await Promise.all([killAtRandom(until), ...workers]);
      console.log(`${done.reduce((sum, count) => sum + count, 0)} commands, ${killed} kills, seed ${SEED}`);

      const listed = (await box.ok(['ps', '-a', '--no-trunc', '--format', '{{.ID}} {{.Names}}'])).split('\n');
      for (const line of listed.filter((text) => text !== '')) {
        const [id = '', name = ''] = line.split(' ');
        await checkStatus(id);
        checkLog(id, name);
        await box.ok(['rm', '-f', name]);
      }
      await box.ok(['ps', '-a']);
      const deadline = Date.now() + 5000;
      let left = await leftOver();
      while (left.length > 0 && Date.now() < deadline) {
        await sleep(100);
        left = await leftOver();
      }
      expect(left).toEqual([]);
    },
    (SECONDS + 180) * 1000,
  );
});
