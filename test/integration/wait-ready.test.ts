import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest';
import { needing } from '../harness/requires.ts';
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
afterAll(() => box.dispose());

const run = (...args: string[]) => box.run(['run', '-d', ...args]);
const script = (text: string) => ['busybox', 'sh', '-c', text];
const CHECKED = [
  '--network',
  'none',
  '--health-cmd',
  'test -e /ok',
  '--health-interval',
  '100ms',
  '--health-retries',
  '3',
];

describe('run -d --wait', () => {
  it('returns when the health check says so', async () => {
    const slow = script('sleep 0.4; touch /ok; sleep 100');
    const { code, stdout } = await run(
      '--wait',
      '--name',
      'slow',
      ...CHECKED,
      '--health-retries',
      '30',
      ...slow,
    );
    expect([code, /^[0-9a-f]{64}\n$/.test(stdout)]).toEqual([0, true]);
    expect(await box.ok(['inspect', '--format', '{{.State.Health.Status}}', 'slow'])).toBe('healthy');
  });

  it('fails with the last lines of one that becomes unhealthy or ends', async () => {
    const sick = await run('--wait', '--name', 'sick', ...CHECKED, ...script('echo no db; sleep 100'));
    expect([sick.code, sick.stderr]).toEqual([125, 'no db\ntinyrun: Container "sick" is unhealthy\n']);
    const dead = await run('--wait', '--name', 'dead', ...CHECKED, ...script('seq 1 20; exit 3'));
    const lines = Array.from({ length: 10 }, (_, at) => `${at + 11}\n`).join('');
    expect(dead.stderr).toBe(`${lines}tinyrun: Container "dead" exited (3) before it was ready\n`);
    const gone = await run(
      '--rm',
      '--wait-for',
      'health',
      '--name',
      'gone',
      ...CHECKED,
      ...script('echo oh; exit 4'),
    );
    expect([gone.code, gone.stderr]).toEqual([
      125,
      'oh\ntinyrun: Container "gone" exited (4) before it was ready\n',
    ]);
  });

  it('waits for the ports that are published', async () => {
    const server = script('sleep 0.5; echo listening; while :; do nc -l -p 80 -e echo hi; done');
    const { code } = await run('--wait', '--name', 'web', '-p', '127.0.0.1:38481:80', ...server);
    expect(code).toBe(0);
    expect(await box.ok(['logs', 'web'])).toBe('listening');
  });

  it('--wait-for log= waits for a line, also of a later life', async () => {
    const flags = ['--network', 'none', '--restart', 'on-failure:5'];
    const late = script(
      'echo x >>/lives; echo "life $(wc -l </lives)"; test $(wc -l </lives) = 3 || exit 1; sleep 100',
    );
    const { code } = await run('--wait-for', 'log=^life [3-9]$', '--name', 'late', ...flags, ...late);
    expect(code).toBe(0);
    expect(await box.ok(['ps', '--format', '{{.Names}}'])).toBe('late');
    const never = await run(
      '--wait-for',
      'log=ready',
      '--name',
      'never',
      '--network',
      'none',
      ...script('echo bye'),
    );
    expect([never.code, never.stderr]).toEqual([
      125,
      'bye\ntinyrun: Container "never" exited (0) before it was ready\n',
    ]);
  });

  it('--wait-for exit gives its exit code', async () => {
    expect((await run('--wait-for', 'exit', '--network', 'none', ...script('exit 0'))).code).toBe(0);
    const failed = await run(
      '--rm',
      '--wait-for',
      'exit',
      '--network',
      'none',
      ...script('echo why; exit 7'),
    );
    expect([failed.code, failed.stderr]).toEqual([7, 'why\n']);
  });

  it('--wait-timeout leaves the container running', async () => {
    const flags = ['--wait-timeout', '1', '--network', 'none', '--wait-for', 'log=ready'];
    const { code, stderr } = await run('--name', 'late', ...flags, ...script('echo not yet; sleep 100'));
    expect([code, stderr]).toEqual([125, 'not yet\ntinyrun: Container "late" is not ready in time\n']);
    expect(await box.ok(['ps', '--format', '{{.Names}}'])).toBe('late');
  });

  it('says what cannot be waited for', async () => {
    expect((await box.run(['run', '--wait', 'busybox', 'true'])).stderr).toContain('--wait needs --detach');
    expect((await run('--wait-for', 'luck', 'busybox', 'true')).stderr).toContain(
      'expected health, port, log=REGEX, exit',
    );
    const portless = await run('--wait-for', 'port', '--network', 'none', ...script('sleep 100'));
    expect(portless.stderr).toContain('it publishes none');
  });
});
