import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { readdirSync, readFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest';
import { needing } from '../harness/requires.ts';
import { type Seeded, seededSandbox } from '../harness/seed.ts';

const it = needing('root', 'overlay', 'nft', 'docker-registry', 'busybox-static');

const SECONDS = 1;
/** Bytes a second of 40mbit. */
const RATE = 5_000_000;
const HEADERS = 42;

let box: Seeded;
let gateway: string;

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const interfaces = (prefix: string) =>
  readdirSync('/sys/class/net').filter((name) => name.startsWith(prefix) && !name.startsWith('trn'));

/** Bytes a second, once what is queued and the first burst have passed. */
async function rateOf(counter: () => number): Promise<number> {
  await pause(300);
  const [bytes, begin] = [counter(), performance.now()];
  await pause(SECONDS * 1000);
  return (counter() - bytes) / ((performance.now() - begin) / 1000);
}

/** Of what comes in by the host's end of the container's only interface. */
async function inwardRate(id: string, protocol: 'tcp' | 'udp'): Promise<number> {
  const [veth = ''] = interfaces(`tr${id.slice(0, 7)}`);
  const address = await box.ok(['inspect', '-f', '{{.NetworkSettings.IPAddress}}', id]);
  // What has passed the queue: the interface counts behind it.
  const counter = () => Number(readFileSync(`/sys/class/net/${veth}/statistics/tx_bytes`, 'utf8'));
  const stop = protocol === 'tcp' ? await pourTcp(address) : pourUdp(address);
  const rate = await rateOf(counter);
  stop();
  return rate;
}

async function pourTcp(address: string): Promise<() => void> {
  const block = Buffer.alloc(64 * 1024);
  for (let attempt = 0; ; attempt += 1) {
    const socket = connect(7000, address);
    const connected = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true)).on('error', () => resolve(false));
    });
    if (connected) {
      const pour = () => {
        while (!socket.destroyed && socket.write(block));
      };
      socket.on('drain', pour);
      pour();
      return () => socket.destroy();
    }
    if (attempt === 50) throw new Error(`nobody listens on ${address}:7000`);
    await pause(50);
  }
}

function pourUdp(address: string): () => void {
  const socket = createSocket('udp4');
  const block = Buffer.alloc(1400);
  // 14 MB a second: nearly three times the rate.
  const timer = setInterval(() => {
    for (let number = 0; number < 50; number += 1) socket.send(block, 7001, address, () => undefined);
  }, 5);
  return () => {
    clearInterval(timer);
    socket.close();
  };
}

/** 14 MB a second: nearly three times the rate. */
const FLOOD = `
  const socket = require('node:dgram').createSocket('udp4');
  const block = Buffer.alloc(1400);
  setInterval(() => {
    for (let number = 0; number < 50; number += 1) socket.send(block, process.env.PORT, process.env.HOST, () => undefined);
  }, 5);
`;

/** Of what the host receives from a container that sends what it can. */
async function outwardRate(id: string, protocol: 'tcp' | 'udp'): Promise<number> {
  let received = 0;
  if (protocol === 'udp') {
    const socket = createSocket('udp4', (message) => {
      received += message.length + HEADERS;
    });
    await new Promise<void>((resolve) => socket.bind(0, () => resolve()));
    const pid = await box.ok(['inspect', '-f', '{{.State.Pid}}', id]);
    // No program of the image speaks UDP; one of the host does in the container's network namespace.
    const sender = spawn('nsenter', ['-n', '-t', pid, process.execPath, '-e', FLOOD], {
      env: { HOST: gateway, PORT: String(socket.address().port) },
      stdio: 'ignore',
    });
    const ended = new Promise((resolve) => sender.on('close', resolve));
    await pause(300);
    const rate = await rateOf(() => received);
    sender.kill();
    await ended;
    socket.close();
    return rate;
  }
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on('data', (data) => {
      received += data.length;
    });
    socket.on('error', () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, () => resolve()));
  const bound = server.address();
  const port = typeof bound === 'object' && bound !== null ? bound.port : 0;
  await box.ok(['exec', '-d', id, 'sh', '-c', `exec nc ${gateway} ${port} < /dev/zero`]);
  const rate = await rateOf(() => received);
  server.close();
  for (const socket of sockets) socket.destroy();
  return rate;
}

function expectRate(measured: number, rate: number): void {
  expect(measured / rate).toBeGreaterThan(0.8);
  expect(measured / rate).toBeLessThan(1.2);
}

