import { execFileSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest';
import {
  attach,
  type LaunchError,
  type LaunchInput,
  launch,
  recover,
  type Session,
  type StateRecord,
} from '../../src/native/launch.ts';
import { useNativeDirectory } from '../../src/native/library.ts';
import type { LaunchPlan, MonitorOptions, Op } from '../../src/native/plan.ts';
import { needing } from '../harness/requires.ts';

const test = needing('root', 'busybox-static');
/** A sanitizer build is dynamic, so it is no program for a container, and large. */
const testOfRelease = process.env.TINYRUN_NATIVE === undefined ? test : test.skip;

let top: string;
let rootfs: string;
let count = 0;
const pids: number[] = [];

beforeAll(() => {
  useNativeDirectory(process.env.TINYRUN_NATIVE);
  top = mkdtempSync(join(tmpdir(), 'tinyrun-monitor-'));
  rootfs = join(top, 'rootfs');
  for (const name of ['bin', 'proc', 'dev']) mkdirSync(join(rootfs, name), { recursive: true });
  copyFileSync('/bin/busybox', join(rootfs, 'bin', 'busybox'));
  for (const applet of ['sh', 'cat', 'head', 'tr', 'yes', 'seq', 'sleep', 'stty', 'true']) {
    symlinkSync('busybox', join(rootfs, 'bin', applet));
  }
});

afterEach(() => {
  for (const pid of pids.splice(0)) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // Gone already, as it should be.
    }
  }
});

afterAll(() => rmSync(top, { recursive: true, force: true }));

interface Wish {
  readonly script: string;
  readonly monitor?: Partial<MonitorOptions>;
  readonly log?: { maxBytes: number; maxFiles: number };
  readonly tty?: boolean;
  readonly stdin?: boolean;
  readonly init?: boolean;
  readonly prepare?: readonly Op[];
  readonly child?: readonly Op[];
  readonly release?: readonly Op[];
  readonly cleanup?: readonly Op[];
  readonly stdio?: LaunchInput['stdio'];
}

interface Place {
  readonly directory: string;
  readonly run: string;
  readonly state: string;
  readonly log: string;
  readonly socket: string;
  readonly teardown: string;
}

function place(): Place {
  count += 1;
  const directory = join(top, `c${count}`);
  const run = join(directory, 'run');
  mkdirSync(run, { recursive: true });
  return {
    directory,
    run,
    state: join(directory, 'state.json'),
    log: join(directory, 'json.log'),
    socket: join(run, 'attach.sock'),
    teardown: join(run, 'teardown'),
  };
}

function planOf(wish: Wish, at: Place): LaunchPlan {
  const dev: Op[] = [
    {
      op: 'mount',
      fstype: 'tmpfs',
      source: 'tmpfs',
      target: '/dev',
      flags: [],
      data: '',
      what: 'mount /dev',
    },
    {
      op: 'mknod',
      path: '/dev/null',
      type: 'c',
      mode: 0o666,
      major: 1,
      minor: 3,
      uid: 0,
      gid: 0,
      what: 'null',
    },
  ];
  const terminal: Op[] = [
    {
      op: 'mount',
      fstype: 'devpts',
      source: 'devpts',
      target: '/dev/pts',
      flags: ['nosuid', 'noexec'],
      data: 'newinstance,ptmxmode=0666,mode=0620',
      what: 'mount /dev/pts',
    },
    { op: 'console', rows: 24, columns: 80, what: 'make the terminal' },
  ];
  return {
    monitor: {
      id: 'abcdef0123456789',
      statePath: at.state,
      ...(wish.log === undefined ? {} : { log: { path: at.log, ...wish.log } }),
      attachSocket: at.socket,
      tty: wish.tty ?? false,
      openStdin: wish.stdin ?? false,
      stdinOnce: wish.stdin ?? false,
      ...wish.monitor,
    },
    namespaces: ['mount', 'pid', 'uts', 'ipc'],
    prepare: wish.prepare ?? [],
    child: [
      { op: 'rootPropagation', propagation: 'rprivate', what: 'leave the host mounts alone' },
      { op: 'bindRoot', source: rootfs, what: 'bind the root' },
      {
        op: 'mount',
        fstype: 'proc',
        source: 'proc',
        target: '/proc',
        flags: [],
        data: '',
        what: 'mount /proc',
      },
      ...dev,
      ...(wish.tty === true ? terminal : []),
      { op: 'pivotRoot', what: 'enter the root' },
      ...(wish.child ?? []),
      ...(wish.init === true ? [{ op: 'init', what: 'start the reaper' } as const] : []),
      {
        op: 'exec',
        paths: ['/bin/sh'],
        argv: ['sh', '-c', wish.script],
        env: ['PATH=/bin'],
        what: 'execute "/bin/sh"',
      },
    ],
    connect: [],
    release: wish.release ?? [],
    cleanup: wish.cleanup ?? [],
  };
}

