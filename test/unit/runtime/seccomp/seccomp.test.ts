import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { SecurityOption } from '../../../../src/engine/options.ts';
import { DEFAULT_CAPABILITIES } from '../../../../src/runtime/capabilities.ts';
import { defaultKey, type SeccompInput, seccompFor } from '../../../../src/runtime/seccomp/seccomp.ts';

const CONTEXT = { capabilities: DEFAULT_CAPABILITIES, arch: 'x64', kernel: '6.1' } as const;
const PROGRAM = new Uint8Array(16).fill(7);
const NONE = { securityOpt: [], privileged: false } as const;

let directory = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tinyrun-seccomp-test-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

const ask = (more: Partial<SeccompInput> = {}) =>
  seccompFor({ ...CONTEXT, ...NONE, programPath: (hash) => join(directory, hash), ...more });
const profile = (text: string): SecurityOption => ({ type: 'seccomp', profile: text });

describe('seccompFor()', () => {
  test('reads a program that is kept, and nothing else', async () => {
    writeFileSync(join(directory, defaultKey(CONTEXT)), PROGRAM);
    const filter = await ask();
    expect(new Uint8Array(filter?.program ?? [])).toEqual(PROGRAM);
    expect(filter?.seccomp.defaultAction).toBe('SCMP_ACT_ERRNO');
    expect(readdirSync(directory)).toHaveLength(1);
  });

  test('reads a program that the package carries', async () => {
    const carried = mkdtempSync(join(directory, 'carried-'));
    writeFileSync(join(carried, defaultKey(CONTEXT)), PROGRAM);
    expect(new Uint8Array((await ask({ carried }))?.program ?? [])).toEqual(PROGRAM);
  });

  test.each<[string, Partial<SeccompInput>]>([
    ['asked to be', { securityOpt: [profile('unconfined')] }],
    ['privileged', { privileged: true }],
    ['the last word is', { securityOpt: [profile('default'), profile('unconfined')] }],
    ['a profile that says nothing', { securityOpt: [profile('{}')] }],
  ])('is unconfined: %s', async (_name, more) => {
    expect(await ask(more)).toBeUndefined();
  });

  test('takes a profile for a privileged container where one is given', async () => {
    writeFileSync(join(directory, defaultKey(CONTEXT)), PROGRAM);
    expect(await ask({ privileged: true, securityOpt: [profile('default')] })).toBeDefined();
  });

  test('refuses a profile that makes no sense before anything is compiled', async () => {
    await expect(ask({ securityOpt: [profile('{"defaultAction":"X"}')] })).rejects.toThrow(
      'no action of seccomp',
    );
    expect(readdirSync(directory)).toEqual([]);
  });
});

const hasLibrary = ['/usr/lib/x86_64-linux-gnu', '/lib/x86_64-linux-gnu', '/usr/lib64', '/usr/lib'].some(
  (path) => existsSync(join(path, 'libseccomp.so.2')),
);

describe.skipIf(!hasLibrary || process.arch !== 'x64')('seccompFor() with libseccomp', () => {
  test('compiles what is not kept, once, and again where it is damaged', async () => {
    const path = join(directory, defaultKey(CONTEXT));
    const first = await ask();
    expect(readdirSync(directory)).toEqual([defaultKey(CONTEXT)]);
    expect((await ask())?.program).toEqual(Buffer.from(first?.program ?? []));
    writeFileSync(path, 'broken');
    expect((await ask())?.program).toEqual(first?.program);
  });

  test('keeps the program of a profile by what its rules come to', async () => {
    const rules = (comment: string, names: string[]) =>
      JSON.stringify({
        defaultAction: 'SCMP_ACT_ALLOW',
        syscalls: [{ names, action: 'SCMP_ACT_KILL', comment }],
      });
    await ask({ securityOpt: [profile(rules('one', ['reboot']))] });
    await ask({ securityOpt: [profile(rules('two', ['reboot']))] });
    expect(readdirSync(directory)).toHaveLength(1);
    await ask({ securityOpt: [profile(rules('one', ['swapon']))] });
    expect(readdirSync(directory)).toHaveLength(2);
  });
});
