import { describe, expect, test } from 'vitest';
import { SyscallError } from '../../../src/errors.ts';
import { diagnose } from '../../../src/runtime/diagnose.ts';
import { inspectExecutable } from '../../../src/runtime/executable.ts';
import type { ImageFiles } from '../../../src/runtime/image-files.ts';

interface Entry {
  readonly type?: 'file' | 'directory' | 'other';
  readonly mode?: number;
  readonly bytes?: Uint8Array | string;
}

function imageOf(entries: Readonly<Record<string, Entry>>): ImageFiles {
  const entryAt = (path: string): Entry => {
    const entry = entries[path];
    if (entry === undefined) throw new SyscallError('openat2', path, 'ENOENT');
    return entry;
  };
  return {
    stat(path) {
      const { type = 'file', mode = 0o755 } = entryAt(path);
      return { type, mode, uid: 0, gid: 0, size: 1 };
    },
    read(path) {
      const { bytes = '' } = entryAt(path);
      return typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes;
    },
  };
}

/** A minimal ELF file: header, one program header, the interpreter's path. */
function elf(machine: number, interpreter = '', options: { wide?: boolean; kind?: number } = {}): Uint8Array {
  const { wide = true, kind = 2 } = options;
  const [header, entry] = wide ? [64, 56] : [52, 32];
  const path = Buffer.from(`${interpreter}\0`, 'latin1');
  const bytes = new Uint8Array(header + entry + path.length);
  const view = new DataView(bytes.buffer);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, wide ? 2 : 1, 1, 1]);
  view.setUint16(16, kind, true);
  view.setUint16(18, machine, true);
  if (wide) view.setBigUint64(32, BigInt(header), true);
  else view.setUint32(28, header, true);
  view.setUint16(wide ? 54 : 42, entry, true);
  view.setUint16(wide ? 56 : 44, interpreter === '' ? 0 : 1, true);
  view.setUint32(header, 3, true);
  if (wide) {
    view.setBigUint64(header + 8, BigInt(header + entry), true);
    view.setBigUint64(header + 32, BigInt(path.length), true);
  } else {
    view.setUint32(header + 4, header + entry, true);
    view.setUint32(header + 16, path.length, true);
  }
  bytes.set(path, header + entry);
  return bytes;
}

const GLIBC = '/lib64/ld-linux-x86-64.so.2';
const MUSL = '/lib/ld-musl-x86_64.so.1';
const shell = { bytes: elf(62, MUSL) };

function ask(
  argv0: string,
  errno: string,
  entries: Readonly<Record<string, Entry>>,
  paths?: readonly string[],
) {
  const path = paths?.[0] ?? argv0;
  return diagnose(
    { rootFd: -1, argv0, path, errno, hostArch: 'amd64', ...(paths === undefined ? {} : { paths }) },
    imageOf(entries),
  );
}

describe('diagnose() of what is not there', () => {
  test.each<[string, string, readonly string[] | undefined, string, number]>([
    ['foo', 'ENOENT', ['/bin/foo', '/usr/bin/foo'], 'exec: "foo": executable file not found in $PATH', 127],
    ['foo', 'ENOENT', undefined, 'exec: "foo": executable file not found in $PATH', 127],
    ['/foo', 'ENOENT', undefined, 'exec: "/foo": stat /foo: no such file or directory', 127],
    ['./foo', 'ENOENT', ['/w/foo'], 'exec: "./foo": stat /w/foo: no such file or directory', 127],
    ['/foo', 'EACCES', undefined, 'exec: "/foo": stat /foo: permission denied', 126],
    ['/foo', 'ENOEXEC', undefined, 'exec: "/foo": exec format error', 126],
  ])('%s with %s', (argv0, errno, paths, message, exitCode) => {
    expect(ask(argv0, errno, {}, paths)).toEqual({ message, exitCode });
  });

  test('and whose directory is a file', () => {
    const files: ImageFiles = {
      stat(path) {
        throw new SyscallError('openat2', path, 'ENOTDIR');
      },
      read: () => new Uint8Array(),
    };
    const input = {
      rootFd: -1,
      argv0: '/etc/passwd/x',
      path: '/etc/passwd/x',
      errno: 'ENOTDIR',
      hostArch: 'amd64',
    };
    expect(diagnose(input, files)).toEqual({
      message: 'exec: "/etc/passwd/x": stat /etc/passwd/x: not a directory',
      exitCode: 127,
    });
  });
});

