import { mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hashSync } from 'bcryptjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { htpasswdGuard } from '../../../src/registry/server/htpasswd.ts';

let home: string;
beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), 'tinyrun-htpasswd-'));
});
afterAll(() => rmSync(home, { recursive: true, force: true }));

const basic = (text: string): string => `Basic ${Buffer.from(text).toString('base64')}`;
const file = (text: string): string => {
  const path = join(home, 'users');
  writeFileSync(path, text);
  return path;
};

describe('htpasswdGuard()', () => {
  it.each<[string, boolean, string | undefined]>([
    ['the right password', true, basic('ann:se:cret')],
    ['the right password, remembered', true, basic('ann:se:cret')],
    ['a wrong one', false, basic('ann:secret')],
    ['nobody', false, basic('bob:se:cret')],
    ['an empty one', false, basic('ann:')],
    ['a token', false, 'Bearer x'],
    ['nothing', false, undefined],
  ])('answers %s with %s', async (_, welcome, header) => {
    const guard = htpasswdGuard(file(`# people\n\nann:${hashSync('se:cret', 4)}\n`));
    expect(await guard(header)).toBe(welcome);
    expect(await guard(header)).toBe(welcome);
  });

  it('reads a changed file', async () => {
    const path = file(`ann:${hashSync('one', 4)}\n`);
    const guard = htpasswdGuard(path);
    expect(await guard(basic('ann:one'))).toBe(true);
    file(`ann:${hashSync('two', 4)}\n`);
    utimesSync(path, 1, 1);
    expect(await guard(basic('ann:one'))).toBe(false);
    expect(await guard(basic('ann:two'))).toBe(true);
  });

  it.each([
    ['ann:plain', 'line 1 has no bcrypt password'],
    ['\nann:$apr1$x$y', 'line 2 has no bcrypt password'],
    [`ann:$2y$31$${'a'.repeat(53)}`, 'line 1 has cost 31'],
    ['# nobody', 'it has no users'],
  ])('refuses %j', (text, why) => {
    expect(() => htpasswdGuard(file(text))).toThrow(why);
  });
});