async function start(
  wish: Wish,
  at = place(),
): Promise<{ session: Session; at: Place; output: () => Output }> {
  const session = await launch({
    plan: planOf(wish, at),
    lockPath: join(at.run, 'lock'),
    teardownPath: at.teardown,
    stdio: wish.stdio ?? 'attach',
  });
  pids.push(session.pid);
  return { session, at, output: collect(session) };
}

interface Output {
  stdout: string;
  stderr: string;
}

function collect(session: Session): () => Output {
  const chunks: Record<'stdout' | 'stderr', Uint8Array[]> = { stdout: [], stderr: [] };
  session.onOutput((stream, chunk) => chunks[stream].push(chunk));
  return () => ({
    stdout: Buffer.concat(chunks.stdout).toString(),
    stderr: Buffer.concat(chunks.stderr).toString(),
  });
}

function stateOf(at: Place): StateRecord {
  return JSON.parse(readFileSync(at.state, 'utf8')) as StateRecord;
}

function logOf(path: string): { log: string; stream: string; time: string }[] {
  return readFileSync(path, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
}

async function until(what: string, condition: () => boolean, patienceMs = 5000): Promise<void> {
  const deadline = Date.now() + patienceMs;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`Waited in vain until ${what}`);
    await sleep(10);
  }
}

function pssOf(pid: number): number {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  return Number(/^Pss:\s+(\d+) kB/m.exec(text)?.[1]);
}

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$/;
const KEEP = { maxBytes: 0, maxFiles: 1 };

describe('start and exit', () => {
  test('launch() gives output, exit code, state and leaves nothing', async () => {
    const { session, at, output } = await start({ script: 'echo out; echo err >&2; exit 3', log: KEEP });
    const exit = await session.exited;
    await session.closed;
    expect(output()).toEqual({ stdout: 'out\n', stderr: 'err\n' });
    expect(exit).toMatchObject({ exitCode: 3, signal: 0, oomKilled: false });
    const state = stateOf(at);
    expect(state).toMatchObject({ pid: session.pid, exitCode: 3, signal: 0, oomKilled: false });
    expect([state.startedAt, state.finishedAt].every((time) => TIME.test(time ?? ''))).toBe(true);
    expect(state.finishedAt).toBe(exit.finishedAt);
    expect(Math.abs(Date.parse(exit.finishedAt) - Date.now())).toBeLessThan(5000);
    await until('the run directory is gone', () => !existsSync(at.run));
    expect(readdirSync(at.directory).sort()).toEqual(['json.log', 'state.json']);
  });

  test('launch() tells a death by signal as 128 + n', async () => {
    const { session } = await start({ script: 'sleep 60' });
    process.kill(session.pid, 'SIGKILL');
    expect(await session.exited).toMatchObject({ exitCode: 137, signal: 9 });
  });

  test('launch() makes no zombie', async () => {
    const { session, at } = await start({ script: 'true' });
    const { monitorPid } = stateOf(at);
    await session.closed;
    await until('the monitor is reaped', () => !existsSync(`/proc/${monitorPid}`));
  });

  test('a detached container outlives its launcher and others can wait for it', async () => {
    const { session, at } = await start({ script: 'sleep 0.5; exit 7', stdio: 'detached' });
    session.close();
    const other = await attach(at.socket, 'detached');
    expect(other.pid).toBe(session.pid);
    expect((await other.exited).exitCode).toBe(7);
  });

  test('release comes before the exit is told, cleanup after', async () => {
    const at = place();
    const mark = (name: string): Op => ({
      op: 'writeFile',
      path: join(at.directory, name),
      text: 'x',
      create: true,
      what: `write ${name}`,
    });
    const { session } = await start(
      { script: 'true', release: [mark('released')], cleanup: [mark('cleaned')] },
      at,
    );
    await session.exited;
    expect(existsSync(join(at.directory, 'released'))).toBe(true);
    await session.closed;
    expect(existsSync(join(at.directory, 'cleaned'))).toBe(true);
  });
});

