import { existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { type Paths, pathsOf } from '../../src/disk/paths.ts';
import { needing } from '../harness/requires.ts';
import { type Seeded, seededSandbox } from '../harness/seed.ts';

const it = needing('root', 'overlay', 'nft', 'docker-registry', 'busybox-static');

let box: Seeded;
let paths: Paths;
beforeAll(async () => {
  box = await seededSandbox();
  paths = pathsOf({ root: box.root, runRoot: box.runRoot });
  await box.ok(['run', '--rm', 'busybox', 'true']);
});
afterAll(() => box.dispose());

const leaseFiles = (): string[] =>
  readdirSync(paths.leases('bridge')).filter((name) => !name.startsWith('.'));

/** What a command leaves that is killed between taking an address and starting the monitor. */
async function killedStart(...args: string[]): Promise<{ id: string; address: string }> {
  const id = await box.ok(['create', ...args]);
  const gateway = await box.ok([
    ...['network', 'inspect', '--format', '{{(index .IPAM.Config 0).Gateway}}', 'bridge'],
  ]);
  const address = gateway.replace(/\d+$/, '200');
  mkdirSync(paths.run(id), { recursive: true, mode: 0o700 });
  symlinkSync(id, join(paths.leases('bridge'), address));
  writeFileSync(join(paths.leases('bridge'), `${address}.names`), '-\nx\n');
  return { id, address };
}

describe('a start that was killed with an address in its hands', () => {
  it('gives it back when the container is started again, at once', async () => {
    const { id } = await killedStart('--rm', 'busybox', 'sleep', '0.1');
    await box.ok(['start', '-a', id]);
    expect(leaseFiles()).toEqual([]);
    expect(existsSync(paths.container(id))).toBe(false);
  });

  it('is no name of the next life', async () => {
    const { id, address } = await killedStart('busybox', 'sleep', '100');
    await box.ok(['start', id]);
    const files = leaseFiles();
    expect(files.length).toBe(2);
    expect(files).not.toContain(address);
    await box.ok(['rm', '-f', id]);
    expect(leaseFiles()).toEqual([]);
  });
});

describe('what a killed start has left', () => {
  it('is cleared away by the next command, without waiting', async () => {
    const { id } = await killedStart('busybox', 'sleep', '100');
    await box.ok(['ps', '-a']);
    expect(leaseFiles()).toEqual([]);
    expect(existsSync(paths.run(id))).toBe(false);
    await box.ok(['rm', id]);
  });

  it('is cleared away even where its state is damaged', async () => {
    const { id } = await killedStart('busybox', 'sleep', '100');
    writeFileSync(paths.state(id), '{');
    await box.ok(['ps', '-a']);
    expect(leaseFiles()).toEqual([]);
    await box.ok(['rm', '-f', id]);
    expect(existsSync(paths.container(id))).toBe(false);
  });
});

describe('two starts of a container at the same time', () => {
  it('make one of it, which goes on', async () => {
    const id = await box.ok(['create', '-p', '127.0.0.1::80', 'busybox', 'sleep', '100']);
    const outcomes = await Promise.all([1, 2, 3].map(() => box.run(['start', id])));
    expect(outcomes.filter(({ code }) => code === 0).length).toBeGreaterThan(0);
    expect(await box.ok(['inspect', '--format', '{{.State.Status}} {{.State.Error}}', id])).toBe('running ');
    expect(leaseFiles().length).toBe(3);
    expect(await box.ok(['exec', id, 'hostname', '-i'])).toBe(
      leaseFiles().find((name) => /\d$/.test(name)) ?? 'no lease',
    );
    await box.ok(['rm', '-f', id]);
    expect(leaseFiles()).toEqual([]);
  });
});
