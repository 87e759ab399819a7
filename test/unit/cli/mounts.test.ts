import { expect, test } from 'vitest';
import { parseMount, parseTmpfs, parseVolume, parseVolumesFrom } from '../../../src/cli/mounts.ts';

const place = { cwd: '/home/me' };
const bind = (more: object) => ({
  type: 'bind',
  source: '/src',
  target: '/dst',
  readonly: false,
  recursive: true,
  createSource: true,
  options: [],
  ...more,
});

test.each([
  ['/src:/dst', bind({})],
  ['/src:/dst:ro', bind({ readonly: true })],
  ['/src:/dst:rw,z', bind({})],
  ['/src:/dst:ro,rslave', bind({ readonly: true, propagation: 'rslave' })],
  ['/src:/dst/', bind({})],
  ['./data:/dst', bind({ source: '/home/me/data' })],
  ['../x:/dst', bind({ source: '/home/x' })],
  ['.:/dst', bind({ source: '/home/me' })],
  ['/src:/dst:noexec', bind({ options: ['noexec'] })],
])('parseVolume() reads %s', (text, expected) => {
  expect(parseVolume(text, place)).toEqual(expected);
});

const volume = (more: object) => ({
  type: 'volume',
  target: '/dst',
  readonly: false,
  noCopy: false,
  options: [],
  ...more,
});

test.each([
  ['data:/dst', volume({ name: 'data' })],
  ['data:/dst:ro,nocopy', volume({ name: 'data', readonly: true, noCopy: true })],
  ['/dst', volume({})],
  ['data:/dst:noexec', volume({ name: 'data', options: ['noexec'] })],
])('parseVolume() reads the volume %s', (text, expected) => {
  expect(parseVolume(text, place)).toEqual(expected);
});

test.each([
  [
    'type=volume,src=data,dst=/dst,ro,volume-nocopy',
    volume({ name: 'data', readonly: true, noCopy: true, labels: {}, driverOptions: {} }),
  ],
  ['target=/dst', volume({ labels: {}, driverOptions: {} })],
  [
    'type=volume,src=data,dst=/dst,volume-label=a=1,volume-label=b=2,volume-opt=type=none,"volume-opt=o=bind,ro"',
    volume({
      name: 'data',
      labels: { a: '1', b: '2' },
      driverOptions: { type: 'none', o: 'bind,ro' },
    }),
  ],
])('parseMount() reads the volume %s', (text, expected) => {
  expect(parseMount(text, place)).toEqual(expected);
});

test.each([
  ['web', { container: 'web', readonly: false }],
  ['web:ro', { container: 'web', readonly: true }],
  ['web:z', { container: 'web', readonly: false }],
])('parseVolumesFrom() reads %s', (text, expected) => {
  expect(parseVolumesFrom(text)).toEqual(expected);
});

test('parseVolumesFrom() refuses another mode', () => {
  expect(() => parseVolumesFrom('web:shared')).toThrow('invalid mode for volumes-from: shared');
});

test.each([
  ['da/ta:/dst', 'includes invalid characters for a local volume name'],
  ['data:/dst:rslave', 'invalid mode: rslave'],
  ['/src:dst', 'mount path must be absolute'],
  ['/src:/', "destination can't be '/'"],
  ['/src:/dst:bogus', 'invalid mode: bogus'],
  ['/a:/b:ro:rw', 'invalid spec'],
  [':/dst', 'empty section between colons'],
])('parseVolume() refuses %s', (text, message) => {
  expect(() => parseVolume(text, place)).toThrow(message);
});

test.each([
  ['type=bind,source=/src,target=/dst', bind({ createSource: false })],
  ['type=bind,src=/src,dst=/dst,readonly', bind({ createSource: false, readonly: true })],
  ['type=bind,src=/src,destination=/dst,ro=false', bind({ createSource: false })],
  [
    'type=bind,src=/src,target=/dst,bind-propagation=rshared',
    bind({ createSource: false, propagation: 'rshared' }),
  ],
  ['type=bind,src=/src,target=/dst,bind-recursive=disabled', bind({ createSource: false, recursive: false })],
  ['type=bind,"src=/a,b",target=/dst', bind({ createSource: false, source: '/a,b' })],
  ['type=bind,src=.,target=/dst', bind({ createSource: false, source: '/home/me' })],
  [
    'type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=1770',
    { type: 'tmpfs', target: '/t', options: ['size=1048576', 'mode=1770'] },
  ],
])('parseMount() reads %s', (text, expected) => {
  expect(parseMount(text, place)).toEqual(expected);
});

test.each([
  ['type=bind,source=/src', 'target is required'],
  ['type=bind,target=/dst', 'invalid mount path'],
  ['type=volume,source=x,target=/dst,volume-driver=nfs', 'volume driver "nfs" is not supported'],
  ['type=volume,source=/x,target=/dst', 'includes invalid characters'],
  ['type=bind,source=/s,target=/d,colour=red', "unexpected key 'colour'"],
  ['type=bind,source=/s,target', "invalid field 'target' must be a key=value pair"],
  ['type=bind,source=/s,target=/d,readonly=x', 'invalid value for readonly: x'],
  ['type=tmpfs,source=/s,target=/d', 'cannot specify source for tmpfs mount'],
  ['type=npipe,target=/d', 'mount type "npipe" is not supported'],
])('parseMount() refuses %s', (text, message) => {
  expect(() => parseMount(text, place)).toThrow(message);
});

test('parseTmpfs() splits target and options', () => {
  expect(parseTmpfs('/run')).toEqual({ type: 'tmpfs', target: '/run', options: [] });
  expect(parseTmpfs('/run:size=64m,noexec')).toEqual({
    type: 'tmpfs',
    target: '/run',
    options: ['size=64m', 'noexec'],
  });
  expect(() => parseTmpfs('/run:bogus')).toThrow('invalid tmpfs option "bogus"');
});