describe('facts', () => {
  test.each([
    ['oom_kill 1', 'oom_kill 1', false],
    ['low 0\noom_kill 1\noom_group_kill 7\n', 'low 0\noom_kill 2\noom_group_kill 7\n', true],
    ['oom_kill_disable 0\nunder_oom 0\noom_kill 0\n', 'oom_kill_disable 1\nunder_oom 0\noom_kill 1\n', true],
    ['oom_kill_disable 0\n', 'oom_kill_disable 9\n', false],
  ])('oomKilled follows the counter from %j to %j', async (before, after, killed) => {
    const at = place();
    const oomPath = join(at.directory, 'events');
    writeFileSync(oomPath, before);
    const { session } = await start({ script: 'read x', stdin: true, monitor: { oomPath } }, at);
    writeFileSync(oomPath, after);
    session.endStdin();
    expect((await session.exited).oomKilled).toBe(killed);
    expect(stateOf(at).oomKilled).toBe(killed);
  });

  test('attach() reaches a socket whose path is too long for an address', async () => {
    const at = place();
    const run = join(at.directory, 'r'.repeat(60), 'r'.repeat(64));
    mkdirSync(run, { recursive: true });
    const long = { ...at, run, socket: join(run, 'attach.sock'), teardown: join(run, 'teardown') };
    const { session } = await start({ script: 'read x; exit 9', stdin: true }, long);
    const other = await attach(long.socket, 'detached');
    session.endStdin();
    expect((await other.exited).exitCode).toBe(9);
  });

  test('the monitor is known by its container and holds on to nothing of its launcher', async () => {
    const { session, at } = await start({ script: 'sleep 60', stdio: 'detached' });
    const proc = `/proc/${stateOf(at).monitorPid}`;
    expect(readFileSync(`${proc}/cmdline`, 'utf8').replace(/\0+$/, '')).toBe('tinyrun:[abcdef012345]');
    expect(readlinkSync(`${proc}/cwd`)).toBe('/');
    expect(
      readdirSync(`${proc}/fd`)
        .map(Number)
        .filter((fd) => fd < 3),
    ).toHaveLength(3);
    expect(readlinkSync(`${proc}/fd/1`)).toBe('/dev/null');
    process.kill(session.pid, 'SIGKILL');
    await session.closed;
  });
});

