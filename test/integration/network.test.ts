import { networkInterfaces } from 'node:os';
import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest';
import { datagram } from '../harness/datagrams.ts';
import { compileFixture } from '../harness/programs.ts';
import { freePort } from '../harness/registry.ts';
import { needing } from '../harness/requires.ts';
import { show } from '../harness/sandbox.ts';
import { type Seeded, seededSandbox } from '../harness/seed.ts';

const it = needing('root', 'overlay', 'nft', 'docker-registry', 'busybox-static');

let box: Seeded;
beforeAll(async () => {
  box = await seededSandbox();
});
afterEach(async () => {
  const ids = await box.ok(['ps', '-aq']);
  if (ids !== '') await box.ok(['rm', '-f', ...ids.split('\n')]);
});
afterAll(async () => {
  await box.dispose();
});

/** Answers each connection with the address that it came from. */
const SERVER =
  'while :; do nc -l -p 8080 -e sh -c "echo hit \\$NCAT_REMOTE_ADDR; netstat -tn 2>/dev/null | grep :8080"; done';
const server = (...flags: string[]) => box.ok(['run', '-d', ...flags, 'busybox', 'sh', '-c', SERVER]);

async function ask(host: string, port: number): Promise<string> {
  for (let attempt = 0; attempt < 40; attempt += 1) {
    const { stdout } = await box.host(['sh', '-c', `/bin/busybox nc -w 2 ${host} ${port} </dev/null`]);
    if (stdout.includes('hit')) return stdout;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`No answer from ${host}:${port}`);
}

function hostAddress(): string | undefined {
  for (const [name, addresses] of Object.entries(networkInterfaces())) {
    if (/^(tr|lo|docker)/.test(name)) continue;
    const found = addresses?.find(({ family, internal }) => family === 'IPv4' && !internal);
    if (found !== undefined) return found.address;
  }
  return undefined;
}

describe('networks', () => {
  it('bridge: an address, a default route, names in hosts, a resolver', async () => {
    const { stdout } = await box.run([
      'run',
      '--rm',
      '-h',
      'me',
      'busybox',
      'sh',
      '-c',
      'ip -4 addr show eth0; ip route; cat /etc/hosts; cat /etc/resolv.conf',
    ]);
    expect(stdout).toMatch(/inet \d+\.\d+\.\d+\.\d+\/\d+/);
    expect(stdout).toMatch(/default via \d+\.\d+\.\d+\.\d+ dev eth0/);
    expect(stdout).toMatch(/127\.0\.0\.1\s+localhost/);
    expect(stdout).toMatch(/\d+\.\d+\.\d+\.\d+\s+me/);
    expect(stdout).toMatch(/nameserver/);
  });

  it('none: loopback alone, and it is up', async () => {
    const { stdout } = await box.run([
      'run',
      '--rm',
      '--network',
      'none',
      'busybox',
      'sh',
      '-c',
      'ip -o link | wc -l; ip addr show lo',
    ]);
    expect(stdout).toMatch(/^1\n/);
    expect(stdout).toContain('127.0.0.1');
  });

  it('host: the host’s namespace', async () => {
    const own = await box.host(['readlink', '/proc/self/ns/net']);
    expect(
      (await box.run(['run', '--rm', '--network', 'host', 'busybox', 'readlink', '/proc/self/ns/net']))
        .stdout,
    ).toBe(own.stdout);
  });

  it('container: the namespace of another container', async () => {
    const id = await box.ok(['run', '-d', 'busybox', 'sleep', '100']);
    const first = await box.host([
      'readlink',
      `/proc/${await box.ok(['inspect', '-f', '{{.State.Pid}}', id])}/ns/net`,
    ]);
    const { stdout } = await box.run([
      'run',
      '--rm',
      '--network',
      `container:${id}`,
      'busybox',
      'readlink',
      '/proc/self/ns/net',
    ]);
    expect(stdout).toBe(first.stdout);
  });

  it('containers reach each other', async () => {
    const id = await server();
    const address = await box.ok(['inspect', '-f', '{{.NetworkSettings.IPAddress}}', id]);
    const outcome = await box.run([
      'run',
      '--rm',
      'busybox',
      'sh',
      '-c',
      `sleep 0.3; nc -w 3 ${address} 8080 </dev/null`,
    ]);
    expect(outcome.stdout, show(outcome)).toContain('hit');
  });

  it('refuses a network that is not there', async () => {
    const outcome = await box.run(['run', '--rm', '--network', 'nosuch', 'busybox', 'true']);
    expect(outcome.code).toBe(125);
    expect(outcome.stderr).toContain('network nosuch not found');
  });
});

