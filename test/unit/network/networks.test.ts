import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, test } from 'vitest';
import { makePrivateDirectory } from '../../../src/disk/atomic.ts';
import { type Paths, pathsOf } from '../../../src/disk/paths.ts';
import type { NetworkRequest, PortRequest } from '../../../src/engine/options.ts';
import { SyscallError, TinyrunError } from '../../../src/errors.ts';
import type { Op } from '../../../src/native/plan.ts';
import type { NetworkHost } from '../../../src/network/host.ts';
import { decode, encode, text, u32 } from '../../../src/network/netlink.ts';
import {
  type NetworkInput,
  type Networks,
  needsRepair,
  openNetworks,
} from '../../../src/network/networks.ts';

const ID = 'f3b1c0ffee12'.padEnd(64, '0');

/** A host on which bridge and table exist once they are made, and nothing else. */
class FakeHost implements NetworkHost {
  readonly files = new Map([
    ['/etc/resolv.conf', 'nameserver 192.0.2.53\n'],
    ['/etc/hosts', '127.0.0.1 localhost myhost\n'],
    ['/proc/net/if_inet6', '20010db8000000000000000000000001 02 40 00 80     eth0\n'],
    ['/proc/sys/net/ipv4/ip_forward', '0\n'],
  ]);
  readonly sent: string[] = [];
  bridgeUp = false;
  rulesets: string[] = [];
  readonly locks = new Set<string>();
  readonly ran: string[] = [];
  /** Command line → output. */
  readonly programs = new Map<string, string>();
  nftMissing = false;

  netlink(protocol: 'route' | 'netfilter', messages: Uint8Array): Uint8Array {
    const replies: Uint8Array[] = [];
    for (const { type, payload } of decode(messages)) {
      this.sent.push(`${protocol} ${type}`);
      if (protocol === 'netfilter' && type === 0xa04 && this.rulesets.length === 0)
        throw new SyscallError('netlink', '', 'ENOENT');
      if (protocol === 'route' && type === 16 && payload.includes(0x62)) this.bridgeUp = true;
      if (protocol === 'route' && type === 17) this.bridgeUp = false;
      if (protocol === 'route' && type === 18 && payload.length > 16) {
        if (!this.bridgeUp) throw new SyscallError('netlink', '', 'ENODEV');
        const body = new Uint8Array(16);
        body.set(u32(7), 4);
        body.set(u32(1), 8);
        replies.push(encode([{ type: 16, flags: 0, body, attributes: [[3, text('tr-x')]] }]));
      }
    }
    return replies[0] ?? new Uint8Array();
  }
  readText(path: string): string | undefined {
    return this.files.get(path);
  }
  exists(path: string): boolean {
    return this.files.has(path);
  }
  writeText(path: string, value: string): void {
    this.files.set(path, value);
  }
  async loadRuleset(ruleset: string): Promise<void> {
    if (this.nftMissing) {
      throw new TinyrunError('unsupported', 'Cannot load the firewall rules: there is no nft', {
        hint: 'Install the package "nftables"',
      });
    }
    this.rulesets.push(ruleset);
  }
  async run(program: string, args: readonly string[]): Promise<string | undefined> {
    this.ran.push([program, ...args].join(' '));
    return this.programs.get([program, ...args].join(' '));
  }
  random(length: number): Uint8Array {
    return new Uint8Array(length).fill(0xab);
  }
  withLock<T>(_path: string, action: () => Promise<T>): Promise<T> {
    return action();
  }
  lockIsHeld(path: string): boolean {
    return this.locks.has(path);
  }
  now(): number {
    return Date.now();
  }
}

let root = '';
let host: FakeHost;
let paths: Paths;
let networks: Networks;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'networks-'));
  host = new FakeHost();
  paths = pathsOf({ root: join(root, 'root'), runRoot: join(root, 'run') });
  networks = openNetworks(paths, host);
});
afterEach(() => rmSync(root, { recursive: true }));

function inputOf(request: Partial<NetworkRequest> = {}, more: Partial<NetworkInput> = {}): NetworkInput {
  return {
    id: ID,
    name: 'web',
    hostname: ID.slice(0, 12),
    exposed: [],
    request: {
      mode: { type: 'bridge', network: 'bridge' },
      publish: [],
      publishAll: false,
      expose: [],
      dns: [],
      dnsSearch: [],
      dnsOptions: [],
      extraHosts: [],
      ...request,
    },
    ...more,
  };
}