describe('failures', () => {
  const mark = (at: Place): Op => ({ op: 'rmdir', path: join(at.directory, 'made'), what: 'remove made' });

  test.each<[string, Partial<Wish>, LaunchError['failure'], string]>([
    [
      'prepare',
      { prepare: [{ op: 'mkdir', path: '/nowhere/a', mode: 0o700, what: 'make "/nowhere/a"' }] },
      { phase: 'prepare', opIndex: 1, errno: 'ENOENT' },
      'Cannot make "/nowhere/a": ENOENT',
    ],
    [
      'child',
      { child: [{ op: 'cwd', path: '/missing', create: false, what: 'enter "/missing"' }] },
      { phase: 'child', opIndex: 6, errno: 'ENOENT' },
      'Cannot enter "/missing": ENOENT',
    ],
    [
      'monitor',
      { monitor: { log: { path: '/nowhere/json.log', maxBytes: 0, maxFiles: 1 } } },
      { phase: 'monitor', opIndex: -1, errno: 'ENOENT' },
      "Cannot run the container's monitor: ENOENT",
    ],
  ])('launch() says where %s failed, and has undone the rest', async (_name, wish, failure, message) => {
    const at = place();
    const made: Op = { op: 'mkdir', path: join(at.directory, 'made'), mode: 0o700, what: 'make made' };
    const plan = { script: 'true', ...wish, prepare: [made, ...(wish.prepare ?? [])], release: [mark(at)] };
    const error = await start(plan, at).then(
      () => undefined,
      (reason: LaunchError) => reason,
    );
    expect(error).toMatchObject({ name: 'LaunchError', failure, message });
    expect(readdirSync(at.directory)).toEqual([]);
  });

  test('launch() rejects while another monitor holds the lock', async () => {
    const { session, at } = await start({ script: 'sleep 60' });
    await expect(start({ script: 'true' }, at)).rejects.toMatchObject({ kind: 'conflict' });
    process.kill(session.pid, 'SIGKILL');
    await session.closed;
  });

  test('attach() rejects where no monitor is', async () => {
    await expect(attach(join(top, 'none.sock'))).rejects.toMatchObject({ kind: 'unavailable' });
  });
});

describe('stdio', () => {
  test('stdin reaches the container, and its end', async () => {
    const { session, output } = await start({ script: 'cat; echo end', stdin: true });
    session.writeStdin(Buffer.from('abc\n'));
    session.endStdin();
    expect((await session.exited).exitCode).toBe(0);
    expect(output().stdout).toBe('abc\nend\n');
  });

  test('a megabyte goes through stdin and back', async () => {
    const { session, output } = await start({ script: 'cat', stdin: true });
    const text = 'x'.repeat(1_000_000);
    session.writeStdin(Buffer.from(text));
    session.endStdin();
    await session.closed;
    expect(output().stdout).toBe(text);
  });

  test('a client that still writes hears the exit, and all that was said', async () => {
    const { session, output } = await start({ script: 'head -c 5; yes | head -c 100000', stdin: true });
    for (let count = 0; count < 100; count += 1) session.writeStdin(Buffer.alloc(100_000, 'x'));
    expect((await session.exited).exitCode).toBe(0);
    await session.closed;
    expect(output().stdout.length).toBe(100_005);
  });

  test('a stdin that nobody reads keeps no one else from the output', async () => {
    const { session, at } = await start({
      script: 'while true; do echo tick; sleep 0.05; done',
      stdin: true,
    });
    session.writeStdin(Buffer.alloc(1_000_000, 'x'));
    await sleep(100);
    const other = await attach(at.socket);
    const seen = collect(other);
    await until('the other hears', () => seen().stdout.includes('tick'));
    other.close();
    process.kill(session.pid, 'SIGKILL');
    expect((await session.exited).exitCode).toBe(137);
  });

  test('without openStdin it is /dev/null', async () => {
    const { session, output } = await start({ script: 'cat; echo end' });
    session.writeStdin(Buffer.from('lost\n'));
    await session.exited;
    expect(output().stdout).toBe('end\n');
  });

  test('a terminal has the size it is given', async () => {
    const { session, output } = await start({
      script: 'stty size; read x; stty size',
      tty: true,
      stdin: true,
    });
    await until('it prints', () => output().stdout.includes('\n'));
    session.resize(30, 100);
    session.writeStdin(Buffer.from('\r'));
    await session.closed;
    expect(output().stdout).toBe('24 80\r\n\r\n30 100\r\n');
  });

  test('a second client joins, and neither disturbs the other', async () => {
    const script = 'read x; echo "got $x"; read y; echo "got $y"';
    const { session, at, output } = await start({ script, stdin: true });
    expect(statSync(at.socket).mode & 0o777).toBe(0o600);
    const second = await attach(at.socket);
    const seen = collect(second);
    second.writeStdin(Buffer.from('one\n'));
    await until('both have seen it', () => output().stdout !== '' && seen().stdout !== '');
    second.close();
    session.writeStdin(Buffer.from('two\n'));
    await session.exited;
    expect([output().stdout, seen().stdout]).toEqual(['got one\ngot two\n', 'got one\n']);
  });

  test('a late client that reads nothing is dropped; the container goes on', async () => {
    const { session, at } = await start({ script: 'sleep 0.3; yes | head -c 3000000' });
    const stuck = await attach(at.socket);
    collect(stuck);
    stuck.pause();
    expect((await session.exited).exitCode).toBe(0);
    stuck.resume();
    await expect(stuck.exited).rejects.toMatchObject({ kind: 'unavailable' });
  });

  test('a launcher that pauses stops the output, not the record of the exit', async () => {
    const script = 'yes | head -c 3000000 & sleep 0.5; exit 6';
    const { session, at, output } = await start({ script });
    session.pause();
    await until('the exit is on record', () => stateOf(at).exitCode === 6);
    await until('everything else is gone', () => !existsSync(at.run));
    session.resume();
    expect((await session.exited).exitCode).toBe(6);
    expect(output().stdout.length).toBeLessThan(1_000_000);
  });
});

