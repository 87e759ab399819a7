/**
 * Runs inside one network namespace and does there what the test says, a line of JSON each way: plans networks, carries out the
 * ops of a plan as the monitor and the child would, serves and connects. Bundled and started by network-native.test.ts.
 */
import { createSocket } from 'node:dgram';
import { mkdirSync, openSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { dirname } from 'node:path';
import { createInterface } from 'node:readline';
import { pathsOf } from '../../src/disk/paths.ts';
import { describe } from '../../src/errors.ts';
import type { Op } from '../../src/native/plan.ts';
import { flock } from '../../src/native/syscalls.ts';
import { systemHost } from '../../src/network/host.ts';
import { type NetworkInput, openNetworks } from '../../src/network/networks.ts';

const [root = '', runRoot = '', label = ''] = process.argv.slice(2);
const host = systemHost();
const networks = openNetworks(pathsOf({ root, runRoot }), host);

export type Command =
  | { readonly do: 'plan'; readonly input: NetworkInput }
  | { readonly do: 'run'; readonly ops: readonly Op[]; readonly pid?: number }
  | {
      readonly do: 'serve' | 'connect' | 'serveUdp' | 'askUdp';
      readonly port: number;
      readonly address: string;
    }
  | { readonly do: 'read' | 'lock'; readonly path: string }
  | { readonly do: 'time'; readonly input: NetworkInput; readonly rounds: number }
  | { readonly do: 'repair' | 'destroy' | 'reclaim' };

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line, revive) as Command;
  let answer: unknown;
  try {
    answer = { ok: await carryOut(command) };
  } catch (error) {
    answer = { error: describe(error) };
  }
  process.stdout.write(`${JSON.stringify(answer, dress)}\n`);
}
process.exit(0);

async function carryOut(command: Command): Promise<unknown> {
  switch (command.do) {
    case 'plan':
      return networks.plan(command.input);
    case 'run':
      for (const op of command.ops) run(op, command.pid);
      return undefined;
    case 'serve':
      return serve(command.address, command.port);
    case 'connect':
      return ask(command.address, command.port);
    case 'serveUdp':
      return serveUdp(command.address, command.port);
    case 'askUdp':
      return askUdp(command.address, command.port);
    case 'read':
      return readFileSync(command.path, 'utf8');
    case 'lock':
      // As the monitor does, for life.
      mkdirSync(dirname(command.path), { recursive: true });
      return flock(openSync(command.path, 'a'), 'exclusive', false);
    case 'time':
      return time(command.input, command.rounds);
    default:
      return networks[command.do]();
  }
}

function run(op: Op, pid: number | undefined): void {
  try {
    if (op.op === 'netlink') {
      const messages = op.messages.slice();
      if (op.pidOffset !== undefined) new DataView(messages.buffer).setUint32(op.pidOffset, pid ?? 0, true);
      host.netlink(op.protocol, messages);
    } else if (op.op === 'unlink') unlinkSync(op.path);
    else if (op.op === 'writeFile') writeFileSync(op.path, op.text);
    else if (op.op === 'sysctl') writeFileSync(`/proc/sys/${op.key}`, op.value);
    else if (op.op !== 'listen' && op.op !== 'resolver')
      throw new Error(`The driver does not know the op "${op.op}"`);
  } catch (error) {
    if (op.optional !== true) throw error;
  }
}

/** Says to each client who serves it and what address it is seen with: `web 192.0.2.1`. */
function serve(address: string, port: number): Promise<void> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.end(`${label} ${socket.remoteAddress?.replace(/^::ffff:/, '')}`);
  });
  return new Promise((resolve, reject) => {
    server.on('error', reject);
    server.listen(port, address, resolve);
  });
}

function ask(address: string, port: number): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    const socket = connect(port, address);
    socket.setTimeout(1500, () => {
      socket.destroy();
      resolve('no answer');
    });
    socket.on('data', (chunk) => {
      text += chunk.toString();
    });
    socket.on('end', () => resolve(text));
    socket.on('error', (error) => resolve(String('code' in error ? error.code : error)));
  });
}

function serveUdp(address: string, port: number): Promise<void> {
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  socket.on('message', (_data, from) => {
    socket.send(`${label} ${from.address.replace(/^::ffff:/, '')}`, from.port, from.address);
  });
  return new Promise((resolve, reject) => {
    socket.on('error', reject);
    socket.bind(port, address, resolve);
  });
}

/** Always from the same port, as a DNS forwarder may. */
function askUdp(address: string, port: number): Promise<string> {
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      socket.close();
      resolve('no answer');
    }, 1500);
    socket.on('message', (data) => {
      clearTimeout(timer);
      socket.close();
      resolve(data.toString());
    });
    socket.bind(7001, () => socket.send('hello', port, address));
  });
}

/** Median duration of a plan, ms. */
async function time(input: NetworkInput, rounds: number): Promise<number> {
  const durations: number[] = [];
  for (let i = 0; i < rounds; i += 1) {
    const start = performance.now();
    const plan = await networks.plan(input);
    durations.push(performance.now() - start);
    plan.undo();
  }
  return durations.sort((a, b) => a - b)[Math.floor(rounds / 2)] ?? 0;
}

function dress(_key: string, value: unknown): unknown {
  return value instanceof Uint8Array ? { base64: Buffer.from(value).toString('base64') } : value;
}

function revive(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || !('base64' in value)) return value;
  return new Uint8Array(Buffer.from(String(value.base64), 'base64'));
}
