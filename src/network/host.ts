/** What the network code needs of the machine it runs on; tests hand in another one. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { withLock } from '../disk/lock.ts';
import { errorCode, TinyrunError } from '../errors.ts';
import { lockIsHeld, netlink } from '../native/syscalls.ts';

export interface NetworkHost {
  /** All replies, one after the other. @throws SyscallError with the errno of the first message that failed */
  netlink(protocol: 'route' | 'netfilter', messages: Uint8Array): Uint8Array;
  /** A file of /proc, /sys or /etc; undefined where it is missing. */
  readText(path: string): string | undefined;
  exists(path: string): boolean;
  writeText(path: string, text: string): void;
  /** Runs `nft -f -`. @throws TinyrunError `unsupported` where there is no nft or the kernel has no nf_tables */
  loadRuleset(text: string): Promise<void>;
  /** Standard output of a program; undefined where it is not installed or fails. Never on the path of a start. */
  run(program: string, args: readonly string[]): Promise<string | undefined>;
  /** For what must differ, not for what must stay secret. */
  random(length: number): Uint8Array;
  withLock<T>(path: string, action: () => Promise<T>): Promise<T>;
  lockIsHeld(path: string): boolean;
  /** Milliseconds since the epoch. */
  now(): number;
}

/** The machine itself. Makes no call until it is used. */
export function systemHost(): NetworkHost {
  return {
    netlink,
    readText,
    exists: existsSync,
    writeText: (path, text) => writeFileSync(path, text),
    loadRuleset,
    run: runProgram,
    random: randomBytes,
    withLock: (path, action) => withLock(path, 'exclusive', action),
    lockIsHeld,
    now: () => Date.now(),
  };
}

function readText(path: string): string | undefined {
  // The first exception of a process costs it a millisecond.
  if (!existsSync(path)) return undefined;
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const code = errorCode(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw error;
  }
}

/** V8 seeds its generator from the kernel's. The device would cost a start 0.2 ms, `node:crypto` 4 ms. */
function randomBytes(length: number): Uint8Array {
  return Uint8Array.from({ length }, () => Math.floor(Math.random() * 256));
}

async function runProgram(program: string, args: readonly string[]): Promise<string | undefined> {
  const { execFile } = await import('node:child_process');
  return new Promise((resolve) => {
    execFile(program, args, { timeout: 10_000 }, (error, stdout) =>
      resolve(error === null ? stdout : undefined),
    );
  });
}

async function loadRuleset(text: string): Promise<void> {
  const { spawn } = await import('node:child_process');
  await new Promise<void>((resolve, reject) => {
    const child = spawn('nft', ['-f', '-'], { stdio: ['pipe', 'ignore', 'pipe'] });
    let complaint = '';
    child.stderr.on('data', (chunk: Buffer) => {
      if (complaint.length < 4096) complaint += chunk.toString();
    });
    child.on('error', (cause) => {
      reject(
        new TinyrunError('unsupported', 'Cannot load the firewall rules: there is no nft', {
          cause,
          hint: 'Install the package "nftables"',
        }),
      );
    });
    child.on('close', (code) => {
      if (code === 0) resolve();
      else {
        const line = complaint.split('\n')[0] ?? '';
        reject(new TinyrunError('unsupported', `Cannot load the firewall rules: nft says "${line}"`));
      }
    });
    // nft may be gone before it has read all: `close` tells why.
    child.stdin.on('error', () => undefined);
    child.stdin.end(text);
  });
}