describe('diagnose() of what cannot be run', () => {
  test.each<[string, string, Entry, string, number]>([
    ['a directory', 'EACCES', { type: 'directory' }, 'is a directory: permission denied', 126],
    ['a device', 'EACCES', { type: 'other' }, 'permission denied: it is not a regular file', 126],
    ['no execute bit', 'EACCES', { mode: 0o644 }, 'permission denied: "/x" is not executable', 126],
    ['denied for other reasons', 'EACCES', { mode: 0o700, ...shell }, 'permission denied', 126],
    ['an empty file', 'ENOEXEC', { bytes: '' }, 'exec format error: "/x" is empty', 126],
    [
      'text',
      'ENOEXEC',
      { bytes: 'echo hello\n' },
      'exec format error: "/x" is a text file without "#!"',
      126,
    ],
    [
      'binary nonsense',
      'ENOEXEC',
      { bytes: '\x01\x02\x00' },
      'neither an ELF program nor a script with "#!"',
      126,
    ],
    ['a Windows program', 'ENOEXEC', { bytes: 'MZ\x90\x00' }, '"/x" is a Windows program', 126],
    [
      'a byte-order mark',
      'ENOEXEC',
      { bytes: '\xef\xbb\xbf#!/bin/sh\n' },
      'begins with a byte-order mark',
      126,
    ],
    [
      'another architecture',
      'ENOEXEC',
      { bytes: elf(183) },
      'it is built for arm64, this host is amd64',
      126,
    ],
    [
      '32 bits, refused',
      'ENOEXEC',
      { bytes: elf(3, '', { wide: false }) },
      'it is built for 386, this host is amd64',
      126,
    ],
    [
      'an object file',
      'ENOEXEC',
      { bytes: elf(62, '', { kind: 1 }) },
      'it is an object file, not a program',
      126,
    ],
    ['a truncated program', 'ENOEXEC', { bytes: elf(62).subarray(0, 20) }, 'neither an ELF program nor', 126],
    ['a shebang without a name', 'ENOEXEC', { bytes: '#! \n' }, 'names no interpreter', 126],
    ['too many arguments', 'E2BIG', shell, 'argument list too long', 126],
    ['busy', 'ETXTBSY', { bytes: elf(62) }, 'text file busy', 126],
    ['unheard of', 'EWHAT', { bytes: elf(62) }, 'EWHAT', 126],
  ])('%s', (_name, errno, entry, message, exitCode) => {
    const diagnosis = ask('/x', errno, { '/x': entry, [MUSL]: {} });
    expect(diagnosis.message).toContain('exec: "/x": ');
    expect(diagnosis.message).toContain(message);
    expect(diagnosis.exitCode).toBe(exitCode);
  });
});

