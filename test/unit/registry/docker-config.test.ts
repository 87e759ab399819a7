import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { findCredentials } from '../../../src/registry/credentials.ts';
import {
  type DockerConfig,
  removeCredentials,
  saveCredentials,
  serverKey,
} from '../../../src/registry/docker-config.ts';

const HUB = 'https://index.docker.io/v1/';

let top: string;
let config: DockerConfig;
beforeEach(() => {
  top = mkdtempSync(join(tmpdir(), 'tinyrun-config-'));
  config = { directory: join(top, 'docker'), env: { PATH: `${top}:/usr/bin:/bin` }, timeout: 10_000 };
});
afterEach(() => rmSync(top, { recursive: true, force: true }));

const file = () => join(config.directory, 'config.json');
const content = () => JSON.parse(readFileSync(file(), 'utf8')) as Record<string, unknown>;
const put = (value: unknown) => {
  mkdirSync(config.directory, { recursive: true });
  writeFileSync(file(), JSON.stringify(value));
};
const found = (host: string) => findCredentials(host, 'a/b', { env: {}, dockerConfigDir: config.directory });

test.each([
  ['', HUB],
  ['docker.io', HUB],
  ['index.docker.io', HUB],
  [HUB, HUB],
  ['https://registry.example.com/v2/', 'registry.example.com'],
  ['registry.example.com/', 'registry.example.com'],
  ['localhost:5000', 'localhost:5000'],
])('serverKey() of "%s"', (server, key) => {
  expect(serverKey(server)).toBe(key);
});

test('saveCredentials() writes what pulls read, for the owner only, and keeps what others wrote', async () => {
  put({ detachKeys: 'ctrl-a', auths: { other: { auth: 'eDp5' } }, unknown: { deep: [1] } });
  const entry = { key: 'localhost:5000', username: 'me', password: 'p:äß' };
  expect(await saveCredentials(config, entry)).toBe(file());
  expect(await found('localhost:5000')).toEqual({ type: 'basic', username: 'me', password: 'p:äß' });
  expect(content()).toMatchObject({
    detachKeys: 'ctrl-a',
    unknown: { deep: [1] },
    auths: { other: { auth: 'eDp5' } },
  });
  expect(statSync(file()).mode & 0o777).toBe(0o600);
});

test('saveCredentials() writes through a link', async () => {
  const real = join(top, 'dotfile.json');
  writeFileSync(real, '{}');
  mkdirSync(config.directory);
  symlinkSync(real, file());
  await saveCredentials(config, { key: HUB, username: 'me', password: 'x' });
  expect(readFileSync(real, 'utf8')).toContain(HUB);
  expect(await found('docker.io')).toMatchObject({ username: 'me' });
});

test('saveCredentials() and removeCredentials() use the helper that the config names, by stdin only', async () => {
  const helper = join(top, 'docker-credential-test');
  writeFileSync(helper, `#!/bin/sh\n{ echo "$@"; cat; echo; } >> ${top}/log\n`);
  chmodSync(helper, 0o755);
  put({ credHelpers: { host: 'test' } });
  expect(await saveCredentials(config, { key: 'host', username: 'me', password: 'secret' })).toBeUndefined();
  expect(content()).toEqual({ credHelpers: { host: 'test' }, auths: { host: {} } });
  expect(await removeCredentials(config, 'host')).toBe(true);
  expect(readFileSync(join(top, 'log'), 'utf8')).toBe(
    'store\n{"ServerURL":"host","Username":"me","Secret":"secret"}\nerase\nhost\n\n',
  );
  expect(content()).toEqual({ credHelpers: { host: 'test' }, auths: {} });
});

test('saveCredentials() with a helper that is missing fails without the password in the error', async () => {
  put({ credsStore: 'nosuch' });
  const failed = saveCredentials(config, { key: 'host', username: 'me', password: 'secret' });
  await expect(failed).rejects.toThrow('docker-credential-nosuch is not installed');
  await expect(failed).rejects.not.toThrow('secret');
  expect(content()).toEqual({ credsStore: 'nosuch' });
});

test('removeCredentials() takes the address forms of old versions, too', async () => {
  put({ auths: { 'https://host/v1/': { auth: 'eDp5' }, host: { auth: 'eDp5' }, 'host.example': {} } });
  expect(await removeCredentials(config, 'host')).toBe(true);
  expect(content()).toEqual({ auths: { 'host.example': {} } });
  expect(await removeCredentials(config, 'host')).toBe(false);
});

test('removeCredentials() refuses a damaged file and leaves it alone', async () => {
  mkdirSync(config.directory);
  writeFileSync(file(), '{"auths":');
  await expect(removeCredentials(config, 'host')).rejects.toThrow('it is not valid JSON');
  expect(readFileSync(file(), 'utf8')).toBe('{"auths":');
});