// With an input that never ends: nc would hang up.
const LISTEN = 'mkfifo /in; exec 3<>/in; while :; do nc -l -p 7000 <&3 > /dev/null; done';
const LISTENER = ['sh', '-c', LISTEN];
const start = (...flags: string[]) => box.ok(['run', '-d', ...flags, 'busybox', ...LISTENER]);

beforeAll(async () => {
  box = await seededSandbox();
  await box.ok(['run', '--rm', 'busybox', 'true']);
  gateway = await box.ok(['network', 'inspect', '-f', '{{(index .IPAM.Config 0).Gateway}}', 'bridge']);
});
afterEach(async () => {
  const ids = await box.ok(['ps', '-aq']);
  if (ids !== '') await box.ok(['rm', '-f', ...ids.split('\n')]);
  expect(interfaces('ti')).toEqual([]);
  await box.ok(['network', 'prune', '-f']);
});
afterAll(() => box.dispose());

describe('--net-in-rate and --net-out-rate', () => {
  it('limit TCP and UDP, both ways, also where the container has NET_ADMIN', async () => {
    const id = await start('--cap-add', 'NET_ADMIN', '--net-in-rate', '40mbit', '--net-out-rate', '5mbps');
    expectRate(await inwardRate(id, 'tcp'), RATE);
    expectRate(await inwardRate(id, 'udp'), RATE);
    expectRate(await outwardRate(id, 'tcp'), RATE);
    expectRate(await outwardRate(id, 'udp'), RATE);
    expect(await box.ok(['inspect', '-f', '{{json .HostConfig.NetworkRate}}', id])).toBe(
      '{"In":40000000,"Out":40000000,"Burst":0}',
    );
  });

  it('change while the container runs, and outlive its restart', async () => {
    const id = await start('--restart', 'always');
    await box.ok(['update', '--net-in-rate', '40mbit', '--net-out-rate', '40mbit', id]);
    expectRate(await inwardRate(id, 'tcp'), RATE);
    expectRate(await outwardRate(id, 'tcp'), RATE);
    await box.ok(['update', '--net-in-rate', '80mbit', '--net-out-rate', '20mbit', id]);
    expectRate(await inwardRate(id, 'tcp'), 2 * RATE);
    expectRate(await outwardRate(id, 'tcp'), RATE / 2);
    // Its monitor starts it again, by a plan that knows of no limits.
    const before = await box.ok(['inspect', '-f', '{{.State.Pid}}', id]);
    process.kill(Number(before), 'SIGKILL');
    await expect
      .poll(async () => box.ok(['inspect', '-f', '{{.State.Pid}} {{.State.Running}}', id]), { timeout: 5000 })
      .not.toMatch(new RegExp(`^(${before}|0) |false`));
    expectRate(await outwardRate(id, 'tcp'), RATE / 2);
    await box.ok(['update', '--net-in-rate', 'unlimited', '--net-out-rate', '0', id]);
    expect(interfaces('ti')).toEqual([]);
    expect(await inwardRate(id, 'tcp')).toBeGreaterThan(4 * RATE);
    expect(await outwardRate(id, 'tcp')).toBeGreaterThan(4 * RATE);
  });

  it('come from the network, and go when a monitor is killed', async () => {
    await box.ok(['network', 'create', '--opt', 'rate=40mbit', 'slow']);
    const id = await start('--network', 'slow', '--network', 'bridge', '--net-in-rate', 'unlimited');
    const networks = JSON.parse(await box.ok(['inspect', '-f', '{{json .NetworkSettings.Networks}}', id]));
    expect(networks.slow.Rate).toEqual({ In: 0, Out: 40_000_000, Burst: 0 });
    expect(networks.bridge.Rate).toBeUndefined();
    expect(interfaces('ti')).toHaveLength(1);
    const state = JSON.parse(readFileSync(`${box.root}/containers/${id}/state.json`, 'utf8'));
    process.kill(state.monitorPid, 'SIGKILL');
    await box.ok(['start', id]);
    expect(interfaces('ti')).toHaveLength(1);
  });

  it('are refused where they cannot be', async () => {
    const refused = await box.run([
      'run',
      '--rm',
      '--network',
      'host',
      '--net-in-rate',
      '1mbit',
      'busybox',
      'true',
    ]);
    expect(refused.code).toBe(125);
    expect(refused.stderr).toContain('need a network of its own, not host');
    const odd = await box.run(['run', '--rm', '--net-out-rate', '10m', 'busybox', 'true']);
    expect(odd.code).toBe(125);
    expect(odd.stderr).toContain('invalid rate "10m"');
    expect((await box.run(['network', 'create', '-o', 'rate=fast', 'x'])).stderr).toContain('invalid rate');
  });
});
