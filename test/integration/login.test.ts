import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { type AuthProxy, startAuthProxy } from '../harness/auth-proxy.ts';
import { needing } from '../harness/requires.ts';
import { show } from '../harness/sandbox.ts';
import { type Seeded, seededSandbox } from '../harness/seed.ts';

const it = needing('root', 'overlay', 'docker-registry', 'busybox-static', 'skopeo');
const PASSWORD = 'correct horse';

let box: Seeded;
let basic: AuthProxy;
let bearer: AuthProxy;
beforeAll(async () => {
  box = await seededSandbox();
  basic = await startAuthProxy(box.registry.address, { username: 'me', password: PASSWORD, scheme: 'basic' });
  bearer = await startAuthProxy(box.registry.address, {
    username: 'me',
    password: PASSWORD,
    scheme: 'bearer',
  });
});
afterAll(async () => {
  await basic.close();
  await bearer.close();
  await box.dispose();
});

const config = () => readFileSync(join(box.directory, 'docker', 'config.json'), 'utf8');
const login = (server: string, password = PASSWORD) =>
  box.run(['login', '-u', 'me', '--password-stdin', server], { input: `${password}\n` });

describe('login and logout', () => {
  it.each(['basic', 'bearer'] as const)('opens a registry that asks for %s', async (scheme) => {
    const { address } = scheme === 'basic' ? basic : bearer;
    const name = `${address}/library/busybox`;
    const before = await box.run(['pull', name]);
    expect(before.code).toBe(1);
    expect(before.stderr).toContain(`pull access denied for ${name}`);

    const outcome = await login(address);
    expect(outcome.stdout, show(outcome)).toBe('Login Succeeded\n');
    expect(outcome.stderr).toContain("stored unencrypted in '");
    expect(statSync(join(box.directory, 'docker', 'config.json')).mode & 0o777).toBe(0o600);
    await box.ok(['pull', '-q', name]);
    // What tinyrun wrote, others read.
    const inspected = await box.host([
      'skopeo',
      'inspect',
      '--tls-verify=false',
      '--authfile',
      join(box.directory, 'docker', 'config.json'),
      `docker://${name}`,
    ]);
    expect(inspected.code, show(inspected)).toBe(0);

    expect(await box.ok(['logout', address])).toBe(`Removing login credentials for ${address}`);
    expect(await box.ok(['logout', address])).toBe(`Not logged in to ${address}`);
    expect(config()).not.toContain(address);
  });

  it('keeps nothing where the registry refuses, and says nothing secret', async () => {
    for (const { address } of [basic, bearer]) {
      const outcome = await login(address, 'wrong-password');
      expect(outcome.code).toBe(1);
      expect(outcome.stdout).toBe('');
      expect(outcome.stderr).toContain('incorrect username or password');
      expect(outcome.stderr).not.toContain('wrong-password');
      expect(config()).not.toContain(address);
    }
  });

  it('warns of -p, and refuses what cannot be', async () => {
    const plain = await box.run(['login', '-u', 'me', '-p', PASSWORD, basic.address]);
    expect(plain.code, show(plain)).toBe(0);
    expect(plain.stderr).toContain(
      'WARNING! Using --password via the CLI is insecure. Use --password-stdin.',
    );
    await box.ok(['logout', basic.address]);
    const cases: [string[], string][] = [
      [['--password-stdin'], 'Must provide --username with --password-stdin'],
      [['-u', 'me', '-p', 'x', '--password-stdin'], 'mutually exclusive'],
      [[], 'Cannot perform an interactive login from a non TTY device'],
      [['-u', 'me', '--password-stdin'], 'password is empty'],
    ];
    for (const [flags, text] of cases) {
      const outcome = await box.run(['login', ...flags, basic.address]);
      expect(outcome.code).toBe(1);
      expect(outcome.stderr).toContain(text);
    }
  });
});