const web: PortRequest = {
  protocol: 'tcp',
  hostPort: 8080,
  hostPortEnd: 8080,
  containerPort: 80,
  containerPortEnd: 80,
};
const names = (ops: readonly Op[]): string[] => ops.map((op) => op.op);

describe('plan() for a bridge', () => {
  it('leases an address and says everything about it', async () => {
    const plan = await networks.plan(inputOf({ publish: [web] }, { exposed: ['80/tcp'] }));
    expect(plan.settings).toMatchObject({
      mode: 'bridge',
      network: 'bridge',
      ip: '172.29.0.2',
      prefix: 20,
      gateway: '172.29.0.1',
      mac: '02:42:ac:1d:00:02',
      ipv6: 'fdab:abab:abab::2',
      hostInterface: 'trf3b1c0fababab',
      ports: {
        '80/tcp': [
          { HostIp: '0.0.0.0', HostPort: '8080' },
          { HostIp: '::', HostPort: '8080' },
        ],
      },
    });
    expect(plan.etc.hosts).toContain(
      `172.29.0.2\t${ID.slice(0, 12)}\nfdab:abab:abab::2\t${ID.slice(0, 12)}\n`,
    );
    expect(plan.etc.hostname).toBe(`${ID.slice(0, 12)}\n`);
    expect(plan.etc.resolvConf).toBe('nameserver 127.0.0.11\noptions ndots:0\n');
    expect(plan.child.at(-1)).toEqual({
      op: 'resolver',
      directories: [paths.leases('bridge')],
      servers: [],
      resolvConf: '/etc/resolv.conf',
      host: '172.29.0.1',
      what: 'make the socket for names, 127.0.0.11:53',
    });
    expect(plan.namespace).toEqual({ type: 'new' });
    expect(plan.warnings).toEqual([]);
  });

  it('has ops for every phase, ports reserved before the firewall knows them', async () => {
    const plan = await networks.plan(inputOf({ publish: [web] }));
    expect(names(plan.prepare)).toEqual(['listen', 'listen', 'netlink']);
    expect(names(plan.connect)).toEqual(['netlink']);
    expect(names(plan.child)).toEqual(['sysctl', 'netlink', 'resolver']);
    expect(names(plan.release)).toEqual(['netlink', 'unlink', 'unlink', 'unlink']);
    expect(
      [...plan.prepare, ...plan.connect, ...plan.child, ...plan.release].every((op) => op.what !== ''),
    ).toBe(true);
  });

  it("has an interface's name of at most 15 bytes", async () => {
    expect((await networks.plan(inputOf())).settings.hostInterface).toHaveLength(15);
  });

  it('asks the kernel twice and runs nothing where all is well', async () => {
    await networks.plan(inputOf());
    host.sent.length = 0;
    const rulesets = host.rulesets.length;
    const second = await networks.plan(inputOf());
    expect(second.settings.ip).toBe('172.29.0.3');
    expect(host.sent).toEqual(['route 18', 'netfilter 2564']);
    expect(host.rulesets).toHaveLength(rulesets);
  });

  it('switches forwarding on, and router advertisements off, when it makes the bridge', async () => {
    const bridge = `/proc/sys/net/ipv6/conf/tr-${paths.instance}`;
    host.files.set(`${bridge}/accept_ra`, '1');
    host.files.set('/proc/sys/net/ipv6/conf/all/forwarding', '0\n');
    host.files.set('/proc/sys/net/ipv6/conf/eth0/accept_ra', '1\n');
    const zero = '0'.repeat(32);
    host.files.set('/proc/net/ipv6_route', `${zero} 00 ${zero} 00 ${zero} 0 1 0 00450003 eth0\n`);
    await networks.plan(inputOf());
    expect(host.files.get('/proc/sys/net/ipv4/ip_forward')).toBe('1');
    expect(host.files.get('/proc/sys/net/ipv6/conf/all/forwarding')).toBe('1');
    expect(host.files.get('/proc/sys/net/ipv6/conf/eth0/accept_ra')).toBe('2');
    expect(host.files.get(`${bridge}/accept_ra`)).toBe('0');
  });

  it('loads a flushed firewall again, with what runs', async () => {
    await networks.plan(inputOf({ publish: [web] }));
    host.locks.add(paths.lock(ID));
    makePrivateDirectory(paths.run(ID));
    writeFileSync(paths.teardown(ID), '');
    host.rulesets = [];
    host.sent.length = 0;
    await networks.plan(inputOf());
    expect(host.rulesets).toHaveLength(1);
    expect(host.sent).toContain('netfilter 2572');
  });

  it('loads it without the ports of a start that has no monitor yet, and may come to nothing', async () => {
    await networks.plan(inputOf({ publish: [web] }));
    host.locks.add(paths.lock(ID));
    host.rulesets = [];
    host.sent.length = 0;
    await networks.plan(inputOf());
    expect(host.rulesets).toHaveLength(1);
    expect(host.sent).not.toContain('netfilter 2572');
  });

  it('does not put back what a container without a monitor had published', async () => {
    await networks.plan(inputOf({ publish: [web] }));
    host.sent.length = 0;
    await networks.repair();
    expect(host.rulesets).toHaveLength(2);
    expect(host.sent).not.toContain('netfilter 2572');
  });

  it('lets the bridge through a FORWARD chain that drops, where Docker wants it', async () => {
    const bridge = `tr-${paths.instance}`;
    host.files.set('/proc/net/ip_tables_names', 'nat\nfilter\n');
    host.programs.set('iptables --version', 'iptables v1.8.9 (legacy)');
    host.programs.set('iptables -w 5 -S FORWARD', '-P FORWARD DROP\n-A FORWARD -j DOCKER-USER\n');
    host.programs.set('iptables -w 5 -S DOCKER-USER', '-N DOCKER-USER\n-A DOCKER-USER -j RETURN\n');
    const plan = await networks.plan(inputOf());
    const rule = '-m comment --comment tinyrun -j ACCEPT';
    expect(host.ran).toContain(`iptables -w 5 -I DOCKER-USER -i ${bridge} ${rule}`);
    expect(host.ran).toContain(`iptables -w 5 -I DOCKER-USER -o ${bridge} ${rule}`);
    expect(host.ran.some((line) => line.startsWith('ip6tables'))).toBe(false);
    expect(plan.warnings).toEqual([]);
  });

  it('warns of another firewall that drops what is forwarded', async () => {
    const chains =
      'table inet filter {\n\tchain fwd {\n\t\ttype filter hook forward priority filter; policy drop;\n\t}\n}\n';
    host.programs.set('nft list chains', chains);
    const plan = await networks.plan(inputOf());
    expect(plan.warnings[0]).toContain('The firewall\'s chain "inet filter fwd" drops what is forwarded');
  });

  it('finds eth0 behind the tunnels that are born with a namespace', async () => {
    const indexes = async (): Promise<boolean> => {
      const op = (await networks.plan(inputOf())).child[1];
      if (op?.op !== 'netlink') throw new Error('no netlink op');
      // The second message is the IPv4 address's: its interface index is the second word of the body.
      return decode(op.messages)[1]?.payload[4] === 3;
    };
    expect(await indexes()).toBe(false);
    host.files.set('/proc/sys/net/ipv4/conf/tunl0', '');
    expect(await indexes()).toBe(true);
    host.files.set('/proc/sys/net/core/fb_tunnels_only_for_init_net', '1\n');
    expect(await indexes()).toBe(false);
  });

  it('does without IPv6 on a host without IPv6', async () => {
    host.files.delete('/proc/net/if_inet6');
    const plan = await networks.plan(inputOf({ publish: [web] }));
    expect(plan.settings.ipv6).toBeUndefined();
    expect(names(plan.prepare)).toEqual(['listen', 'netlink']);
    expect(plan.child[0]).toMatchObject({ op: 'sysctl', key: 'net/ipv6/conf/eth0/disable_ipv6', value: '1' });
  });

  it('keeps ports working without nft, and names the package', async () => {
    host.nftMissing = true;
    const plan = await networks.plan(inputOf({ publish: [web] }));
    expect(names(plan.prepare)).toEqual(['listen', 'listen']);
    expect(plan.warnings[0]).toContain('Install the package "nftables"');
  });

  it('undo() gives the lease back', async () => {
    const plan = await networks.plan(inputOf({ publish: [web] }));
    plan.undo();
    expect(readdirSync(paths.leases('bridge'))).toEqual(['.next']);
  });

  it('leaves no lease where it fails', async () => {
    await expect(networks.plan(inputOf({ dns: ['x'] }))).rejects.toThrow('x is not an ip address');
    expect(readdirSync(paths.leases('bridge'))).toEqual(['.next']);
  });

  test.each([
    [{ mode: { type: 'bridge', network: 'nope' } }, 'network nope not found'],
    [{ macAddress: 'zz' }, 'zz is not a valid mac address'],
    [{ ip: '10.0.0.1' }, "invalid address 10.0.0.1: It does not belong to any of this network's subnets"],
    [{ ip: 'fd00::1' }, 'invalid IPv4 address: fd00::1'],
  ] as const)('refuses %j', async (request, message) => {
    await expect(networks.plan(inputOf(request))).rejects.toThrow(message);
  });
});