describe('log', () => {
  test('the log has Docker json-file lines, odd bytes included', async () => {
    const script = String.raw`printf 'a<b>&"\\\t\001\033[0m\r\n\377\303\050\342\200\250\360\237\230\200\nlast' ; printf 'err\n' >&2`;
    const { session, at } = await start({ script, log: KEEP });
    await session.closed;
    const lines = readFileSync(at.log, 'utf8').trimEnd().split('\n');
    const strip = (line: string) => line.replace(/,"time":"[^"]*"}$/, '');
    expect(lines.filter((line) => line.includes('"stdout"')).map(strip)).toEqual([
      String.raw`{"log":"a\u003cb\u003e\u0026\"\\\u0009\u0001\u001b[0m\r\n","stream":"stdout"`,
      `{"log":"\\ufffd\\ufffd(\\u2028\u{1f600}\\n","stream":"stdout"`,
      '{"log":"last","stream":"stdout"',
    ]);
    expect(logOf(at.log).find(({ stream }) => stream === 'stderr')?.log).toBe('err\n');
    expect(logOf(at.log).every(({ time }) => TIME.test(time))).toBe(true);
  });

  test('what has to be escaped is, wherever it stands in a line', async () => {
    const odd = ['"', '\\', '<', '>', '&', '\t', '\x01', '\x7f', '\u00e9', '\u2028', '\u{1f600}', '=', '!'];
    const lines = odd.flatMap((one) =>
      Array.from({ length: 36 }, (_, at) => `${'a'.repeat(at)}${one}${'b'.repeat(35 - at)}${one}\n`),
    );
    const octal = [...Buffer.from(lines.join(''))].map((byte) => `\\0${byte.toString(8)}`).join('');
    const { session, at } = await start({ script: `printf '%b' '${octal}'`, log: KEEP });
    await session.closed;
    expect(logOf(at.log).map(({ log }) => log)).toEqual(lines);
    const text = readFileSync(at.log, 'utf8');
    for (const raw of ['a<', 'a>', 'a&', 'a\t', 'a\x01', 'a\u2028']) expect(text).not.toContain(raw);
  });

  test('a line beyond 16 KiB is written in pieces', async () => {
    const { session, at } = await start({ script: 'printf "%040000d\\n" 1', log: KEEP });
    await session.closed;
    expect(logOf(at.log).map(({ log }) => log.length)).toEqual([16384, 16384, 7233]);
  });

  test('the log rotates at its size and keeps its number of files', async () => {
    const { session, at } = await start({ script: 'seq 1 20000', log: { maxBytes: 100_000, maxFiles: 3 } });
    await session.closed;
    const files = readdirSync(at.directory).filter((name) => name.startsWith('json.log'));
    expect(files.sort()).toEqual(['json.log', 'json.log.1', 'json.log.2']);
    const kept = ['.2', '.1', ''].flatMap((end) => logOf(`${at.log}${end}`).map(({ log }) => Number(log)));
    expect(kept.at(-1)).toBe(20000);
    expect(kept).toEqual(kept.map((_, index) => 20001 - kept.length + index));
    for (const name of ['json.log.1', 'json.log.2']) {
      expect(statSync(join(at.directory, name)).size).toBeLessThan(100_200);
    }
  });
});

