import { execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { errorCode } from '../../src/errors.ts';
import { hostFunction } from '../../src/native/library.ts';
import {
  closeFd,
  netlink,
  openDirectory,
  openRoot,
  readInRoot,
  receive,
  removeTree,
  sendSignal,
  socketPair,
  spreadDirectories,
  statInRoot,
  watchSignals,
} from '../../src/native/syscalls.ts';
import { needing } from '../harness/requires.ts';

const test = needing('root');

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'tinyrun-native-'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const errnoOf = (act: () => unknown): string | undefined => {
  try {
    act();
  } catch (error) {
    return errorCode(error);
  }
  return undefined;
};

describe('readInRoot()', () => {
  let root: number;
  beforeAll(() => {
    const top = join(directory, 'image');
    mkdirSync(join(top, 'etc'), { recursive: true });
    writeFileSync(join(directory, 'secret'), 'of the host');
    writeFileSync(join(top, 'etc', 'real'), 'of the image');
    writeFileSync(join(top, 'secret'), 'of the image');
    writeFileSync(join(top, 'etc', 'huge'), '');
    truncateSync(join(top, 'etc', 'huge'), 2 ** 31);
    symlinkSync('/secret', join(top, 'etc', 'absolute'));
    symlinkSync('../../../../secret', join(top, 'etc', 'upwards'));
    symlinkSync(join(directory, 'secret'), join(top, 'etc', 'host'));
    symlinkSync('loop', join(top, 'etc', 'loop'));
    symlinkSync('/proc/self/root', join(top, 'etc', 'magic'));
    execFileSync('mkfifo', [join(top, 'etc', 'fifo')]);
    execFileSync('mknod', [join(top, 'etc', 'zero'), 'c', '1', '5']);
    root = openDirectory(top);
  });
  afterAll(() => closeFd(root));

  test('reads a file', () => {
    expect(Buffer.from(readInRoot(root, '/etc/real', 1024)).toString()).toBe('of the image');
    expect(statInRoot(root, 'etc/real')).toEqual({ type: 'file', mode: 0o644, uid: 0, gid: 0, size: 12 });
    expect(statInRoot(root, '/etc').type).toBe('directory');
  });

  test('follows links below the root only', () => {
    for (const name of ['absolute', 'upwards']) {
      expect(Buffer.from(readInRoot(root, `/etc/${name}`, 1024)).toString(), name).toBe('of the image');
    }
  });

  test('refuses what could hang, exhaust or escape', () => {
    const cases: Record<string, string> = {
      '/etc/fifo': 'EINVAL',
      '/etc/zero': 'EINVAL',
      '/etc': 'EISDIR',
      '/etc/huge': 'EFBIG',
      '/etc/host': 'ENOENT',
      '/etc/loop': 'ELOOP',
      '/etc/magic/etc/passwd': 'ENOENT',
      '/etc/none': 'ENOENT',
      '/etc/real/x': 'ENOTDIR',
      '/etc/real\0x': 'EINVAL',
    };
    for (const [path, errno] of Object.entries(cases)) {
      expect(
        errnoOf(() => readInRoot(root, path, 1024)),
        path,
      ).toBe(errno);
    }
  });

  test('takes a file as large as the bound, and no larger one', () => {
    expect(readInRoot(root, '/etc/real', 12).length).toBe(12);
    expect(errnoOf(() => readInRoot(root, '/etc/real', 11))).toBe('EFBIG');
  });

  test('reads /proc files, which have no size', () => {
    const proc = openDirectory('/proc/self');
    expect(readInRoot(proc, 'status', 65536).length).toBeGreaterThan(100);
    expect(errnoOf(() => readInRoot(proc, 'status', 100))).toBe('EFBIG');
    closeFd(proc);
  });
});

describe('openRoot()', () => {
  test('shows layers as one tree, the first on top, mounted nowhere', () => {
    const layers = ['top', 'bottom'].map((name) => join(directory, name));
    for (const layer of layers) mkdirSync(layer);
    writeFileSync(join(directory, 'top', 'both'), 'top');
    writeFileSync(join(directory, 'bottom', 'both'), 'bottom');
    writeFileSync(join(directory, 'bottom', 'gone'), '');
    writeFileSync(join(directory, 'bottom', 'kept'), 'kept');
    execFileSync('mknod', [join(directory, 'top', 'gone'), 'c', '0', '0']);
    const root = openRoot(layers);
    expect(Buffer.from(readInRoot(root, 'both', 10)).toString()).toBe('top');
    expect(Buffer.from(readInRoot(root, 'kept', 10)).toString()).toBe('kept');
    expect(errnoOf(() => readInRoot(root, 'gone', 10))).toBe('ENOENT');
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(directory);
    closeFd(root);
  });
});

describe('removeTree()', () => {
  test('removes a tree of any depth and follows no link', () => {
    const tree = join(directory, 'tree');
    mkdirSync(join(tree, ...Array.from({ length: 120 }, (_, level) => `d${level}`)), { recursive: true });
    for (let index = 0; index < 100; index += 1) {
      mkdirSync(join(tree, `many${index}`));
      writeFileSync(join(tree, `many${index}`, 'file'), '');
    }
    const precious = join(directory, 'precious');
    mkdirSync(precious);
    writeFileSync(join(precious, 'file'), '');
    symlinkSync(precious, join(tree, 'link'));
    symlinkSync(precious, join(directory, 'outer'));
    removeTree(tree);
    removeTree(join(directory, 'outer'));
    expect([existsSync(tree), existsSync(join(directory, 'outer'))]).toEqual([false, false]);
    expect(existsSync(join(precious, 'file'))).toBe(true);
    expect(errnoOf(() => removeTree(tree))).toBe('ENOENT');
  });

  test('does not enter what is mounted there', () => {
    const tree = join(directory, 'with-mount');
    mkdirSync(join(tree, 'sub', 'mount'), { recursive: true });
    mkdirSync(join(directory, 'mounted'));
    writeFileSync(join(directory, 'mounted', 'file'), '');
    // Of the same file system: a look at the device number would not tell.
    execFileSync('mount', ['--bind', join(directory, 'mounted'), join(tree, 'sub', 'mount')]);
    try {
      expect(errnoOf(() => removeTree(tree))).toBe('EBUSY');
      expect(existsSync(join(directory, 'mounted', 'file'))).toBe(true);
    } finally {
      execFileSync('umount', [join(tree, 'sub', 'mount')]);
    }
    removeTree(tree);
  });
});

describe('sendSignal()', () => {
  test('signals a process only if it is the one that was meant', async () => {
    const child = spawn('sleep', ['60']);
    const pid = child.pid ?? 0;
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const startTime = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]);
    expect(sendSignal({ pid, startTime: startTime + 1 }, 9)).toBe(false);
    const ended = new Promise((resolve) => child.on('exit', (_, signal) => resolve(signal)));
    expect(sendSignal({ pid, startTime }, 15)).toBe(true);
    expect(await ended).toBe('SIGTERM');
    expect(sendSignal({ pid, startTime }, 15)).toBe(false);
  });
});