describe('plan() for the other modes', () => {
  it('none: only loopback, in a new namespace', async () => {
    const plan = await networks.plan(inputOf({ mode: { type: 'none' }, publish: [web] }));
    expect(names(plan.child)).toEqual(['netlink']);
    expect(plan.namespace).toEqual({ type: 'new' });
    expect(plan.settings).toEqual({ mode: 'none', ports: {} });
    expect(host.sent).toEqual([]);
  });

  it("host: the host's files, and a word on published ports", async () => {
    const plan = await networks.plan(
      inputOf({ mode: { type: 'host' }, publish: [web], extraHosts: ['a:1.2.3.4'] }),
    );
    expect(plan.namespace).toEqual({ type: 'host' });
    expect(plan.etc.hosts).toBe('127.0.0.1 localhost myhost\n1.2.3.4\ta\n');
    expect(plan.warnings).toEqual(['Published ports are discarded when using host network mode']);
  });

  it('container: its namespace and its files', async () => {
    const input = inputOf({ mode: { type: 'container', container: 'other' } });
    const plan = await networks.plan({
      ...input,
      containerNamespace: () => ({ pid: 42, id: 'b'.repeat(64) }),
    });
    expect(plan.namespace).toEqual({ type: 'path', path: '/proc/42/ns/net' });
    expect(plan.etcOf).toBe('b'.repeat(64));
    expect(plan.etc).toEqual({});
  });

  test.each([
    [{ publish: [web] }, 'port publishing and the container type network mode'],
    [{ expose: ['80'] }, 'port exposing and the container type network mode'],
    [{ dns: ['1.1.1.1'] }, 'dns and the network mode'],
    [{ extraHosts: ['a:1.2.3.4'] }, 'custom host-to-IP mapping and the network mode'],
    [{ macAddress: '02:42:ac:1d:00:02' }, 'mac-address and the network mode'],
  ])('container: refuses %j', async (request, message) => {
    const input = inputOf({ mode: { type: 'container', container: 'x' }, ...request });
    await expect(networks.plan(input)).rejects.toThrow(`conflicting options: ${message}`);
  });
});

describe('destroy()', () => {
  it('leaves nothing of the network', async () => {
    await networks.plan(inputOf({ publish: [web] }));
    await networks.destroy();
    expect(host.bridgeUp).toBe(false);
    expect(host.sent.at(-2)).toBe('netfilter 2562');
    expect(existsSync(paths.leases('bridge'))).toBe(false);
    expect(existsSync(paths.network('bridge'))).toBe(false);
  });
});

describe('needsRepair()', () => {
  const op = (protocol: 'route' | 'netfilter'): Op => ({
    op: 'netlink',
    protocol,
    messages: new Uint8Array(),
    what: '',
  });
  test.each([
    [op('netfilter'), 'ENOENT', true],
    [op('netfilter'), 'EPERM', false],
    [op('route'), 'ENODEV', true],
    [op('route'), 'EEXIST', false],
    [{ op: 'unlink', path: '/x', what: '' } as Op, 'ENOENT', false],
  ])('%o %s: %s', (failed, errno, expected) => {
    expect(needsRepair(failed, errno)).toBe(expected);
  });
});
