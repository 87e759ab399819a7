/** Attacks that builders have fallen to: each test fails where the attack succeeds. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { pathsOf } from '../../src/disk/paths.ts';
import { type Building, building } from '../harness/building.ts';
import { needing } from '../harness/requires.ts';
import { type Seeded, seededSandbox } from '../harness/seed.ts';

const it = needing('root', 'overlay', 'nft', 'docker-registry', 'busybox-static');

let box: Seeded;
let on: Building;
/** A directory of the host with a secret that no build may read, and nothing may be made in. */
let canary: string;
beforeAll(async () => {
  box = await seededSandbox();
  on = building(box);
  canary = join(box.directory, 'canary');
  mkdirSync(canary);
  writeFileSync(join(canary, 'secret'), 'host-secret-text\n');
});
afterAll(() => box.dispose());

const untouched = (): void => {
  expect(readFileSync(join(canary, 'secret'), 'utf8')).toBe('host-secret-text\n');
  expect(existsSync(join(canary, 'made'))).toBe(false);
};

describe('build: hostile images and contexts', () => {
  it('keeps the source of a bind mount inside of the image (CVE-2024-1753)', async () => {
    const built = await on.build({
      Dockerfile: [
        'FROM busybox AS evil',
        `RUN ln -s ${canary} /out && ln -s ../../../../../../../.. /up`,
        'FROM busybox',
        'RUN --mount=type=bind,from=evil,source=/up,target=/a,rw ls -d /a/bin && ! test -e /a/work && touch /a/made',
        'RUN --mount=type=bind,from=evil,source=/out,target=/b,rw cat /b/secret; touch /b/made',
      ].join('\n'),
    });
    expect(built.code).toBe(1);
    expect(built.stderr).not.toContain('host-secret-text');
    expect(built.stderr).toContain('"/out": not found');
    untouched();
  });

  it('keeps the subpath of a cache inside of it, also while links are swapped (CVE-2024-23651, CVE-2024-9675)', async () => {
    const swap = `FROM busybox\nRUN --mount=type=cache,id=race,target=/c mkdir -p /c/real; i=0; while [ $i -lt 400 ]; do ln -sfn ${canary} /c/s; rm /c/s; mkdir /c/s; rmdir /c/s; i=$((i+1)); done; ln -s ${canary} /c/s\n`;
    const use = (n: number) =>
      `FROM busybox\nRUN --mount=type=cache,id=race,target=/m,source=s : ${n}; cat /m/secret; touch /m/made; true\n`;
    const swapping = on.build({ Dockerfile: swap });
    const uses = [];
    for (let n = 0; n < 6; n += 1) uses.push(await on.build({ Dockerfile: use(n) }, ['--network', 'none']));
    await swapping;
    uses.push(await on.build({ Dockerfile: use(99) }));
    for (const { stderr } of uses) expect(stderr).not.toContain('host-secret-text');
    untouched();
  });

  it('takes no id of a cache for a path (CVE-2024-9407, CVE-2024-9675)', async () => {
    await on.build({
      Dockerfile:
        'FROM busybox\nRUN --mount=type=cache,id=../../../canary,target=/c touch /c/made; cat /c/secret || true\n',
    });
    untouched();
    const options = await on.build({
      Dockerfile: `FROM busybox\nRUN --mount=type=bind,source=${canary},target=/x,bind-propagation=shared true\n`,
    });
    expect(options.code).toBe(1);
    expect(options.stderr).toMatch(/unexpected key 'bind-propagation'/);
  });

  it('removes no files by links that a RUN puts in the place of a mount (CVE-2024-23652)', async () => {
    const built = await on.build(
      {
        Dockerfile: [
          'FROM busybox',
          `RUN --mount=type=tmpfs,target=/t/sub umount /t/sub 2>/dev/null; rm -rf /t 2>/dev/null; mv /t /u; ln -s ${canary} /t; true`,
          'RUN ls -la /',
        ].join('\n'),
      },
      ['-t', 'stubs'],
    );
    expect(built.code).toBe(0);
    untouched();
  });

  it('gives no privileges that were not allowed (CVE-2024-23653)', async () => {
    const built = await on.build({
      Dockerfile:
        '# syntax=docker/dockerfile:1\nFROM busybox\nRUN grep CapEff /proc/self/status; grep Seccomp: /proc/self/status; mount -t tmpfs x /mnt || echo refused\n',
    });
    expect(built.stderr).toContain('CapEff:\t00000000a80425fb');
    expect(built.stderr).toContain('Seccomp:\t2');
    expect(built.stderr).toContain('refused');
  });

  it('follows links of a context and of a destination inside of their roots only (CVE-2026-44517)', async () => {
    const files = {
      Dockerfile: 'FROM busybox\nCOPY out/secret /s\n',
      out: { link: canary },
    };
    const dir = await on.build(files);
    expect(dir.code).toBe(1);
    expect(dir.stderr).not.toContain('host-secret-text');
    const whole = await on.build({
      Dockerfile: 'FROM busybox\nCOPY . /all/\nRUN readlink /all/out; cat /all/out/secret || echo none\n',
      out: { link: canary },
    });
    expect(whole.stderr).toMatch(/none/);
    const into = await on.build({
      Dockerfile: `FROM busybox\nRUN ln -s ${canary} /d && ln -s /../../../../..${canary}/made /f\nCOPY x /d/made\nCOPY x /f\nADD x /d/\nWORKDIR /d/work\n`,
      x: 'attack\n',
    });
    expect(into.code, into.stderr).toBe(0);
    untouched();
    expect(existsSync(join(canary, 'x')) || existsSync(join(canary, 'work'))).toBe(false);
  });

  it('refuses a COPY through a link in the middle of a copied tree', async () => {
    const built = await on.build({
      Dockerfile: `FROM busybox\nRUN mkdir /t && ln -s ${canary} /t/sub\nCOPY tree /t/\n`,
      'tree/sub/made': 'attack\n',
    });
    expect(built.code).toBe(1);
    expect(built.stderr).toContain('cannot copy to non-directory');
    untouched();
  });

  it('unpacks archives of ADD below their destination only', async () => {
    const { pack } = await import('tar-stream');
    const tar = pack();
    tar.entry({ name: '../../../escaped', mode: 0o644 }, 'x');
    tar.entry({ name: 'sub', type: 'symlink', linkname: canary });
    tar.entry({ name: 'sub/made', mode: 0o644 }, 'attack');
    tar.finalize();
    const chunks: Buffer[] = [];
    for await (const chunk of tar) chunks.push(chunk as Buffer);
    await on.build({ Dockerfile: 'FROM busybox\nADD a.tar /deep/er/\n', 'a.tar': Buffer.concat(chunks) });
    untouched();
  });

  it('leaves mounted files out of the image (CVE-2025-4953)', async () => {
    const built = await on.build(
      {
        Dockerfile:
          'FROM busybox\nRUN --mount=type=bind,target=/ctx cp /ctx/Dockerfile /copied\nRUN --mount=type=bind,target=/in/side,rw echo written-$((40+2)) >/in/side/private\n',
        private: 'private\n',
      },
      ['-t', 'unmounted'],
    );
    expect(built.code, built.stderr).toBe(0);
    expect(await on.inside('unmounted', 'ls -d /copied; ls -d /ctx /in 2>/dev/null; true')).toBe('/copied');
    const { layers } = pathsOf({ root: box.root, runRoot: box.runRoot });
    expect((await box.host(['grep', '-rl', 'written-42', layers])).stdout).toBe('');
  });
});
