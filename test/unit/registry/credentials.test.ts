import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findCredentials } from '../../../src/registry/credentials.ts';

const SECRET = 's3cr3t:with:colons';
const base64 = (text: string) => Buffer.from(text).toString('base64');
const auth = { auth: base64(`me:${SECRET}`) };
const me = { type: 'basic', username: 'me', password: SECRET };

let home: string;
let env: Record<string, string>;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'tinyrun-credentials-'));
  env = { HOME: home, PATH: `${home}/bin:/usr/bin:/bin`, XDG_RUNTIME_DIR: join(home, 'run') };
});
afterEach(() => rmSync(home, { recursive: true, force: true }));

function write(path: string, value: unknown): void {
  const full = join(home, path);
  mkdirSync(join(full, '..'), { recursive: true });
  writeFileSync(full, typeof value === 'string' ? value : JSON.stringify(value));
}

function helper(name: string, script: string): void {
  write(`bin/docker-credential-${name}`, `#!/bin/sh\n${script}\n`);
  chmodSync(join(home, 'bin', `docker-credential-${name}`), 0o755);
}

const find = (host: string, repository = 'library/x', helperTimeout = 5000) =>
  findCredentials(host, repository, { env, dockerConfigDir: join(home, '.docker'), helperTimeout });

describe('findCredentials() in config files', () => {
  it('finds nothing where there is nothing', async () => {
    expect(await find('r.io')).toBeUndefined();
  });

  it.each<[string, unknown, string, unknown]>([
    ['by host', { auths: { 'r.io': auth } }, 'r.io', me],
    ['by host and port', { auths: { 'r.io:5000': auth } }, 'r.io:5000', me],
    ['not for another port', { auths: { 'r.io': auth } }, 'r.io:5000', undefined],
    ['not for a subdomain', { auths: { 'r.io': auth } }, 'x.r.io', undefined],
    ['by URL', { auths: { 'https://r.io/v1/': auth } }, 'r.io', me],
    ["by Docker Hub's key", { auths: { 'https://index.docker.io/v1/': auth } }, 'docker.io', me],
    ["by Docker Hub's name", { auths: { 'docker.io': auth } }, 'docker.io', me],
    ['by user name and password', { auths: { 'r.io': { username: 'me', password: SECRET } } }, 'r.io', me],
    [
      'an identity token',
      { auths: { 'r.io': { identitytoken: 'idt' } } },
      'r.io',
      { type: 'identity', token: 'idt' },
    ],
    [
      'an identity token before a password',
      { auths: { 'r.io': { ...auth, identitytoken: 'idt' } } },
      'r.io',
      { type: 'identity', token: 'idt', username: 'me' },
    ],
    [
      'a registry token',
      { auths: { 'r.io': { registrytoken: 'rt' } } },
      'r.io',
      { type: 'bearer', token: 'rt' },
    ],
    [
      'a padded password',
      { auths: { 'r.io': { auth: base64('me:pw\0\0') } } },
      'r.io',
      { type: 'basic', username: 'me', password: 'pw' },
    ],
    ['an empty entry', { auths: { 'r.io': {} } }, 'r.io', undefined],
    ['null for auths', { auths: null }, 'r.io', undefined],
  ])('%s', async (_name, config, host, expected) => {
    write('.docker/config.json', config);
    expect(await find(host)).toEqual(expected);
  });

  it('takes the most specific of a namespace and a host', async () => {
    const entry = (user: string) => ({ auth: base64(`${user}:x`) });
    write('.docker/config.json', {
      auths: { 'r.io': entry('host'), 'r.io/team': entry('team'), 'r.io/team/app': entry('app') },
    });
    expect(await find('r.io', 'team/app')).toMatchObject({ username: 'app' });
    expect(await find('r.io', 'team/other')).toMatchObject({ username: 'team' });
    expect(await find('r.io', 'teams/app')).toMatchObject({ username: 'host' });
  });

  it('goes through the files in order', async () => {
    const file = (user: string) => ({ auths: { 'r.io': { auth: base64(`${user}:x`) } } });
    write('.config/containers/auth.json', file('config'));
    expect(await find('r.io')).toMatchObject({ username: 'config' });
    write('run/containers/auth.json', file('runtime'));
    expect(await find('r.io')).toMatchObject({ username: 'runtime' });
    write('.docker/config.json', file('docker'));
    expect(await find('r.io')).toMatchObject({ username: 'docker' });
    write('given.json', file('given'));
    env.REGISTRY_AUTH_FILE = join(home, 'given.json');
    expect(await find('r.io')).toMatchObject({ username: 'given' });
    env.DOCKER_AUTH_CONFIG = JSON.stringify(file('environment'));
    expect(await find('r.io')).toMatchObject({ username: 'environment' });
  });

  it.each<[string, unknown, string]>([
    ['no JSON', '{"auths": {', 'not valid JSON'],
    ['no base64', { auths: { 'r.io': { auth: `${SECRET}!` } } }, 'is not the base64 form'],
    [
      'no colon',
      { auths: { 'r.io': { auth: base64(SECRET.replaceAll(':', '')) } } },
      'is not the base64 form',
    ],
    ['a number', { auths: { 'r.io': { auth: 5 } } }, '"auth" is not a string'],
    ['a list', { auths: [] }, '"auths" is not an object'],
  ])('names the file, not the secret, where there is %s', async (_name, config, message) => {
    write('.docker/config.json', config);
    const error = await find('r.io').catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ kind: 'invalid', message: expect.stringContaining(message) });
    expect(String(error)).toContain('config.json');
    expect(String(error)).not.toContain('s3cr3t');
  });
});

