/**
 * The network's own bytes against the kernel, in a network namespace that stands for the host, with others that stand for
 * containers and for a machine beyond the host. The proxy of the monitor is not here: a server on the host stands for it.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { type Paths, pathsOf } from '../../src/disk/paths.ts';
import type { NetworkRequest, PortRequest } from '../../src/engine/options.ts';
import type { Op } from '../../src/native/plan.ts';
import { parseAddress, parseMac } from '../../src/network/addresses.ts';
import { encode, type Message } from '../../src/network/netlink.ts';
import type { NetworkInput, NetworkPlan } from '../../src/network/networks.ts';
import {
  addAddress,
  addDefaultRoute,
  addVeth,
  deleteLink,
  linkUp,
  vethPidOffset,
} from '../../src/network/rtnetlink.ts';
import { needing } from '../harness/requires.ts';
import type { Command } from './network-driver.ts';

const it = needing('root', 'nft');
const hasIptables = spawnSync('iptables', ['--version']).status === 0;
const top = join(import.meta.dirname, '..', '..');
const bundle = join(top, 'dist', `network-driver-${process.pid}.mjs`);

/** A network namespace with a driver in it. */
class Place {
  readonly pid: number;
  private readonly keeper: ChildProcess;
  private readonly driver: ChildProcess;
  private readonly answers: AsyncIterator<string>;
  private readonly lines: Interface;

  private constructor(keeper: ChildProcess, paths: Paths, label: string) {
    this.keeper = keeper;
    this.pid = keeper.pid ?? 0;
    const args = ['-t', String(this.pid), '-n', process.execPath, bundle, paths.root, paths.runRoot, label];
    this.driver = spawn('nsenter', args, { stdio: ['pipe', 'pipe', 'inherit'] });
    if (this.driver.stdout === null) throw new Error('the driver has no stdout');
    this.lines = createInterface({ input: this.driver.stdout });
    this.answers = this.lines[Symbol.asyncIterator]();
  }

  static async open(paths: Paths, label: string): Promise<Place> {
    const keeper = spawn('unshare', ['-n', 'sh', '-c', 'echo ready; exec sleep 600'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await new Promise((resolve) => keeper.stdout?.once('data', resolve));
    return new Place(keeper, paths, label);
  }

  async tell(command: Command): Promise<unknown> {
    this.driver.stdin?.write(
      `${JSON.stringify(command, (_key, value: unknown) =>
        value instanceof Uint8Array ? { base64: Buffer.from(value).toString('base64') } : value,
      )}\n`,
    );
    const { value, done } = await this.answers.next();
    if (done === true) throw new Error(`The driver died at "${command.do}"`);
    const answer = JSON.parse(String(value), revive) as { ok?: unknown; error?: string };
    if (answer.error !== undefined) throw new Error(`${command.do}: ${answer.error}`);
    return answer.ok;
  }

  route(...messages: Message[]): Promise<unknown> {
    return this.tell({
      do: 'run',
      ops: [{ op: 'netlink', protocol: 'route', messages: encode(messages), what: 'test' }],
    });
  }

  command(...words: string[]): string {
    const { stdout, stderr, status } = spawnSync('nsenter', ['-t', String(this.pid), '-n', ...words]);
    if (status !== 0) throw new Error(stderr.toString());
    return stdout.toString();
  }

  async interfaces(): Promise<string[]> {
    const text = String(await this.tell({ do: 'read', path: '/proc/net/dev' }));
    return [...text.matchAll(/^\s*([^:\s]+):/gm)]
      .map((match) => match[1] ?? '')
      .filter((name) => !/^(lo|up0)$/.test(name));
  }

  async close(): Promise<void> {
    this.lines.close();
    for (const child of [this.driver, this.keeper]) {
      const gone = new Promise((resolve) => child.once('exit', resolve));
      if (child.exitCode === null && child.kill('SIGKILL')) await gone;
    }
  }
}

function revive(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || !('base64' in value)) return value;
  return new Uint8Array(Buffer.from(String(value.base64), 'base64'));
}

const bytes = (text: string): Uint8Array => parseAddress(text) ?? new Uint8Array();

const web: PortRequest = {
  protocol: 'tcp',
  hostPort: 8080,
  hostPortEnd: 8080,
  containerPort: 80,
  containerPortEnd: 80,
};
const dns: PortRequest = {
  ...web,
  protocol: 'udp',
  hostPort: 5353,
  hostPortEnd: 5353,
  containerPort: 53,
  containerPortEnd: 53,
};

function inputOf(letter: string, publish: readonly PortRequest[]): NetworkInput {
  const request: NetworkRequest = {
    mode: { type: 'bridge', network: 'bridge' },
    publish,
    publishAll: false,
    expose: [],
    dns: [],
    dnsSearch: [],
    dnsOptions: [],
    extraHosts: [],
  };
  return { id: letter.repeat(64), name: letter, hostname: letter, exposed: [], request };
}

interface Container {
  readonly place: Place;
  readonly plan: NetworkPlan;
}

let directory = '';
let paths: Paths;
let host: Place;
let client: Place;
const containers: Container[] = [];

/** What the monitor and the child do, less the listening sockets. */
async function start(letter: string, publish: readonly PortRequest[] = []): Promise<Container> {
  const plan = (await host.tell({ do: 'plan', input: inputOf(letter, publish) })) as NetworkPlan;
  const place = await Place.open(paths, letter);
  await place.tell({ do: 'lock', path: paths.lock(letter.repeat(64)) });
  // The monitor writes it before all else: who has it will run its release.
  writeFileSync(paths.teardown(letter.repeat(64)), '');
  await host.tell({ do: 'run', ops: plan.prepare });
  await host.tell({ do: 'run', ops: plan.connect, pid: place.pid });
  await place.tell({ do: 'run', ops: plan.child });
  const container = { place, plan };
  containers.push(container);
  return container;
}

/** The host at 198.51.100.1 and 2001:db8::1 on `up0`, a machine beyond it at .2 and ::2. */
async function wire(): Promise<void> {
  const messages = encode([
    addVeth({
      hostName: 'up0',
      master: 0,
      peerName: 'eth0',
      peerMac: parseMac('02:00:00:00:00:02') ?? new Uint8Array(),
      mtu: 1500,
    }),
  ]);
  const op: Op = {
    op: 'netlink',
    protocol: 'route',
    messages,
    pidOffset: vethPidOffset(messages),
    what: 'test',
  };
  await host.tell({ do: 'run', ops: [op], pid: client.pid });
  for (const [place, last] of [
    [host, '1'],
    [client, '2'],
  ] as const) {
    await place.route(
      linkUp(1),
      linkUp(2),
      addAddress(2, bytes(`198.51.100.${last}`), 24),
      addAddress(2, bytes(`2001:db8::${last}`), 64),
    );
  }
}

beforeAll(async () => {
  await build({
    entryPoints: [join(import.meta.dirname, 'network-driver.ts')],
    outfile: bundle,
    bundle: true,
    platform: 'node',
    format: 'esm',
    external: ['koffi'],
  });
  // As in use: what a reboot empties lies on a tmpfs.
  directory = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'network-native-'));
  paths = pathsOf({ root: join(directory, 'root'), runRoot: join(directory, 'run') });
  host = await Place.open(paths, 'proxy');
  client = await Place.open(paths, 'client');
  await wire();
  await client.tell({ do: 'serve', address: '::', port: 7000 });
  for (const address of ['0.0.0.0', '::'])
    await host.tell({ do: 'serve', address, port: address === '::' ? 8081 : 8080 });
});
afterAll(async () => {
  for (const place of [...containers.map((container) => container.place), client, host]) await place.close();
  rmSync(directory, { recursive: true });
  rmSync(bundle);
});

