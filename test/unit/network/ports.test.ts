import { describe, expect, it, test } from 'vitest';
import type { PortRequest } from '../../../src/engine/options.ts';
import {
  bindPorts,
  exposedPorts,
  listenOps,
  portChooser,
  portConflict,
  portMap,
} from '../../../src/network/ports.ts';

function request(hostPort: number, containerPort: number, more: Partial<PortRequest> = {}): PortRequest {
  const base = {
    protocol: 'tcp',
    hostPort,
    hostPortEnd: hostPort,
    containerPort,
    containerPortEnd: containerPort,
  } as const;
  return { ...base, ...more };
}

const input = {
  publish: [],
  publishAll: false,
  exposed: [],
  ipv6: true,
  freePort: portChooser(
    (path) => (path.endsWith('ip_local_port_range') ? '32768\t60999\n' : undefined),
    () => Uint8Array.of(0, 0),
  ),
};

describe('bindPorts()', () => {
  it('binds both families where no address is given', () => {
    expect(bindPorts({ ...input, publish: [request(8080, 80)] })).toEqual([
      { protocol: 'tcp', hostIp: '0.0.0.0', hostPort: 8080, containerPort: 80 },
      { protocol: 'tcp', hostIp: '::', hostPort: 8080, containerPort: 80 },
    ]);
    expect(bindPorts({ ...input, ipv6: false, publish: [request(8080, 80)] })).toHaveLength(1);
  });

  it('expands ranges and keeps to a given address', () => {
    const publish = [
      request(9000, 80, { hostIp: '127.0.0.1', hostPortEnd: 9002, containerPortEnd: 82, protocol: 'udp' }),
    ];
    expect(bindPorts({ ...input, publish })).toEqual(
      [0, 1, 2].map((i) => ({
        protocol: 'udp',
        hostIp: '127.0.0.1',
        hostPort: 9000 + i,
        containerPort: 80 + i,
      })),
    );
  });

  it('takes the same request twice for one', () => {
    expect(bindPorts({ ...input, publish: [request(80, 80), request(80, 80)] })).toHaveLength(2);
  });

  it("gives a random port, the same for both families, outside of the kernel's range", () => {
    const bindings = bindPorts({ ...input, publish: [request(0, 80), request(0, 81)] });
    expect(bindings.map((binding) => binding.hostPort)).toEqual([61000, 61000, 61001, 61001]);
  });

  it('publishes what is exposed and not published yet', () => {
    const bindings = bindPorts({
      ...input,
      ipv6: false,
      publish: [request(8080, 80)],
      publishAll: true,
      exposed: ['80/tcp', '80/udp', '90-91'],
    });
    expect(bindings.map((b) => `${b.containerPort}/${b.protocol}`)).toEqual([
      '80/tcp',
      '80/udp',
      '90/tcp',
      '91/tcp',
    ]);
  });
});

describe('portChooser()', () => {
  const table = `  sl  local_address rem_address   st
   0: 00000000:2328 00000000:0000 0A 00000000:00000000
   1: 0100007F:2329 0100007F:1F90 01 00000000:00000000
   2: 00000000000000000000000000000000:232A 00000000000000000000000000000000:0000 0A
`;
  const choose = portChooser(
    (path) => (path === '/proc/net/tcp6' ? table : undefined),
    () => Uint8Array.of(255, 255),
  );

  it('takes the first of a range that nobody listens on', () => {
    const range = { first: 9000, last: 9002 };
    expect(choose('tcp', range)).toBe(9001);
    expect(() => choose('tcp', range)).toThrow('Cannot publish a port: all of 9000-9002/tcp are in use');
    expect(choose('udp', range)).toBe(9000);
  });

  test.each([
    ['32768 60999', 61000, 65535],
    ['1024 65535', 49152, 65535],
    ['20000 65535', 10000, 19999],
  ])('keeps off %s', (local, first, last) => {
    for (const random of [
      [0, 0],
      [127, 9],
      [255, 255],
    ]) {
      const port = portChooser(
        (path) => (path.endsWith('range') ? local : undefined),
        () => Uint8Array.from(random),
      )('tcp', undefined);
      expect(port).toBeGreaterThanOrEqual(first);
      expect(port).toBeLessThanOrEqual(last);
    }
  });
});

describe('exposedPorts()', () => {
  it('reads ports, protocols and ranges', () => {
    expect(exposedPorts(['80', '53/UDP', '90-91/tcp', '80/tcp', '5/sctp'])).toEqual([
      { protocol: 'tcp', port: 80 },
      { protocol: 'udp', port: 53 },
      { protocol: 'tcp', port: 90 },
      { protocol: 'tcp', port: 91 },
    ]);
  });
  test.each(['', '0', '65536', '90-80', 'http', '80/', '-1', '1-70000'])('refuses "%s"', (text) => {
    expect(() => exposedPorts([text])).toThrow(`invalid range format for --expose: ${text}`);
  });
});

describe('portMap()', () => {
  it("has Docker's shape", () => {
    const bindings = bindPorts({ ...input, publish: [request(8080, 80)] });
    expect(portMap(bindings, ['80', '443'])).toEqual({
      '80/tcp': [
        { HostIp: '0.0.0.0', HostPort: '8080' },
        { HostIp: '::', HostPort: '8080' },
      ],
      '443/tcp': null,
    });
  });
});

describe('portConflict()', () => {
  const [v4, v6] = listenOps(bindPorts({ ...input, publish: [request(8080, 80)] }), '172.29.0.2');
  it("is Docker's sentence", () => {
    expect(v4 && portConflict(v4, 'EADDRINUSE')?.message).toBe(
      'Bind for 0.0.0.0:8080 failed: port is already allocated',
    );
    expect(v6 && portConflict(v6, 'EADDRINUSE')?.message).toBe(
      'Bind for [::]:8080 failed: port is already allocated',
    );
  });
  it('says nothing of what is none', () => {
    expect(v4 && portConflict(v4, 'ENOMEM')).toBeUndefined();
    expect(portConflict({ op: 'unlink', path: '/x', what: 'x' }, 'EADDRINUSE')).toBeUndefined();
  });
});
