import type { Dirent, Stats } from 'node:fs';
import { describe, expect, test } from 'vitest';
import {
  type DeviceHost,
  deviceNumbers,
  hostDevices,
  parseDeviceRule,
  resolveDevices,
} from '../../../src/runtime/devices.ts';

interface Node {
  readonly type: 'c' | 'b' | 'd' | 'f' | 'l';
  readonly rdev?: number;
  readonly mode?: number;
  readonly gid?: number;
}

const NODES: Readonly<Record<string, Node>> = {
  '/dev/null': { type: 'c', rdev: 0x103, mode: 0o20666 },
  '/dev/sda': { type: 'b', rdev: 0x800, mode: 0o60660, gid: 6 },
  '/dev/console': { type: 'c', rdev: 0x501 },
  '/dev/log': { type: 'f' },
  '/dev/pts': { type: 'd' },
  '/dev/pts/0': { type: 'c', rdev: 0x8800 },
  '/dev/snd': { type: 'd' },
  '/dev/snd/seq': { type: 'c', rdev: 0x7401, mode: 0o20660 },
  '/dev/snd/timer': { type: 'c', rdev: 0x7421, mode: 0o20660 },
  '/dev/gone': { type: 'c' },
  '/etc/passwd': { type: 'f' },
};

const host: DeviceHost = {
  stat(path) {
    const node = NODES[path];
    if (node === undefined || path === '/dev/gone') {
      throw Object.assign(new Error(`no ${path}`), { code: 'ENOENT' });
    }
    return {
      ...kind(node.type),
      rdev: node.rdev ?? 0,
      mode: node.mode ?? 0,
      uid: 0,
      gid: node.gid ?? 0,
    } as Stats;
  },
  list: (path) =>
    Object.entries(NODES)
      .filter(([name]) => name.startsWith(`${path}/`) && !name.slice(path.length + 1).includes('/'))
      .map(([name, node]) => ({ name: name.slice(path.length + 1), ...kind(node.type) }) as Dirent),
};

function kind(type: Node['type']) {
  return {
    isDirectory: () => type === 'd',
    isCharacterDevice: () => type === 'c',
    isBlockDevice: () => type === 'b',
  };
}

describe('resolveDevices()', () => {
  test('makes a node and allows what was asked', () => {
    expect(resolveDevices([{ source: '/dev/sda', target: '/dev/xvda', access: 'r' }], host)).toEqual({
      devices: [{ type: 'b', path: '/dev/xvda', major: 8, minor: 0, fileMode: 0o660, uid: 0, gid: 6 }],
      rules: [{ allow: true, type: 'b', major: 8, minor: 0, access: 'r' }],
    });
  });

  test('takes a directory for all in it', () => {
    const { devices, rules } = resolveDevices(
      [{ source: '/dev/snd', target: '/dev/sound', access: '' }],
      host,
    );
    expect(devices.map((device) => device.path)).toEqual(['/dev/sound/seq', '/dev/sound/timer']);
    expect(rules.map((rule) => [rule.major, rule.minor, rule.access])).toEqual([
      [116, 1, 'rwm'],
      [116, 33, 'rwm'],
    ]);
  });

  test.each([
    ['/dev/none', 'rwm', 'custom device "/dev/none": no such file or directory'],
    ['/etc/passwd', 'rwm', 'custom device "/etc/passwd": not a device node'],
    ['/dev/null', 'rx', 'invalid device mode: rx'],
  ])('refuses %s with %s', (source, access, message) => {
    expect(() => resolveDevices([{ source, target: source, access }], host)).toThrow(message);
  });
});

test('hostDevices() leaves out what every container has of its own, and what is gone', () => {
  expect(hostDevices(host).map((device) => device.path)).toEqual([
    '/dev/null',
    '/dev/sda',
    '/dev/snd/seq',
    '/dev/snd/timer',
  ]);
});

test.each([
  [0x103, 1, 3],
  [0x8800, 136, 0],
  [0x10fd05, 253, 261],
  [0xfff00000, 0, 0xfff00],
  [2 ** 32 * 0x1000 + 0x100, 0x1001, 0],
])('deviceNumbers() of 0x%x', (rdev, major, minor) => {
  expect(deviceNumbers(rdev)).toEqual({ major, minor });
});

describe('parseDeviceRule()', () => {
  test.each([
    ['c 1:3 mr', { allow: true, type: 'c', major: 1, minor: 3, access: 'mr' }],
    ['b *:* rwm', { allow: true, type: 'b', major: -1, minor: -1, access: 'rwm' }],
    ['a 7:* rwm', { allow: true, type: 'a', major: 7, minor: -1, access: 'rwm' }],
  ])('%s', (text, rule) => {
    expect(parseDeviceRule(text)).toEqual(rule);
  });

  test.each(['', 'c 1:3', 'c 1:3 x', 'd 1:3 r', 'c 1 3 r', 'c 1:3 rwmr', 'c 1:3 r\na *:* rwm', 'c -1:3 r'])(
    'refuses %j',
    (text) => {
      expect(() => parseDeviceRule(text)).toThrow(`invalid device cgroup rule format: '${text}'`);
    },
  );
});
