import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest';
import { datagram } from '../harness/datagrams.ts';
import { compileFixture } from '../harness/programs.ts';
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
  // Whatever was changed: nothing leads to a container that is gone.
  const rules = await box.host(['nft', 'list', 'ruleset']);
  expect(rules.stdout).not.toMatch(/elements = /);
});
afterAll(async () => {
  await box.dispose();
});

const serve = (...flags: string[]) =>
  box.ok([
    ...['run', '-d', '--name', 'web', ...flags, 'busybox', 'sh', '-c'],
    'mkdir /www; echo here >/www/index.html; httpd -p 80 -h /www; httpd -f -p 81 -h /www',
  ]);
const get = async (port: number, host = '127.0.0.1') =>
  (
    await box.host([
      'curl',
      '-s',
      '-m',
      '5',
      '--retry',
      '5',
      '--retry-connrefused',
      `http://${host}:${port}/`,
    ])
  ).stdout;
const refused = async (port: number, host = '127.0.0.1') =>
  (await box.host(['curl', '-s', '-m', '3', `http://${host}:${port}/`])).code === 7;
const update = (...flags: string[]) => box.run(['update', ...flags, 'web']);
const published = () => box.ok(['port', 'web']);

/** An address of this machine that is not loopback, where the firewall leads on. */
async function ownAddress(): Promise<string> {
  const { stdout } = await box.host(['ip', '-4', '-o', 'addr', 'show', 'scope', 'global']);
  const address = [...stdout.matchAll(/^\d+: (\S+) +inet ([\d.]+)/gm)].find(
    ([, name]) => !name?.startsWith('tr'),
  );
  return address?.[2] ?? '';
}

describe('update --publish-add, --publish-rm', () => {
  it('publishes while the container runs, from loopback and from elsewhere, and takes back', async () => {
    await serve();
    const own = await ownAddress();
    expect((await update('--publish-add', '18180:80', '--publish-add', '18181:81')).code).toBe(0);
    expect(await get(18180)).toBe('here\n');
    expect(await get(18181, own)).toBe('here\n');
    expect(await published()).toMatch(/80\/tcp -> 0\.0\.0\.0:18180[\s\S]*81\/tcp -> 0\.0\.0\.0:18181/);
    expect(await box.ok(['ps', '--format', '{{.Ports}}'])).toContain('0.0.0.0:18180-18181->80-81/tcp');
    expect((await update('--publish-rm', '80')).code).toBe(0);
    expect(await refused(18180)).toBe(true);
    expect(await refused(18180, own)).toBe(true);
    expect(await get(18181, own)).toBe('here\n');
    expect(await published()).not.toContain('18180');
  });

  it('leaves what the launch plan published to be taken back in the end', async () => {
    await serve('-p', '18180:80');
    await update('--publish-rm', '18180:80');
    expect(await refused(18180)).toBe(true);
    // Somebody else has the port now, and keeps it when the first one ends.
    await box.ok(['run', '-d', '--name', 'other', '-p', '18180:80', 'busybox', 'httpd', '-f', '-p', '80']);
    await box.ok(['rm', '-f', 'web']);
    const own = await ownAddress();
    const answer = await box.host([
      'curl',
      '-s',
      '-m',
      '5',
      '-o',
      '/dev/null',
      '-w',
      '%{http_code}',
      `http://${own}:18180/`,
    ]);
    expect(answer.stdout).toBe('404');
  });

  it('a taken port is Docker’s error, and nothing has changed', async () => {
    await serve('-p', '18180:80');
    await box.ok(['run', '-d', '--name', 'other', '-p', '18181:80', 'busybox', 'sleep', '100']);
    const outcome = await update(
      '--publish-add',
      '18182:81',
      '--publish-add',
      '18181:81',
      '--publish-rm',
      '80',
    );
    expect(outcome.code, show(outcome)).toBe(1);
    expect(outcome.stderr).toContain('Bind for 0.0.0.0:18181 failed: port is already allocated');
    expect(await get(18180)).toBe('here\n');
    expect(await get(18180, await ownAddress())).toBe('here\n');
    expect(await refused(18182)).toBe(true);
    expect((await update('--publish-rm', '99')).stderr).toContain(
      '99/tcp of container "web": it is not published',
    );
  });

  it('a port may get another target, and later starts have it, too', async () => {
    await serve('-p', '18180:99');
    expect((await update('--publish-rm', '99', '--publish-add', '18180:80')).code).toBe(0);
    expect(await get(18180)).toBe('here\n');
    await box.ok(['restart', '-t', '0', 'web']);
    expect(await get(18180)).toBe('here\n');
    await box.ok(['stop', '-t', '0', 'web']);
    await update('--publish-rm', '80', '--publish-add', '18183:80');
    await box.ok(['start', 'web']);
    expect(await get(18183)).toBe('here\n');
    expect(await refused(18180)).toBe(true);
  });

  it('leaves nothing when the monitor is killed', async () => {
    const id = await serve('-p', '18180:80');
    await update('--publish-add', '18181:81', '--publish-rm', '80');
    const state = JSON.parse(readFileSync(join(box.root, 'containers', id, 'state.json'), 'utf8'));
    process.kill(state.monitorPid, 'SIGKILL');
    await new Promise((resolve) => setTimeout(resolve, 300));
    await box.ok(['ps', '-a']);
    expect((await box.host(['nft', 'list', 'ruleset'])).stdout).not.toMatch(/elements = /);
  });

  it('kill -9 of the command leaves nothing that leads nowhere', async () => {
    await serve('-p', '18180:80');
    for (let round = 0; round < 8; round += 1) {
      const flags = ['--publish-rm', '80', '--publish-add', `${18181 + round}:80`];
      const child = box.start(['update', ...flags, 'web']);
      const closed = new Promise((resolve) => child.once('close', resolve));
      setTimeout(() => child.kill('SIGKILL'), 60 + round * 20);
      await closed;
    }
    // Whatever the last one has done, the next one finds the way.
    expect((await update('--publish-add', '18190:81')).code).toBe(0);
    expect(await get(18190, await ownAddress())).toBe('here\n');
    const child = box.start(['update', '--publish-add', '18191:81', 'web']);
    const closed = new Promise((resolve) => child.once('close', resolve));
    setTimeout(() => child.kill('SIGKILL'), 130);
    await closed;
  });

  it('forwards datagrams to a port that was added', async () => {
    const program = compileFixture('udp-echo', box.directory);
    await box.ok(['run', '-d', '--name', 'web', '-v', `${program}:/echo:ro`, 'busybox', '/echo', '9']);
    expect((await update('--publish-add', '18153:9/udp')).code).toBe(0);
    expect(await datagram(18153, 'ping')).toBe('udp ping');
  });

  it('says why where there is nothing to publish on', async () => {
    await box.ok(['run', '-d', '--name', 'web', '--network', 'none', 'busybox', 'sleep', '100']);
    expect((await update('--publish-add', '18180:80')).stderr).toContain('it has the network mode "none"');
  });
});