const ask = (from: Place, address: string, port: number): Promise<unknown> =>
  from.tell({ do: 'connect', address, port });

describe("a network of the kernel's", () => {
  let server: Container;
  let peer: Container;
  const addressOf = ({ plan }: Container): string => plan.settings.ip ?? '';
  const address6Of = ({ plan }: Container): string => plan.settings.ipv6 ?? '';

  it('joins containers by their addresses, IPv4 and IPv6', async () => {
    server = await start('a', [web, dns]);
    peer = await start('b');
    await server.place.tell({ do: 'serve', address: '::', port: 80 });
    await server.place.tell({ do: 'serveUdp', address: '0.0.0.0', port: 53 });
    expect(await ask(peer.place, addressOf(server), 80)).toBe(`a ${addressOf(peer)}`);
    expect(await ask(peer.place, address6Of(server), 80)).toBe(`a ${address6Of(peer)}`);
    expect(await ask(host, addressOf(server), 80)).toBe(`a ${server.plan.settings.gateway}`);
  });

  it("gives what leaves the host the host's address", async () => {
    expect(await ask(peer.place, '198.51.100.2', 7000)).toBe('client 198.51.100.1');
    expect(await ask(peer.place, '2001:db8::2', 7000)).toBe('client 2001:db8::1');
  });

  // With br_netfilter, frames pass the firewall already on the bridge, and translated ones take another way through the kernel.
  for (const value of ['1', '0']) {
    it(`shows a published port the address of whoever calls (bridge-nf-call-iptables=${value})`, async () => {
      const directory = '/proc/sys/net/bridge';
      if (existsSync(directory)) {
        const ops = ['iptables', 'ip6tables'].map(
          (name): Op => ({
            op: 'writeFile',
            path: `${directory}/bridge-nf-call-${name}`,
            text: value,
            what: 'test',
          }),
        );
        await host.tell({ do: 'run', ops });
      }
      expect(await ask(client, '198.51.100.1', 8080)).toBe('a 198.51.100.2');
      expect(await ask(client, '2001:db8::1', 8080)).toBe('a 2001:db8::2');
      expect(await ask(host, '198.51.100.1', 8080)).toBe('a 198.51.100.1');
      expect(await ask(host, '2001:db8::1', 8080)).toBe('a 2001:db8::1');
      expect(await ask(peer.place, '198.51.100.1', 8080)).toBe(`a ${addressOf(peer)}`);
      expect(await ask(peer.place, '2001:db8::1', 8080)).toBe(`a ${address6Of(peer)}`);
      expect(await client.tell({ do: 'askUdp', address: '198.51.100.1', port: 5353 })).toBe('a 198.51.100.2');
    });

    it(`leaves loopback, and a container that calls itself, to the proxy (${value})`, async () => {
      expect(await ask(host, '127.0.0.1', 8080)).toBe('proxy 127.0.0.1');
      expect(await ask(server.place, '198.51.100.1', 8080)).toBe(`proxy ${addressOf(server)}`);
    });
  }

  it('does not let others reach a container directly (CVE-2025-54388)', async () => {
    await client.route(addDefaultRoute(2, bytes('198.51.100.1')), addDefaultRoute(2, bytes('2001:db8::1')));
    expect(await ask(client, addressOf(server), 80)).toBe('no answer');
    expect(await ask(client, address6Of(server), 80)).toBe('no answer');
  });

  it('repairs a flushed firewall with the next plan, published ports included', async () => {
    host.command('nft', 'flush', 'ruleset');
    expect(await ask(client, '198.51.100.1', 8080)).toBe('proxy 198.51.100.2');
    await start('c');
    expect(await ask(client, '198.51.100.1', 8080)).toBe('a 198.51.100.2');
    expect(await ask(client, '2001:db8::1', 8080)).toBe('a 2001:db8::2');
  });

  it('repairs a bridge that was deleted, running containers included', async () => {
    const bridge = `tr-${paths.instance}`;
    await host.route(deleteLink(bridge));
    expect(await host.interfaces()).not.toContain(bridge);
    await start('d');
    expect(await ask(client, '198.51.100.1', 8080)).toBe('a 198.51.100.2');
    expect(await ask(peer.place, addressOf(server), 80)).toBe(`a ${addressOf(peer)}`);
  });

  it.skipIf(!hasIptables)(
    'passes a firewall of iptables that drops what is forwarded (Docker, ufw)',
    async () => {
      const iptables = (...args: string[]): string => host.command('iptables', ...args);
      iptables('-P', 'FORWARD', 'DROP');
      expect(await ask(peer.place, '198.51.100.2', 7000)).toBe('no answer');
      await host.tell({ do: 'repair' });
      expect(await ask(peer.place, '198.51.100.2', 7000)).toBe('client 198.51.100.1');
      expect(await ask(client, '198.51.100.1', 8080)).toBe('a 198.51.100.2');
      const rules = iptables('-S', 'FORWARD');
      await host.tell({ do: 'repair' });
      expect(iptables('-S', 'FORWARD')).toBe(rules);
    },
  );

  it('refuses a port that the firewall already sends elsewhere', async () => {
    const plan = (await host.tell({ do: 'plan', input: inputOf('e', [web]) })) as NetworkPlan;
    await expect(host.tell({ do: 'run', ops: plan.prepare })).rejects.toThrow(/EBUSY|EEXIST/);
    await host.tell({ do: 'run', ops: plan.release.slice(1) });
  });

  it('plans within milliseconds where nothing is missing', async () => {
    const input = inputOf('f', [{ ...web, hostPort: 9000, hostPortEnd: 9000 }]);
    // Half a millisecond on a quiet machine; the bound only tells a child process or a scan from none.
    expect(await host.tell({ do: 'time', input, rounds: 50 })).toBeLessThan(10);
  });

  it('release takes the port and the lease away, and the interface goes with the namespace', async () => {
    await host.tell({ do: 'run', ops: server.plan.release });
    expect(await ask(client, '198.51.100.1', 8080)).toBe('proxy 198.51.100.2');
    expect(host.command('nft', 'list', 'ruleset')).not.toContain('elements');
    expect(readdirSync(paths.leases('bridge'))).not.toContain(addressOf(server));
    await server.place.close();
    await expect
      .poll(() => host.interfaces(), { timeout: 5000 })
      .not.toContain(server.plan.settings.hostInterface);
  });

  it('sends a UDP client that keeps its port to the next container', async () => {
    const next = await start('e', [dns]);
    await next.place.tell({ do: 'serveUdp', address: '0.0.0.0', port: 53 });
    expect(await client.tell({ do: 'askUdp', address: '198.51.100.1', port: 5353 })).toBe('e 198.51.100.2');
  });

  it('destroy leaves nothing', async () => {
    await host.tell({ do: 'destroy' });
    for (const container of containers) await container.place.close();
    await expect.poll(() => host.interfaces(), { timeout: 5000 }).toEqual([]);
    expect(host.command('nft', 'list', 'tables')).not.toContain('tinyrun');
    if (existsSync('/usr/sbin/iptables'))
      expect(host.command('iptables', '-S', 'FORWARD')).not.toContain('tinyrun');
    expect(existsSync(paths.leases('bridge'))).toBe(false);
    expect(readdirSync(dirname(paths.network('bridge')))).toEqual([]);
  });
});
