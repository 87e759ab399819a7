import { execFileSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { needing } from '../harness/requires.ts';
import { type Seeded, seededSandbox } from '../harness/seed.ts';

const it = needing('root', 'overlay', 'nft', 'docker-registry', 'busybox-static');
const dist = join(import.meta.dirname, '..', '..', 'dist');

let box: Seeded;
beforeAll(async () => {
  box = await seededSandbox();
});
afterAll(async () => {
  await box.dispose();
});

/** Runs a program that uses the built package, as a user of the library would. */
function program(source: string): string {
  const file = join(box.directory, 'program.mjs');
  writeFileSync(file, source);
  const env = { ...box.env };
  return execFileSync(process.execPath, [file], { encoding: 'utf8', env, timeout: 30_000 });
}

describe('the library', () => {
  it('runs a container in the process that asks for it', () => {
    const output = program(`
      import { openEngine } from '${dist}/engine.js';
      const engine = openEngine({ root: '${box.root}', runRoot: '${box.runRoot}', env: process.env });
      const created = await engine.create({ image: 'busybox', command: ['sh', '-c', 'echo out; echo err >&2; exit 7'],
        network: { mode: { type: 'none' }, publish: [], publishAll: false, expose: [], dns: [], dnsSearch: [], dnsOptions: [], extraHosts: [] } });
      const { session } = await engine.startCreated(created, { stdio: 'attach' });
      session.onOutput((stream, chunk) => process.stdout.write(stream + ': ' + Buffer.from(chunk)));
      const { exitCode } = await session.exited;
      console.log('exit', exitCode, (await engine.list()).length);
      const { finish } = await engine.remove(created.record.id);
      await finish();
      console.log('left', (await engine.list()).length);
    `);
    expect(output.trim().split('\n').sort()).toEqual(['exit 7 1', 'left 0', 'stderr: err', 'stdout: out']);
  });

  it('throws errors with a kind', () => {
    const output = program(`
      import { openEngine, TinyrunError } from '${dist}/engine.js';
      const engine = openEngine({ root: '${box.root}', runRoot: '${box.runRoot}' });
      try { await engine.stop('nosuch'); } catch (error) { console.log(error instanceof TinyrunError, error.kind, error.message); }
    `);
    expect(output).toBe('true not_found No such container: nosuch\n');
  });

  it('carries its types', () => {
    expect(existsSync(join(dist, 'types', 'engine', 'index.d.ts'))).toBe(true);
  });
});