describe('findCredentials() from helpers', () => {
  it('asks the helper by stdin, without a shell', async () => {
    helper(
      'mine',
      `read server; [ "$1" = get ] && echo "{\\"ServerURL\\":\\"$server\\",\\"Username\\":\\"$server\\",\\"Secret\\":\\"x\\"}"`,
    );
    write('.docker/config.json', { credsStore: 'mine' });
    expect(await find('r.io')).toEqual({ type: 'basic', username: 'r.io', password: 'x' });
    expect(await find('docker.io')).toMatchObject({ username: 'https://index.docker.io/v1/' });
  });

  it('takes credHelpers before credsStore before auths', async () => {
    const answers = (user: string) => `echo '{"Username":"${user}","Secret":"x"}'`;
    helper('one', answers('one'));
    helper('two', answers('two'));
    write('.docker/config.json', {
      credHelpers: { 'r.io': 'one' },
      credsStore: 'two',
      auths: { 'r.io': auth, 's.io': auth },
    });
    expect(await find('r.io')).toMatchObject({ username: 'one' });
    expect(await find('s.io')).toMatchObject({ username: 'two' });
  });

  it('takes the user name <token> for an identity token', async () => {
    helper('mine', `echo '{"Username":"<token>","Secret":"idt"}'`);
    write('.docker/config.json', { credsStore: 'mine' });
    expect(await find('r.io')).toEqual({ type: 'identity', token: 'idt' });
  });

  it('is anonymous where the helper knows nothing, and reads on only after a store', async () => {
    helper('empty', "echo 'credentials not found in native keychain'; exit 1");
    write('.docker/config.json', {
      credHelpers: { 'r.io': 'empty' },
      credsStore: 'empty',
      auths: { 'r.io': auth, 's.io': auth },
    });
    expect(await find('r.io')).toBeUndefined();
    expect(await find('s.io')).toEqual(me);
  });

  it.each<[string, string | undefined, string]>([
    ['is missing (CVE-2021-41092)', undefined, 'docker-credential-mine is not installed'],
    ['fails', `echo ${SECRET}; exit 3`, 'exited with code 3'],
    ['prints no JSON', `echo ${SECRET}`, 'printed no JSON'],
    ['prints too much', 'head -c 1000000 /dev/zero', 'printed too much'],
    ['never ends', 'exec sleep 60', 'gave no answer within 0.3 s'],
  ])('refuses to go on where the helper %s', async (_name, script, message) => {
    if (script !== undefined) helper('mine', script);
    write('.docker/config.json', { credsStore: 'mine', auths: { 'r.io': auth } });
    const error = await find('r.io', 'x', 300).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ kind: 'unauthorized', message: expect.stringContaining(message) });
    expect(String(error)).not.toContain('s3cr3t');
  });

  it.each(['../evil', '/bin/sh', 'a b', ''])('refuses the helper name "%s"', async (name) => {
    write('.docker/config.json', { credHelpers: { 'r.io': name } });
    await expect(find('r.io')).rejects.toMatchObject({
      kind: 'unauthorized',
      message: expect.stringContaining('bad name'),
    });
  });
});