/** struct nlmsghdr and a body. */
function message(type: number, flags: number, sequence: number, body: number): Buffer {
  const bytes = Buffer.alloc(16 + body);
  bytes.writeUInt32LE(bytes.length, 0);
  bytes.writeUInt16LE(type, 4);
  bytes.writeUInt16LE(flags, 6);
  bytes.writeUInt32LE(sequence, 8);
  return bytes;
}

describe('receive()', () => {
  const SIGUSR2 = 12;

  test('gives what came, then the end', () => {
    const [ours, theirs] = socketPair();
    const out = new Uint8Array(8);
    writeSync(theirs, 'hello');
    expect(receive(ours, out)).toEqual({ length: 5 });
    expect(Buffer.from(out.subarray(0, 5)).toString()).toBe('hello');
    closeFd(theirs);
    expect(receive(ours, out)).toEqual({ length: 0 });
    closeFd(ours);
  });

  test('tells of the watched signals in their order, and before the bytes', () => {
    const [ours, theirs] = socketPair();
    try {
      watchSignals([SIGUSR2, 1]);
      process.kill(process.pid, 'SIGHUP');
      process.kill(process.pid, 'SIGUSR2');
      writeSync(theirs, 'x');
      watchSignals([SIGUSR2, 1]);
      const got = [1, 2, 3].map(() => receive(ours, new Uint8Array(8)));
      expect(got).toEqual([{ signal: 1 }, { signal: SIGUSR2 }, { length: 1 }]);
    } finally {
      watchSignals([]);
      closeFd(ours);
      closeFd(theirs);
    }
  });

  test('gives the signals back to Node', async () => {
    watchSignals([SIGUSR2]);
    watchSignals([]);
    const heard = new Promise((resolve) => process.once('SIGUSR2', resolve));
    process.kill(process.pid, 'SIGUSR2');
    expect(await heard).toBe('SIGUSR2');
  });
});

describe('native/addon.c', () => {
  test('refuses what it cannot pass on', () => {
    expect(() => openDirectory(`/${'x'.repeat(40_000)}`)).toThrow(TypeError);
    expect(errnoOf(() => openDirectory(`/${'x'.repeat(30_000)}`))).toBe('ENAMETOOLONG');
    expect(() => hostFunction('int tinyrun_nothing(void)')).toThrow('Cannot find the native code');
    expect(() => hostFunction('int printf(void)')).toThrow('without its name');
  });
});

describe('netlink()', () => {
  const [RTM_DELLINK, RTM_GETLINK, REQUEST, ACK, DUMP] = [17, 18, 1, 4, 0x300];

  test('gives all replies of a dump', () => {
    const replies = netlink('route', message(RTM_GETLINK, REQUEST | DUMP, 7, 16));
    expect(Buffer.from(replies).includes('lo\0')).toBe(true);
  });

  test('reports the first error of several messages', () => {
    const wrong = message(RTM_DELLINK, REQUEST | ACK, 1, 16);
    wrong.writeInt32LE(0x7ffffff0, 20); // an interface index that is not there
    const both = Buffer.concat([wrong, message(RTM_GETLINK, REQUEST | DUMP, 2, 16)]);
    expect(errnoOf(() => netlink('route', both))).toBe('ENODEV');
  });

  test('refuses bytes that are no messages', () => {
    expect(errnoOf(() => netlink('route', Uint8Array.of(1, 2, 3)))).toBe('EINVAL');
    expect(errnoOf(() => netlink('route', message(RTM_GETLINK, REQUEST, 1, 16).fill(0xff, 0, 4)))).toBe(
      'EINVAL',
    );
  });
});

describe('spreadDirectories()', () => {
  test('sets the flag where the file system has it, and says whether', () => {
    const path = join(directory, 'spread');
    mkdirSync(path);
    const isTold = spreadDirectories(path);
    const flags = spawnSync('lsattr', ['-d', path], { encoding: 'utf8' }).stdout.split(' ')[0] ?? '';
    expect(flags.includes('T')).toBe(isTold);
    expect(spreadDirectories(path)).toBe(isTold);
    expect(spreadDirectories(join(directory, 'missing'))).toBe(false);
  });
});
