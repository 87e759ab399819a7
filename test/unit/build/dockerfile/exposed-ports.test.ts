import { describe, expect, it } from 'vitest';
import { parseExposed } from '../../../../src/build/dockerfile/exposed-ports.ts';

describe('parseExposed()', () => {
  it.each<[string, readonly string[]]>([
    ['80', ['80/tcp']],
    ['53/UDP', ['53/udp']],
    ['8000-8002/sctp', ['8000/sctp', '8001/sctp', '8002/sctp']],
    ['127.0.0.1:8080:80', ['80/tcp']],
    ['[::1]:8080:80', ['80/tcp']],
    ['8000-8010:80', ['80/tcp']],
  ])('reads %s', (word, ports) => {
    expect(parseExposed(word).ports).toEqual(ports);
  });

  it.each([
    ['', 'no port specified'],
    ['80/icmp', 'invalid proto: icmp'],
    ['65536', 'invalid containerPort: 65536'],
    ['9-8', 'invalid containerPort: 9-8'],
    ['x', 'invalid containerPort: x'],
    ['x:80', 'invalid hostPort: x'],
    ['1.2.3:80:80', 'invalid IP address: 1.2.3'],
    ['1-2:3-9', 'invalid ranges specified'],
  ])('refuses %s', (word, message) => {
    expect(() => parseExposed(word)).toThrow(message);
  });
});
