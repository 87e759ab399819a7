import { expect, test } from 'vitest';
import { ipVersion } from '../../../src/cli/ip.ts';
import { parseExpose, parsePublish } from '../../../src/cli/ports.ts';

const port = (host: number, container: number, more: object = {}) => ({
  protocol: 'tcp',
  hostPort: host,
  hostPortEnd: host,
  containerPort: container,
  containerPortEnd: container,
  ...more,
});

test.each([
  ['80', port(0, 80)],
  ['8080:80', port(8080, 80)],
  ['8080:80/udp', port(8080, 80, { protocol: 'udp' })],
  ['8080:80/UDP', port(8080, 80, { protocol: 'udp' })],
  [':80', port(0, 80)],
  ['0:80', port(0, 80)],
  ['127.0.0.1:8080:80', port(8080, 80, { hostIp: '127.0.0.1' })],
  ['127.0.0.1::80', port(0, 80, { hostIp: '127.0.0.1' })],
  ['[::1]:8080:80', port(8080, 80, { hostIp: '::1' })],
  ['[::]::80', port(0, 80, { hostIp: '::' })],
  ['8080-8082:80-82', port(8080, 80, { hostPortEnd: 8082, containerPortEnd: 82 })],
  ['80-82', port(0, 80, { containerPortEnd: 82 })],
  ['8000-9000:80', port(8000, 80, { hostPortEnd: 9000 })],
  ['published=8080,target=80,protocol=udp', port(8080, 80, { protocol: 'udp' })],
  ['target=80', port(0, 80)],
])('parsePublish() reads %s', (text, expected) => {
  expect(parsePublish(text)).toEqual(expected);
});

test.each([
  ['', 'no port specified'],
  ['8080:', 'no port specified'],
  ['x', 'invalid containerPort: x'],
  ['0', 'invalid containerPort: 0'],
  ['65536', 'invalid containerPort: 65536'],
  ['8080:80-', 'invalid containerPort'],
  ['82-80', 'invalid containerPort: 82-80'],
  ['99999:80', 'invalid hostPort: 99999'],
  ['80-81:80-85', 'invalid ranges specified for container and host Ports'],
  ['8080:80/xyz', 'invalid proto: xyz'],
  ['8080:80/sctp', 'sctp is not supported'],
  ['1.2.3:8080:80', 'invalid IP address: 1.2.3'],
  ['localhost:8080:80', 'invalid IP address: localhost'],
  ['published=8080', 'missing mandatory field "target"'],
  ['target=80,colour=red', 'invalid field key colour'],
])('parsePublish() refuses %j', (text, message) => {
  expect(() => parsePublish(text)).toThrow(message);
});

test('parseExpose() gives one port each', () => {
  expect(parseExpose('80')).toEqual(['80/tcp']);
  expect(parseExpose('80-82/udp')).toEqual(['80/udp', '81/udp', '82/udp']);
  expect(() => parseExpose('x')).toThrow('invalid range format for --expose: x');
});

test.each([
  ['1.2.3.4', 4],
  ['255.255.255.255', 4],
  ['256.1.1.1', 0],
  ['1.2.3', 0],
  ['1.2.3.4.', 0],
  ['01.2.3.4', 0],
  ['::', 6],
  ['::1', 6],
  ['fe80::1:2', 6],
  ['1:2:3:4:5:6:7:8', 6],
  ['1:2:3:4:5:6:7', 0],
  ['1::2::3', 0],
  ['::ffff:1.2.3.4', 6],
  ['1.2.3.4::', 0],
  ['1:2:3:4:5:6:7::', 6],
  ['1:2:3:4:5:6:7:8::', 0],
  ['g::1', 0],
  [':', 0],
  ['', 0],
])('ipVersion() of %j is %i', (text, version) => {
  expect(ipVersion(text)).toBe(version);
});