describe('diagnose() of what is missing around it', () => {
  test('the interpreter of a script', () => {
    const diagnosis = ask('/run.sh', 'ENOENT', {
      '/run.sh': { bytes: '#!/bin/bash -e\n' },
      '/bin/sh': shell,
    });
    expect(diagnosis).toEqual({
      message:
        'exec: "/run.sh": no such file or directory: the interpreter "/bin/bash" that "/run.sh" names in its first line is not in the image',
      hint: 'Install bash in the image, or begin the script with "#!/bin/sh" if it does without bash',
      exitCode: 127,
    });
  });

  test('the interpreter, which is elsewhere', () => {
    const entries = { '/s': { bytes: '#!/usr/bin/python3\n' }, '/usr/local/bin/python3': shell };
    expect(ask('/s', 'ENOENT', entries).hint).toBe(
      'The image has "/usr/local/bin/python3": name that in the first line',
    );
    expect(ask('/s', 'ENOENT', { '/s': { bytes: '#!/usr/bin/python3\n' } }).hint).toBe(
      'Install python3 in the image',
    );
  });

  test('a Unix line end', () => {
    const diagnosis = ask('/s', 'ENOENT', { '/s': { bytes: '#!/bin/sh\r\necho\r\n' }, '/bin/sh': shell });
    expect(diagnosis.message).toContain('ends in CRLF, which makes the carriage return part of "/bin/sh"');
    expect(diagnosis.hint).toContain('dos2unix');
    expect(diagnosis.exitCode).toBe(127);
  });

  test.each<[string, Record<string, Entry>, string]>([
    ['in an image with musl', { [MUSL]: {} }, 'The image has musl (Alpine), the program is built for glibc'],
    ['in an image without anything', {}, 'The image has no C library'],
  ])('the loader, %s', (_name, entries, hint) => {
    const diagnosis = ask('/app', 'ENOENT', { '/app': { bytes: elf(62, GLIBC, { kind: 3 }) }, ...entries });
    expect(diagnosis.message).toBe(
      `exec: "/app": no such file or directory: it needs the loader "${GLIBC}", which is not in the image`,
    );
    expect(diagnosis.hint).toContain(hint);
    expect(diagnosis.exitCode).toBe(127);
  });

  test('the loader of a musl program in an image with glibc', () => {
    const diagnosis = ask('/app', 'ENOENT', { '/app': { bytes: elf(62, MUSL) }, [GLIBC]: {} });
    expect(diagnosis.hint).toContain('The image has glibc');
  });

  test('the loader of a 32-bit program', () => {
    const diagnosis = ask('/app', 'ENOENT', {
      '/app': { bytes: elf(3, '/lib/ld-linux.so.2', { wide: false }) },
    });
    expect(diagnosis.message).toContain('it needs the loader "/lib/ld-linux.so.2"');
  });

  test('the loader of the interpreter', () => {
    const diagnosis = ask('/s', 'ENOENT', {
      '/s': { bytes: '#!/bin/sh\n' },
      '/bin/sh': { bytes: elf(62, GLIBC) },
    });
    expect(diagnosis.message).toContain(`the interpreter "/bin/sh" of "/s" needs the loader "${GLIBC}"`);
  });

  test('of a program found in PATH', () => {
    const paths = ['/usr/bin/tool', '/bin/tool'];
    const diagnosis = ask('tool', 'ENOENT', { '/bin/tool': { bytes: '#!/bin/none\n' } }, paths);
    expect(diagnosis.message).toContain('the interpreter "/bin/none" that "/bin/tool" names');
  });

  test('of a program somewhere in the default PATH, where nobody says what was tried', () => {
    const entries = { '/usr/local/bin/tool': { bytes: '#!/bin/none\n' } };
    const input = {
      rootFd: -1,
      argv0: 'tool',
      path: '/usr/local/sbin/tool',
      errno: 'ENOENT',
      hostArch: 'amd64',
    };
    expect(diagnose(input, imageOf(entries)).message).toContain(
      '"/usr/local/bin/tool" names in its first line',
    );
  });

  test('an execute bit of the interpreter', () => {
    const entries = { '/s': { bytes: '#!/bin/sh\n' }, '/bin/sh': { mode: 0o644 } };
    expect(ask('/s', 'EACCES', entries).message).toBe(
      'exec: "/s": permission denied: the interpreter "/bin/sh" of "/s" is not executable',
    );
  });
});

describe('inspectExecutable()', () => {
  test.each([
    ['#!/bin/sh\n', { type: 'script', interpreter: '/bin/sh', crlf: false }],
    [
      '#! /usr/bin/env  node --x y \n',
      { type: 'script', interpreter: '/usr/bin/env', argument: 'node --x y', crlf: false },
    ],
    ['#!/bin/sh', { type: 'script', interpreter: '/bin/sh', crlf: false }],
    ['#!/bin/sh\r\n', { type: 'script', interpreter: '/bin/sh\r', crlf: true }],
    ['#!/bin/sh -e\r\n', { type: 'script', interpreter: '/bin/sh', argument: '-e\r', crlf: true }],
    ['', { type: 'empty' }],
    ['hello', { type: 'text' }],
  ])('%j', (text, expected) => {
    expect(inspectExecutable(Buffer.from(text, 'latin1'))).toEqual(expected);
  });

  test('survives every truncation and hostile offsets', () => {
    const whole = elf(62, GLIBC);
    for (let length = 0; length <= whole.length; length += 1) {
      expect(() => inspectExecutable(whole.slice(0, length))).not.toThrow();
    }
    for (let position = 4; position < 120; position += 1) {
      const broken = whole.slice();
      broken.fill(0xff, position, position + 8);
      expect(() => inspectExecutable(broken)).not.toThrow();
    }
  });
});
