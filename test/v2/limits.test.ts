import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { BINARY } from '../harness/sandbox.ts';
import { seededSandbox } from '../harness/seed.ts';

const KERNEL = '/usr/bin/linux.uml';
const BOOT_TIMEOUT_MS = 420_000;

interface Result {
  readonly name: string;
  readonly problem: string;
}

/**
 * The limits on a true cgroup v2 host: User-mode Linux boots as an ordinary process, with the host's own files, and runs
 * guest.mjs. Behaviour is tested there, not speed: its system calls go through ptrace.
 */
const results = existsSync(KERNEL) ? await boot() : [];

describe('limits on a cgroup v2 host', () => {
  if (results.length === 0) {
    const missing = process.env.TINYRUN_MUST_WORK === '1' ? it : it.skip;
    missing('boots User-mode Linux', () => expect.fail(`${KERNEL} is missing or did not boot`));
  }
  for (const { name, problem } of results) it(name, () => expect(problem).toBe(''));
});

async function boot(): Promise<Result[]> {
  const directory = mkdtempSync(join(tmpdir(), 'tinyrun-v2-'));
  const sandbox = await seededSandbox();
  spawnSync('cp', ['-a', sandbox.root, join(directory, 'root')]);
  await sandbox.dispose();
  const disk = join(directory, 'disk');
  writeFileSync(disk, Buffer.alloc(1 << 20));
  const init = join(import.meta.dirname, 'guest-init.sh');
  const guest = spawnSync(
    KERNEL,
    [
      'mem=1024M',
      'root=none',
      'rootfstype=hostfs',
      'rootflags=/',
      'rw',
      `init=${init}`,
      `ubda=${disk}`,
      'quiet',
      'panic=1',
    ].concat(
      ['con=null', 'con0=fd:0,fd:1', `TINYRUN_V2_DIR=${directory}`, `TINYRUN_V2_BINARY=${BINARY}`],
      [`TINYRUN_V2_GUEST=${join(import.meta.dirname, 'guest.mjs')}`, `TMPDIR=/run`],
    ),
    {
      encoding: 'utf8',
      input: '',
      env: guestEnvironment(),
      timeout: BOOT_TIMEOUT_MS,
      killSignal: 'SIGKILL',
      maxBuffer: 1 << 26,
    },
  );
  rmSync(directory, { recursive: true, force: true });
  const output = guest.stdout ?? '';
  const found = [...output.matchAll(/^RESULT (\{.*\})\r?$/gm)].map(
    (match) => JSON.parse(match[1] ?? '{}') as Result,
  );
  if (found.length === 0) process.stderr.write(`${output.slice(-4000)}\n${guest.stderr ?? ''}\n`);
  return found;
}

/** The guest's memory is a file that it executes from: /dev/shm, unless that is mounted noexec, as in a container. */
function guestEnvironment(): NodeJS.ProcessEnv {
  const noexec = /^\S+ \/dev\/shm \S+ \S*\bnoexec\b/m.test(readFileSync('/proc/mounts', 'utf8'));
  return noexec ? { ...process.env, TMPDIR: tmpdir() } : process.env;
}