describe('a full disk', () => {
  let disk: string;

  beforeAll(() => {
    disk = join(top, 'disk');
    mkdirSync(disk);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', disk]);
  });

  afterAll(() => execFileSync('umount', [disk]));

  test('the container goes on, the log keeps whole lines and comes back, the exit is on record', async () => {
    const at = place();
    const [log, state, filler] = ['json.log', 'state.json', 'filler'].map((name) => join(disk, name)) as [
      string,
      string,
      string,
    ];
    const script = 'yes 0123456789012345678901234567890123456789 | head -c 999990; read x; echo late';
    const monitor = { statePath: state, log: { path: log, ...KEEP } };
    const { session, output } = await start({ script, stdin: true, monitor }, at);
    await until('all is said', () => output().stdout.length === 999_990);
    expect(logOf(log).length).toBeGreaterThan(100);
    expect(logOf(log).length).toBeLessThan(1000);
    truncateSync(log, 0);
    await sleep(1100);
    writeFileSync(filler, Buffer.alloc(40_000));
    session.writeStdin(Buffer.from('\n'));
    expect((await session.exited).exitCode).toBe(0);
    expect(logOf(log).at(-1)?.log).toBe('late\n');
    expect(JSON.parse(readFileSync(state, 'utf8'))).toMatchObject({ pid: session.pid, exitCode: 0 });
    await session.closed;
  });
});

describe('published ports', () => {
  const listen = (protocol: 'tcp' | 'udp', port: number, targetPort: number): Op => ({
    op: 'listen',
    protocol,
    address: '127.0.0.1',
    port,
    targetAddress: '127.0.0.1',
    targetPort,
    what: `listen on ${port}`,
  });

  async function freePort(): Promise<number> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    await new Promise((resolve) => server.close(resolve));
    return port;
  }

  function echoServer(): Promise<{ server: Server; port: number }> {
    const server = createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket));
    return new Promise((resolve) => {
      server.listen(0, '127.0.0.1', () =>
        resolve({ server, port: (server.address() as { port: number }).port }),
      );
    });
  }

  function talk(port: number, bytes: Uint8Array): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const chunks: Buffer[] = [];
      const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
      socket.on('data', (chunk) => chunks.push(chunk));
      socket.on('end', () => resolve(Buffer.concat(chunks)));
      socket.on('error', reject);
      socket.end(bytes);
    });
  }

  test('TCP is spliced both ways, half-close kept, a dead target resets', async () => {
    const { server, port: target } = await echoServer();
    const port = await freePort();
    const { session } = await start({ script: 'sleep 60', prepare: [listen('tcp', port, target)] });
    const bytes = Buffer.alloc(3_000_000, 'tinyrun ');
    expect((await talk(port, bytes)).equals(bytes)).toBe(true);
    expect((await talk(port, Buffer.from('again'))).toString()).toBe('again');
    await new Promise((resolve) => server.close(resolve));
    await expect(talk(port, Buffer.from('lost'))).rejects.toMatchObject({ code: 'ECONNRESET' });
    process.kill(session.pid, 'SIGKILL');
    await session.exited;
    await expect(talk(port, Buffer.from('gone'))).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });

  test('a taken port is the op that failed', async () => {
    const { server, port } = await echoServer();
    const wish = { script: 'true', prepare: [listen('tcp', port, 1)] };
    await expect(start(wish)).rejects.toMatchObject({
      failure: { phase: 'prepare', opIndex: 0, errno: 'EADDRINUSE' },
    });
    await new Promise((resolve) => server.close(resolve));
  });

  test('UDP is forwarded, and answers find their client', async () => {
    const target = createSocket('udp4');
    target.on('message', (message, from) => target.send(`re:${message}`, from.port, from.address));
    await new Promise<void>((resolve) => target.bind(0, '127.0.0.1', resolve));
    const port = await freePort();
    const { session } = await start({
      script: 'sleep 60',
      prepare: [listen('udp', port, target.address().port)],
    });
    const ask = (text: string): Promise<string> =>
      new Promise((resolve) => {
        const socket = createSocket('udp4');
        socket.on('message', (message) => {
          socket.close();
          resolve(message.toString());
        });
        socket.send(text, port, '127.0.0.1');
      });
    expect(await Promise.all(['a', 'b', 'c'].map(ask))).toEqual(['re:a', 're:b', 're:c']);
    target.close();
    process.kill(session.pid, 'SIGKILL');
    await session.closed;
  });
});

