import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LaunchError, launch, type Session } from '../../src/native/launch.ts';
import { useNativeDirectory } from '../../src/native/library.ts';
import type { LaunchPlan, Op } from '../../src/native/plan.ts';

type Bare<T> = T extends unknown ? Omit<T, 'what'> : never;

/** An op whose sentence is its name. */
export function op(bare: Bare<Op>): Op {
  return { what: bare.op, ...bare } as Op;
}

/** What this process may give; some machines take CAP_SYS_RESOURCE from root. */
export const ALL_CAPS = BigInt(
  `0x${/CapPrm:\t(\w+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? 0}`,
);
export const DOCKER_CAPS = 0xa80425fbn;

export interface Program {
  readonly argv: readonly string[];
  /** Default: /bin/<argv[0]>. */
  readonly paths?: readonly string[];
  readonly tty?: boolean;
  /** After the root is mounted; after the pivot; right before the exec. */
  readonly early?: readonly Op[];
  readonly inside?: readonly Op[];
  readonly late?: readonly Op[];
  readonly caps?: bigint;
  readonly plan?: Partial<LaunchPlan>;
}

/** A script for the image's shell. */
export const shell = (script: string, more: Partial<Program> = {}): Program => ({
  argv: ['sh', '-c', script],
  ...more,
});

export interface Result {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A directory of layers and containers, run by hand-made plans: no engine, no images. */
export interface Workbench {
  readonly directory: string;
  /** A file outside every container that nothing may change. */
  readonly canary: string;
  /** The busybox layer and what a test puts above it. */
  readonly layers: string[];
  /** Makes a layer directory for a test. */
  layer(name: string): string;
  /** With one more layer on top of the image for the time of `act`. */
  withLayer<T>(fill: (layer: string) => void, act: () => Promise<T>): Promise<T>;
  plan(program: Program): LaunchPlan;
  start(program: Program): Promise<Session>;
  /** Runs it to its end and collects what it says. */
  run(program: Program): Promise<Result>;
  /** Runs what must fail: `child mount ENOENT`. */
  failure(program: Program): Promise<string>;
  dispose(): void;
}

const APPLETS =
  'sh ls cat mount id env ps sleep echo stat tty readlink grep true kill head touch mkdir ln wc od'.split(
    ' ',
  );

export function makeWorkbench(): Workbench {
  useNativeDirectory(process.env.TINYRUN_NATIVE);
  const directory = mkdtempSync(join(tmpdir(), 'tinyrun-plan-'));
  const canary = join(directory, 'canary');
  writeFileSync(canary, 'untouched');
  const layer = (name: string): string => {
    const path = join(directory, 'layers', name);
    mkdirSync(path, { recursive: true });
    return path;
  };
  const base = layer('base');
  for (const name of ['bin', 'proc', 'sys', 'dev', 'etc', 'tmp']) mkdirSync(join(base, name));
  copyFileSync('/bin/busybox', join(base, 'bin', 'busybox'));
  for (const name of APPLETS) symlinkSync('busybox', join(base, 'bin', name));
  writeFileSync(join(base, 'etc', 'passwd'), 'root:x:0:0::/:/bin/sh\n');
  const layers = [base];
  let count = 0;

  const plan = (program: Program): LaunchPlan => {
    count += 1;
    const own = join(directory, `c${count}`);
    for (const name of ['upper', 'work', 'rootfs']) mkdirSync(join(own, name), { recursive: true });
    return {
      monitor: {
        id: String(count).padStart(64, '0'),
        statePath: join(own, 'state.json'),
        tty: program.tty ?? false,
        openStdin: false,
        stdinOnce: false,
      },
      namespaces: ['mount', 'pid', 'uts', 'ipc', 'network'],
      prepare: [],
      child: childOps(program, layers, own),
      connect: [],
      release: [],
      ...program.plan,
      cleanup: [
        ...['upper', 'work', 'rootfs'].map((name) => op({ op: 'removeTree', path: join(own, name) })),
        ...(program.plan?.cleanup ?? []),
      ],
    };
  };
  const start = (program: Program): Promise<Session> =>
    launch({ plan: plan(program), lockPath: join(directory, `c${count}`, 'run', 'lock'), stdio: 'attach' });

  return {
    directory,
    canary,
    layers,
    layer,
    async withLayer(fill, act) {
      const top = layer(`extra${Math.random()}`);
      fill(top);
      layers.unshift(top);
      try {
        return await act();
      } finally {
        layers.shift();
      }
    },
    plan,
    start,
    async run(program) {
      const session = await start(program);
      const said = { stdout: '', stderr: '' };
      session.onOutput((stream, chunk) => {
        said[stream] += Buffer.from(chunk).toString();
      });
      const { exitCode } = await session.exited;
      await session.closed;
      if (existsSync(join(directory, `c${count}`, 'upper')))
        throw new Error('cleanup left the upper directory');
      return { code: exitCode, ...said };
    },
    async failure(program) {
      try {
        (await start(program)).close();
      } catch (error) {
        if (!(error instanceof LaunchError)) throw error;
        return `${error.failure.phase} ${error.what} ${error.failure.errno}`;
      }
      throw new Error('it started');
    },
    dispose: () => rmSync(directory, { recursive: true, force: true }),
  };
}

function childOps(program: Program, layers: readonly string[], own: string): readonly Op[] {
  const caps = program.caps ?? DOCKER_CAPS;
  const node = (name: string, major: number, minor: number): Op =>
    op({ op: 'mknod', path: `/dev/${name}`, type: 'c', mode: 0o666, major, minor, uid: 0, gid: 0 });
  return [
    op({ op: 'await', tag: 'connected' }),
    op({ op: 'rootPropagation', propagation: 'rslave' }),
    op({
      op: 'overlay',
      lower: layers,
      upper: join(own, 'upper'),
      work: join(own, 'work'),
      options: [],
      target: join(own, 'rootfs'),
    }),
    ...(program.early ?? []),
    op({
      op: 'mount',
      fstype: 'proc',
      source: 'proc',
      target: '/proc',
      flags: ['nosuid', 'nodev', 'noexec'],
      data: '',
    }),
    op({
      op: 'mount',
      fstype: 'tmpfs',
      source: 'tmpfs',
      target: '/dev',
      flags: ['nosuid'],
      data: 'mode=755,size=64k',
    }),
    op({
      op: 'mount',
      fstype: 'devpts',
      source: 'devpts',
      target: '/dev/pts',
      flags: ['nosuid', 'noexec'],
      data: 'newinstance,ptmxmode=0666,mode=0620,gid=5',
    }),
    node('null', 1, 3),
    node('zero', 1, 5),
    ...(program.tty ? [op({ op: 'console', rows: 24, columns: 80 })] : []),
    op({ op: 'pivotRoot' }),
    ...(program.inside ?? []),
    op({ op: 'boundingCaps', mask: caps }),
    op({ op: 'cwd', path: '/', create: false }),
    op({ op: 'user', uid: 0, gid: 0, groups: [], keepCaps: true }),
    op({ op: 'caps', effective: caps, permitted: caps, inheritable: 0n, ambient: 0n }),
    ...(program.late ?? []),
    op({
      op: 'exec',
      paths: program.paths ?? [`/bin/${program.argv[0]}`],
      argv: program.argv,
      env: ['PATH=/bin'],
    }),
  ];
}