describe('published ports', () => {
  it('answer on loopback, IPv4 and IPv6', async () => {
    const port = await freePort();
    await server('-p', `${port}:8080`);
    expect(await ask('127.0.0.1', port)).toContain('hit');
    expect(await ask('::1', port)).toContain('hit');
  });

  it('answer on the host’s address', async () => {
    const port = await freePort();
    const id = await server('-p', `${port}:8080`);
    // Where the host has no other address than loopback, the bridge's is one.
    const address = hostAddress() ?? (await box.ok(['inspect', '-f', '{{.NetworkSettings.Gateway}}', id]));
    expect(await ask(address, port)).toContain('hit');
  });

  it('answer another container through the gateway', async () => {
    const port = await freePort();
    const id = await server('-p', `${port}:8080`);
    const gateway = await box.ok(['inspect', '-f', '{{.NetworkSettings.Gateway}}', id]);
    const outcome = await box.run([
      'run',
      '--rm',
      'busybox',
      'sh',
      '-c',
      `sleep 0.3; nc -w 3 ${gateway} ${port} </dev/null`,
    ]);
    expect(outcome.stdout, show(outcome)).toContain('hit');
  });

  it('are shown by ps and inspect, random ones too', async () => {
    await server('-p', '8080', '--name', 'random');
    const port = /0\.0\.0\.0:(\d+)->8080\/tcp/.exec(await box.ok(['ps', '--format', '{{.Ports}}']))?.[1];
    expect(Number(port)).toBeGreaterThan(1023);
    expect(await ask('127.0.0.1', Number(port))).toContain('hit');
    expect(
      await box.ok([
        'inspect',
        '-f',
        '{{(index (index .NetworkSettings.Ports "8080/tcp") 0).HostPort}}',
        'random',
      ]),
    ).toBe(port);
  });

  it('carry udp', async () => {
    const port = await freePort();
    const program = compileFixture('udp-echo', box.directory);
    await box.ok([
      'run',
      '-d',
      '-p',
      `127.0.0.1:${port}:9/udp`,
      '-v',
      `${program}:/echo:ro`,
      'busybox',
      '/echo',
      '9',
    ]);
    expect(await datagram(port, 'ping')).toBe('udp ping');
  });

  it('refuse one that is taken, in Docker’s words', async () => {
    const port = await freePort();
    await server('-p', `${port}:8080`);
    const outcome = await box.run(['run', '--rm', '-p', `${port}:80`, 'busybox', 'true']);
    expect(outcome.code, show(outcome)).toBe(125);
    expect(outcome.stderr).toContain(`Bind for 0.0.0.0:${port} failed: port is already allocated`);
  });

  it('are free again when the container is gone, also after kill -9 of its monitor', async () => {
    const port = await freePort();
    const id = await server('-p', `${port}:8080`);
    const monitor = await box.ok(['inspect', '-f', '{{.State.Pid}}', id]);
    const { stdout } = await box.host(['sh', '-c', `ps -o ppid= -p ${monitor}`]);
    process.kill(Number(stdout.trim()), 'SIGKILL');
    await new Promise((resolve) => setTimeout(resolve, 500));
    await box.ok(['rm', '-f', id]);
    await server('-p', `${port}:8080`);
    expect(await ask('127.0.0.1', port)).toContain('hit');
  });
});