describe('death of the monitor', () => {
  test('a killed monitor takes the container along, and recover() clears away', async () => {
    const at = place();
    const made = join(at.directory, 'made');
    const { session } = await start(
      {
        script: 'sleep 60',
        prepare: [{ op: 'mkdir', path: made, mode: 0o700, what: 'make made' }],
        cleanup: [{ op: 'rmdir', path: made, what: 'remove made' }],
      },
      at,
    );
    const { monitorPid } = stateOf(at);
    process.kill(monitorPid, 'SIGKILL');
    await expect(session.exited).rejects.toMatchObject({ kind: 'unavailable' });
    // Its new parent reaps it when it likes to.
    await until('the container is dead', () => /^$|Z/.test(stateLetter(session.pid)));
    expect(existsSync(made)).toBe(true);
    await recover(at.teardown);
    expect(readdirSync(at.directory)).toEqual(['state.json']);
    await recover(at.teardown);
  });

  test('signals that stop others do not stop it', async () => {
    const { session, at } = await start({ script: 'sleep 0.5; exit 4' });
    const { monitorPid } = stateOf(at);
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGPIPE'] as const)
      process.kill(monitorPid, signal);
    expect((await session.exited).exitCode).toBe(4);
  });
});

function stateLetter(pid: number): string {
  try {
    return /\) (\w)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1] ?? '';
  } catch {
    return '';
  }
}

describe('init', () => {
  testOfRelease('the reaper follows the program, reaps orphans and hands signals on', async () => {
    const script = `(sleep 0.1 &) ; trap 'echo term; exit 5' TERM; while true; do sleep 0.05; done`;
    const { session, output } = await start({ script, init: true });
    await sleep(400);
    expect(childStates(session.pid)).not.toContain('Z');
    process.kill(session.pid, 'SIGTERM');
    expect((await session.exited).exitCode).toBe(5);
    expect(output().stdout).toBe('term\n');
  });

  testOfRelease('the reaper ends as the program did', async () => {
    const { session } = await start({ script: 'kill -9 $$', init: true });
    expect(await session.exited).toMatchObject({ exitCode: 137 });
  });

  function childStates(pid: number): string {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ');
    return children.map((child) => stateLetter(Number(child))).join('');
  }
});

describe('cost', () => {
  testOfRelease('an idle monitor has less than 150 kB of its own, also after much output', async () => {
    const script = 'yes | head -c 1000000; echo done; sleep 60';
    const { session, at } = await start({ script, log: KEEP, stdio: 'detached' });
    const { monitorPid } = stateOf(at);
    await until('the output is through', () => readFileSync(at.log, 'utf8').includes('done'), 20_000);
    await sleep(1500);
    expect(pssOf(monitorPid)).toBeLessThan(150);
    process.kill(session.pid, 'SIGKILL');
    await session.closed;
  });
});
