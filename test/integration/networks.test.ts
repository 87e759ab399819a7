import { execFileSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest';
import { needing } from '../harness/requires.ts';
import { type Seeded, seededSandbox } from '../harness/seed.ts';

const it = needing('root', 'overlay', 'nft', 'docker-registry', 'busybox-static');

let box: Seeded;
const SERVER = ['sh', '-c', 'while :; do echo hello | nc -l -p 80; done'];
const serve = (name: string, ...flags: string[]) =>
  box.ok(['run', '-d', '--name', name, ...flags, 'busybox', ...SERVER]);
const addressOn = (network: string, container: string) =>
  box.ok(['inspect', '-f', `{{(index .NetworkSettings.Networks "${network}").IPAddress}}`, container]);
const ask = async (network: string, address: string) =>
  (
    await box.run(['run', '--rm', '--network', network, 'busybox', 'nc', '-w', '1', address, '80'])
  ).stdout.trim();
/** The server may not listen yet, and is deaf for a moment after each answer. */
async function answerOf(network: string, address: string): Promise<string> {
  for (let attempt = 0; attempt < 8; attempt += 1) {
    const answer = await ask(network, address);
    if (answer !== '') return answer;
  }
  return '';
}
const names = async () => (await box.ok(['network', 'ls', '--format', '{{.Name}}'])).split('\n');

beforeAll(async () => {
  box = await seededSandbox();
});
afterEach(async () => {
  const ids = await box.ok(['ps', '-aq']);
  if (ids !== '') await box.ok(['rm', '-f', ...ids.split('\n')]);
  await box.ok(['network', 'prune', '-f']);
});
afterAll(() => box.dispose());

describe('network create', () => {
  it('makes networks whose containers reach each other and nobody else', async () => {
    const id = await box.ok(['network', 'create', 'one']);
    expect(id).toMatch(/^[0-9a-f]{64}$/);
    await box.ok(['network', 'create', 'two']);
    await serve('web', '--network', 'one');
    const address = await addressOn('one', 'web');
    expect(await answerOf('one', address)).toBe('hello');
    expect(await answerOf(id.slice(0, 12), address)).toBe('hello');
    expect(await ask('two', address)).toBe('');
    expect(await ask('bridge', address)).toBe('');
  });

  it('publishes ports from any network, and the firewall is repaired with them', async () => {
    await box.ok(['network', 'create', 'one']);
    await serve('web', '--network', 'one', '-p', '18085:80');
    const gateway = await box.ok(['inspect', '-f', '{{.NetworkSettings.Gateway}}', 'web']);
    // The server is deaf for a moment after each answer.
    const get = async (from: string): Promise<string> => {
      for (let attempt = 0; attempt < 20; attempt += 1) {
        const { stdout } = await box.host(['busybox', 'nc', '-w', '2', from, '18085']);
        if (stdout !== '') return stdout.trim();
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      return '';
    };
    expect(await get('127.0.0.1')).toBe('hello');
    expect(await get(gateway)).toBe('hello');
    const table = execFileSync('nft', ['list', 'tables'], { encoding: 'utf8' })
      .split('\n')
      .find((line) => line.includes('tinyrun-'));
    execFileSync('nft', `delete ${table}`.split(' '));
    await box.ok(['run', '--rm', 'busybox', 'true']);
    expect(await get(gateway)).toBe('hello');
    expect(await get('127.0.0.1')).toBe('hello');
  });

  it('gives addresses, ranges, MTU, names and labels as told', async () => {
    await box.ok([
      ...[
        'network',
        'create',
        '--subnet',
        '10.99.4.0/24',
        '--gateway',
        '10.99.4.254',
        '--ip-range',
        '10.99.4.64/26',
      ],
      ...['-o', 'com.docker.network.driver.mtu=1400', '--label', 'tier=db', '--ipv6=false', 'told'],
    ]);
    expect(
      await box.ok([
        'run',
        '--rm',
        '--network',
        'told',
        'busybox',
        'sh',
        '-c',
        'ip -o -4 addr show eth0; ip route; cat /sys/class/net/eth0/mtu',
      ]),
    ).toMatch(/inet 10\.99\.4\.64\/24[\s\S]*default via 10\.99\.4\.254[\s\S]*1400$/);
    expect(
      await box.ok(['run', '--rm', '--network', 'told', '--ip', '10.99.4.7', 'busybox', 'hostname', '-i']),
    ).toBe('10.99.4.7');
    const shown = JSON.parse(await box.ok(['network', 'inspect', 'told']));
    expect(shown[0]).toMatchObject({
      Name: 'told',
      Driver: 'bridge',
      EnableIPv6: false,
      Labels: { tier: 'db' },
      IPAM: { Config: [{ Subnet: '10.99.4.0/24', IPRange: '10.99.4.64/26', Gateway: '10.99.4.254' }] },
    });
    const clash = await box.run(['network', 'create', '--subnet', '10.99.4.0/25', 'clash']);
    expect(clash.stderr).toContain('Pool overlaps with other one on this address space');
  });

  it('--internal makes an island', async () => {
    await box.ok(['network', 'create', '--internal', 'inner']);
    expect(await box.ok(['run', '--rm', '--network', 'inner', 'busybox', 'ip', 'route'])).not.toContain(
      'default',
    );
    const refused = await box.run(['run', '--rm', '--network', 'inner', '-p', '18086:80', 'busybox', 'true']);
    expect(refused.code).toBe(125);
    expect(refused.stderr).toContain('only on internal networks');
    await serve('web', '--network', 'inner');
    expect(await answerOf('inner', await addressOn('inner', 'web'))).toBe('hello');
  });

  it('says what is wrong with a name', async () => {
    await box.ok(['network', 'create', 'one']);
    for (const [name, message] of [
      ['one', 'network with name one already exists'],
      ['host', 'operation is not permitted on predefined host network'],
      ['a/b', 'is invalid, only'],
    ] as const) {
      const outcome = await box.run(['network', 'create', name]);
      expect([outcome.code, outcome.stderr]).toEqual([1, expect.stringContaining(message)]);
    }
  });
});

describe('a container on several networks', () => {
  it('has an interface on each, and its default route by the first that leads out', async () => {
    await box.ok(['network', 'create', '--internal', '--subnet', '10.99.8.0/24', 'inner']);
    await box.ok(['network', 'create', '--subnet', '10.99.9.0/24', 'outer']);
    await serve('web', '--network', 'inner', '--network', 'name=outer,ip=10.99.9.77');
    expect(await addressOn('outer', 'web')).toBe('10.99.9.77');
    expect(await box.ok(['exec', 'web', 'ip', 'route'])).toMatch(
      /^default via 10\.99\.9\.1 dev eth1 onlink\s*\n10\.99\.8\.0\/24 via 10\.99\.8\.1 dev eth0/,
    );
    expect(await answerOf('inner', await addressOn('inner', 'web'))).toBe('hello');
    expect(await answerOf('outer', '10.99.9.77')).toBe('hello');
    expect(await box.ok(['ps', '--format', '{{.Networks}}'])).toBe('inner,outer');
  });
});

/** A name server of the host, on an address that only the host reaches. */
function nameServer(address: string): Promise<{ close: () => void; readonly questions: string[] }> {
  const questions: string[] = [];
  const socket = createSocket('udp4', (query, { port, address: from }) => {
    questions.push(query.subarray(13, 13 + (query[12] ?? 0)).toString());
    // The question as it was, an A record 192.0.2.7 behind it.
    const answer = Buffer.concat([
      query.subarray(0, query.indexOf(0, 12) + 5),
      Buffer.from('c00c000100010000003c0004c0000207', 'hex'),
    ]);
    answer.set([0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0], 2);
    socket.send(answer, port, from);
  });
  return new Promise((resolve) =>
    socket.bind(53, address, () => resolve({ close: () => socket.close(), questions })),
  );
}

describe('names on a network', () => {
  const lookUp = async (network: string, ...names: string[]) =>
    box.ok([
      'run',
      '--rm',
      '--network',
      network,
      'busybox',
      'sh',
      '-c',
      'for n in "$@"; do nslookup $n | tail -n +3; done',
      'sh',
      ...names,
    ]);

  it('are those of the containers, their aliases and short ids, as long as they are there', async () => {
    await box.ok(['network', 'create', '--subnet', '10.99.6.0/24', '--ipv6=false', 'one']);
    await box.ok(['network', 'create', 'two']);
    const id = await serve('Web', '--network', 'one', '--network-alias', 'shop', '--ip', '10.99.6.9');
    const found = await lookUp('one', 'web', 'shop', 'web.one', id.slice(0, 12), '10.99.6.9');
    expect(found.match(/Address: 10\.99\.6\.9/g)).toHaveLength(4);
    expect(found).toContain('name = web.one');
    expect(await lookUp('one', 'host.tinyrun.internal')).toContain('Address: 10.99.6.1');
    const servers = await nameServer('127.0.0.9');
    const elsewhere = [
      'run',
      '--rm',
      '--network',
      'two',
      '--dns',
      '127.0.0.9',
      'busybox',
      'nslookup',
      '-type=a',
      'web',
    ];
    expect(await box.ok(elsewhere)).toContain('192.0.2.7');
    await box.ok(['rm', '-f', 'Web']);
    expect(
      await box.ok([
        'run',
        '--rm',
        '--network',
        'one',
        '--dns',
        '127.0.0.9',
        'busybox',
        'nslookup',
        '-type=a',
        'web',
      ]),
    ).toContain('192.0.2.7');
    servers.close();
    expect(servers.questions).toEqual(['web', 'web']);
  });

  it('on the default network, too; several containers may share an alias', async () => {
    await serve('alpha', '--network-alias', 'pool');
    await serve('beta', '--network-alias', 'pool');
    const found = await lookUp('bridge', 'pool', 'alpha');
    const addresses = await Promise.all(['alpha', 'beta'].map((name) => addressOn('bridge', name)));
    for (const address of addresses) expect(found).toContain(`Address: ${address}`);
  });

  it('never leave an internal network (CVE-2024-29018)', async () => {
    await box.ok(['network', 'create', '--internal', 'inner']);
    const servers = await nameServer('127.0.0.9');
    const asked = await box.run([
      'run',
      '--rm',
      '--network',
      'inner',
      '--dns',
      '127.0.0.9',
      'busybox',
      'nslookup',
      'secret.example',
    ]);
    servers.close();
    expect(asked.stdout + asked.stderr).toMatch(/NXDOMAIN|can't find/);
    expect(servers.questions).toEqual([]);
  });

  it('leave port 53 to a container that serves it', async () => {
    expect(
      await box.ok(['run', '--rm', '--expose', '53/udp', 'busybox', 'cat', '/etc/resolv.conf']),
    ).not.toContain('127.0.0.11');
  });

  it('survive whatever a container sends', async () => {
    await serve('target');
    const noise =
      'for i in $(seq 200); do head -c $((i * 7)) /dev/urandom | nc -u -w0 127.0.0.11 53; done; nslookup target';
    expect(await box.ok(['run', '--rm', 'busybox', 'sh', '-c', noise], { timeout: 50_000 })).toContain(
      'Address: ',
    );
  });
});

describe('network rm and prune', () => {
  it('refuse what is in use, and leave nothing of what is not', async () => {
    await box.ok(['network', 'create', 'busy']);
    await box.ok(['network', 'create', 'idle']);
    await serve('web', '--network', 'busy');
    const refused = await box.run(['network', 'rm', 'busy']);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain('network busy has active endpoints');
    expect(await box.ok(['network', 'prune', '-f'])).toBe('Deleted Networks:\nidle\n');
    expect(await names()).toEqual(['bridge', 'busy', 'host', 'none']);
    await box.ok(['rm', '-f', 'web']);
    expect(await box.ok(['network', 'rm', 'busy'])).toBe('busy');
    const builtin = await box.run(['network', 'rm', 'bridge']);
    expect(builtin.stderr).toContain('bridge is a pre-defined network and cannot be removed');
    const missing = await box.run(['run', '--rm', '--network', 'busy', 'busybox', 'true']);
    expect([missing.code, missing.stderr]).toEqual([125, expect.stringContaining('network busy not found')]);
  });

  it('networks that are made at once have subnets of their own', async () => {
    const made = Array.from({ length: 10 }, (_, number) => `many${number}`);
    await Promise.all(made.map((name) => box.ok(['network', 'create', name])));
    const subnets = await box.ok(['network', 'inspect', '-f', '{{(index .IPAM.Config 0).Subnet}}', ...made]);
    expect(new Set(subnets.split('\n')).size).toBe(10);
  });
});
