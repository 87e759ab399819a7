import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { type Building, building } from '../harness/building.ts';
import { needing } from '../harness/requires.ts';
import { type Outcome, show } from '../harness/sandbox.ts';
import { type Seeded, seededSandbox } from '../harness/seed.ts';

const it = needing('root', 'overlay', 'nft', 'docker-registry', 'busybox-static');

let box: Seeded;
let on: Building;
beforeAll(async () => {
  box = await seededSandbox();
  on = building(box);
});
afterAll(() => box.dispose());

/** The config of an image. */
async function configOf(image: string): Promise<Record<string, unknown>> {
  const [found] = JSON.parse(await box.ok(['image', 'inspect', image]));
  return found;
}

function succeeded(outcome: Outcome): void {
  expect(outcome.code, show(outcome)).toBe(0);
}

const cachedSteps = ({ stderr }: Outcome): number => stderr.match(/ CACHED$/gm)?.length ?? 0;

describe('build: the image', () => {
  it('has what the Dockerfile says, and runs', async () => {
    const built = await on.build(
      {
        Dockerfile: [
          'FROM busybox',
          'ADD app.sh /app.sh',
          'ENV GREETING="hello world" OTHER=$PATH',
          'LABEL a.b=c',
          'EXPOSE 8080 53/udp',
          'VOLUME /data',
          'WORKDIR /srv/www',
          'USER 1000:1001',
          'STOPSIGNAL SIGQUIT',
          'HEALTHCHECK --interval=5s CMD true',
          'ENTRYPOINT ["sh", "/app.sh"]',
          'CMD ["one", "two"]',
        ].join('\n'),
        'app.sh': 'echo "$GREETING $PWD $(id -u):$(id -g) $*"',
      },
      ['-t', 'app', '-t', 'app:second', '--label', 'from=flag'],
    );
    succeeded(built);
    expect(await box.ok(['run', '--rm', '--network', 'none', 'app:second'])).toBe(
      'hello world /srv/www 1000:1001 one two',
    );
    const { Config } = (await configOf('app')) as { Config: Record<string, unknown> };
    expect(Config).toMatchObject({
      Env: [expect.stringMatching(/^PATH=/), 'GREETING=hello world', expect.stringMatching(/^OTHER=\/usr/)],
      Labels: { 'a.b': 'c', from: 'flag' },
      ExposedPorts: { '8080/tcp': {}, '53/udp': {} },
      Volumes: { '/data': {} },
      WorkingDir: '/srv/www',
      User: '1000:1001',
      StopSignal: 'SIGQUIT',
      Entrypoint: ['sh', '/app.sh'],
      Cmd: ['one', 'two'],
    });
    const history = await box.ok(['history', '--no-trunc', '--format', '{{.CreatedBy}}', 'app']);
    expect(history.split('\n').slice(0, 12).toReversed()).toEqual([
      'ADD app.sh /app.sh # buildkit',
      expect.stringMatching(/^ENV GREETING=hello world OTHER=/),
      'LABEL a.b=c',
      'EXPOSE [53/udp 8080/tcp]',
      'VOLUME [/data]',
      'WORKDIR /srv/www',
      'USER 1000:1001',
      'STOPSIGNAL SIGQUIT',
      'HEALTHCHECK &{["CMD-SHELL" "true"] "5s" "0s" "0s" "0s" \'\\x00\'}',
      'ENTRYPOINT ["sh" "/app.sh"]',
      'CMD ["one" "two"]',
      'LABEL from=flag',
    ]);
  });

  it('drops the CMD of the base with a new ENTRYPOINT, and keeps its own', async () => {
    succeeded(await on.build({ Dockerfile: 'FROM busybox\nENTRYPOINT ["echo"]\n' }, ['-t', 'entry']));
    expect((await configOf('entry')) as object).toMatchObject({ Config: { Entrypoint: ['echo'] } });
    expect(JSON.stringify((await configOf('entry')).Config)).not.toContain('"Cmd":["sh"]');
  });

  it('passes on ONBUILD triggers once', async () => {
    succeeded(
      await on.build({ Dockerfile: 'FROM busybox\nONBUILD COPY f /f\nONBUILD RUN echo ran >>/f\n' }, [
        '-t',
        'onb',
      ]),
    );
    succeeded(await on.build({ Dockerfile: 'FROM onb\n', f: 'content\n' }, ['-t', 'onb2']));
    expect(await on.inside('onb2', 'cat /f')).toBe('content\nran');
    succeeded(await on.build({ Dockerfile: 'FROM onb2\n' }, ['-t', 'onb3']));
  });

  it('is taken by skopeo', async () => {
    succeeded(await on.build({ Dockerfile: 'FROM busybox\nRUN echo x >/x\n' }, ['-t', 'foreign']));
    const out = execFileSync('skopeo', [
      'inspect',
      '--raw',
      `oci:${box.root}:docker.io/library/foreign:latest`,
    ]);
    expect(JSON.parse(out.toString())).toMatchObject({
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
    });
  });
});

describe('build: RUN', () => {
  it('runs with ARG and ENV, and shows what a program says', async () => {
    const built = await on.build(
      {
        Dockerfile: `FROM busybox\nARG WHO=nobody\nARG UNSET\nENV A=1\nRUN echo "<$WHO $A \${UNSET-none}>"; pwd; id -u\n`,
      },
      ['--build-arg', 'WHO=me'],
    );
    succeeded(built);
    expect(built.stderr).toMatch(/<me 1 none>\n#\d+ [\d.]+ \/\n#\d+ [\d.]+ 0\n/);
  });

  it('leaves nothing of its own in the layer', async () => {
    succeeded(
      await on.build(
        {
          Dockerfile:
            'FROM scratch\nCOPY --from=busybox /bin /bin\nRUN --mount=type=tmpfs,target=/mnt/deep/t --mount=type=secret,id=s,target=/keys/k,required=false echo x >/made\n',
        },
        ['-t', 'clean'],
      ),
    );
    await box.ok(['save', '-o', join(box.directory, 'clean.tar'), 'clean']);
    const listing = await on.inside('clean', 'ls -A / /etc');
    // hosts and its kin are this container's own.
    expect(listing.split('\n')).toEqual(expect.arrayContaining(['bin', 'made']));
    expect(listing).not.toMatch(/^(mnt|keys)$/m);
  });

  it('shows the step, the last lines, the code and the source of what fails', async () => {
    const built = await on.build({ Dockerfile: 'FROM busybox\nRUN echo before; exit 7\n' });
    expect(built.code).toBe(1);
    expect(built.stderr).toContain('> [2/2] RUN echo before; exit 7:');
    expect(built.stderr).toContain('>>> RUN echo before; exit 7');
    expect(built.stderr).toMatch(
      /ERROR: failed to solve: process "\/bin\/sh -c echo before; exit 7" did not complete successfully: exit code: 7\n$/,
    );
  });

  it('takes heredocs as scripts', async () => {
    succeeded(
      await on.build(
        {
          Dockerfile:
            'FROM busybox\nRUN <<EOF\necho one >/f\necho two >>/f\nEOF\nRUN cat <<EOF >>/f\nthree\nEOF\nCOPY <<EOF /g\nfour\nEOF\n',
        },
        ['-t', 'heredoc'],
      ),
    );
    expect(await on.inside('heredoc', 'cat /f /g')).toBe('one\ntwo\nthree\nfour');
  });

  it('has the limits, hosts and network that it is given', async () => {
    const built = await on.build(
      {
        Dockerfile: 'FROM busybox\nRUN cat /etc/hosts; ls /sys/class/net; ulimit -n; df /dev/shm | tail -1\n',
      },
      [
        '--add-host',
        'thing:10.9.8.7',
        '--network',
        'none',
        '--ulimit',
        'nofile=77:88',
        '--shm-size',
        '2m',
        '-m',
        '64m',
      ],
    );
    succeeded(built);
    expect(built.stderr).toMatch(/10\.9\.8\.7\s+thing/);
    expect(built.stderr).not.toContain('eth0');
    expect(built.stderr).toMatch(/ 77\n/);
    expect(built.stderr).toMatch(/shm +2048 /);
  });

  it('keeps secrets out of layers, history, cache and log', async () => {
    const secret = 'c0ffee-s3cret-value';
    const built = await on.build(
      {
        Dockerfile:
          'FROM busybox\nRUN --mount=type=secret,id=one --mount=type=secret,id=two,env=TWO test "$(cat /run/secrets/one)$TWO" = "$(cat /run/secrets/one)$(cat /run/secrets/one)" && ls -l /run/secrets/one | cut -c1-10\n',
      },
      ['-t', 'secret', '--secret', 'id=one,env=MINE', '--secret', 'id=two,env=MINE', '--no-cache'],
      { env: { MINE: secret, TINYRUN_DEBUG: 'plan' } },
    );
    succeeded(built);
    expect(built.stderr).toContain('-r--------');
    expect(built.stderr).not.toContain(secret);
    await box.ok(['save', '-o', join(box.directory, 'secret.tar'), 'secret']);
    const grep = await box.host([
      'grep',
      '-rlaF',
      secret,
      box.root,
      box.runRoot,
      join(box.directory, 'secret.tar'),
    ]);
    expect(grep.stdout).toBe('');
  });

  it('refuses what needs leave: the network of the host, all privileges', async () => {
    const insecure = await on.build({ Dockerfile: 'FROM busybox\nRUN --security=insecure true\n' });
    expect(insecure.stderr).toContain('security.insecure is not allowed');
    const host = await on.build({ Dockerfile: 'FROM busybox\nRUN --network=host true\n' });
    expect(host.stderr).toContain('network.host is not allowed');
    succeeded(
      await on.build(
        {
          Dockerfile:
            'FROM busybox\nRUN --security=insecure ! grep -q "CapEff.*a80425fb" /proc/self/status && echo 0 >/proc/sys/net/ipv4/ip_forward\n',
        },
        ['--allow', 'security.insecure'],
      ),
    );
  });
});

describe('build: COPY and ADD', () => {
  it('follows the rules of destinations', async () => {
    succeeded(
      await on.build(
        {
          Dockerfile: [
            'FROM busybox',
            'RUN mkdir -p /real/sub && ln -s /real /link && ln -s /nowhere/file /dangling',
            'COPY one /link/',
            'COPY one two /link/sub/deep/',
            'COPY dir /copied',
            'COPY one /named',
            'COPY one /dangling',
            'COPY t*o /wild/',
            'WORKDIR /work',
            'COPY one ./',
            'COPY dir/.. /all/',
          ].join('\n'),
          one: '1\n',
          two: '2\n',
          'dir/file': 'f\n',
          'dir/sub/x': 'x\n',
          'dir/abs': { link: '/etc/passwd' },
        },
        ['-t', 'rules'],
      ),
    );
    expect(
      await on.inside(
        'rules',
        'cat /real/one /real/sub/deep/two /copied/file /copied/sub/x /named /nowhere/file /wild/two /work/one; readlink /copied/abs; ls /all; test -L /link && echo link',
      ),
    ).toBe('1\n2\nf\nx\n1\n1\n2\n1\n/etc/passwd\nDockerfile\ndir\none\ntwo\nlink');
  });

  it('sets owners and modes, and keeps those of images', async () => {
    succeeded(
      await on.build(
        {
          Dockerfile: [
            'FROM busybox AS src',
            'RUN mkdir /d && echo x >/d/f && chown -R 7:8 /d && chmod 640 /d/f',
            'FROM busybox',
            'COPY --chown=www-data:users --chmod=0711 f /a/f',
            'COPY --chown=5 f /b',
            'COPY --chmod=u=rwX,go=rX d /c/',
            'COPY --from=src /d /kept',
            'COPY --from=src --chown=9:9 /d /changed',
          ].join('\n'),
          f: 'f\n',
          'd/f': 'x\n',
        },
        ['-t', 'owners'],
      ),
    );
    expect(await on.inside('owners', 'stat -c "%n %u:%g %a" /a /a/f /b /c/f /kept /kept/f /changed/f')).toBe(
      '/a 33:100 755\n/a/f 33:100 711\n/b 5:5 644\n/c/f 0:0 644\n/kept 7:8 755\n/kept/f 7:8 640\n/changed/f 9:9 640',
    );
  });

  it('takes links, parents, excludes and named contexts', async () => {
    const other = on.context({ 'o/file': 'other\n' });
    succeeded(
      await on.build(
        {
          Dockerfile: [
            '# syntax=docker/dockerfile:1',
            'FROM busybox',
            'COPY --link f /linked/f',
            'COPY --parents d/sub/x f /p/',
            'COPY --exclude=**/*.log d /ex/',
            'COPY --from=other o/file /o',
          ].join('\n'),
          f: 'f\n',
          'd/sub/x': 'x\n',
          'd/a.log': 'log\n',
        },
        ['-t', 'more', '--build-context', `other=${other}`],
      ),
    );
    expect(await on.inside('more', 'cat /linked/f /p/d/sub/x /p/f /o; ls /ex; ls / | wc -l')).toMatch(
      /^f\nx\nf\nother\nsub\n/,
    );
    expect(await on.inside('more', 'ls -d /bin /etc')).toBe('/bin\n/etc');
  });

  it('unpacks archives that ADD finds', async () => {
    const tar = join(box.directory, 'a.tar.gz');
    execFileSync('tar', ['-czf', tar, '-C', '/usr/share/common-licenses', 'GPL-2']);
    succeeded(
      await on.build(
        {
          Dockerfile: 'FROM busybox\nADD arch plain /x/\nADD --unpack=false arch /y\nCOPY arch /z\n',
          arch: readFileSync(tar),
          plain: 'p\n',
        },
        ['-t', 'added'],
      ),
    );
    expect(await on.inside('added', 'ls /x; cmp /y /z && head -c2 /y | od -An -tx1')).toBe(
      'GPL-2\nplain\n 1f 8b',
    );
  });

  it('keeps times of the context, and gives the same bytes for the same epoch', async () => {
    const files = {
      Dockerfile: 'FROM busybox\nCOPY f /d/f\nWORKDIR /w\nRUN echo x >/y; touch /z\n',
      f: 'f\n',
    };
    const directory = on.context(files);
    utimesSync(join(directory, 'f'), 1e9, 1e9);
    succeeded(await box.run(['build', '-t', 'times', directory]));
    expect(await on.inside('times', 'stat -c %Y /d/f')).toBe('1000000000');
    const ids = [];
    for (const tag of ['epoch1', 'epoch2']) {
      const again = on.context(files);
      await box.ok(['build', '-q', '--no-cache', '--timestamp', '900000000', '-t', tag, again]);
      ids.push((await configOf(tag)).Id);
      await new Promise((resolve) => setTimeout(resolve, 1100));
    }
    expect(ids[0]).toBe(ids[1]);
    expect(await on.inside('epoch1', 'stat -c %Y /d/f /y')).toBe('900000000\n900000000');
  });
});

describe('build: the cache', () => {
  it('goes by content: not by times, not by what a step does not use', async () => {
    const files = {
      Dockerfile: 'FROM busybox\nCOPY f /f\nRUN cat /f >/g\nLABEL x=1\n',
      f: 'one\n',
      unused: 'u\n',
    };
    const directory = on.context(files);
    const first = await box.run(['build', '--iidfile', join(box.directory, 'iid'), '-t', 'c', directory]);
    succeeded(first);
    const id = readFileSync(join(box.directory, 'iid'), 'utf8');
    utimesSync(join(directory, 'f'), 1e9, 1e9);
    writeFileSync(join(directory, 'unused'), 'other\n');
    const second = await box.run(['build', '--iidfile', join(box.directory, 'iid'), '-t', 'c', directory]);
    expect(cachedSteps(second), show(second)).toBe(3);
    expect(readFileSync(join(box.directory, 'iid'), 'utf8')).toBe(id);
    writeFileSync(join(directory, 'f'), 'two\n');
    const third = await box.run(['build', '-t', 'c', directory]);
    expect(cachedSteps(third), show(third)).toBe(1);
    expect(await on.inside('c', 'cat /g')).toBe('two');
  });

  it('is not asked with --no-cache, nor for stages of --no-cache-filter', async () => {
    const directory = on.context({
      Dockerfile:
        'FROM busybox AS a\nRUN echo 1 >/a\nFROM busybox AS b\nRUN echo 2 >/b\nCOPY --from=a /a /a\n',
    });
    succeeded(await box.run(['build', directory]));
    expect(cachedSteps(await box.run(['build', '--no-cache', directory]))).toBe(1);
    expect(cachedSteps(await box.run(['build', '--no-cache-filter', 'b', directory]))).toBe(2);
  });

  it('holds a copy from a stage that was built anew to the same files', async () => {
    const directory = on.context({
      Dockerfile:
        'FROM busybox AS a\nCOPY noise /noise\nRUN echo same >/result\nFROM busybox\nCOPY --from=a /result /r\nRUN cp /r /s\n',
      noise: '1',
    });
    succeeded(await box.run(['build', directory]));
    writeFileSync(join(directory, 'noise'), '2');
    const again = await box.run(['build', '--progress', 'plain', directory]);
    expect(again.stderr).toMatch(/COPY --from=a \/result \/r\n#\d+ CACHED/);
    expect(again.stderr).toMatch(/RUN cp \/r \/s\n#\d+ CACHED/);
  });

  it('copies equal files to an equal place once, whatever else is below', async () => {
    const built = await on.build(
      {
        Dockerfile:
          'FROM busybox AS a\nCOPY d /x/d\nFROM busybox\nRUN echo other >/other\nCOPY --from=a /x/d /x/d\nCOPY --from=a /x/d/f /x/d/\n',
        'd/f': 'once\n',
        'd/sub/g': 'twice\n',
      },
      ['-t', 'once'],
    );
    succeeded(built);
    expect(built.stderr).toMatch(/COPY --from=a \/x\/d \/x\/d\n#\d+ CACHED/);
    expect(built.stderr).not.toMatch(/COPY --from=a \/x\/d\/f \/x\/d\/\n#\d+ CACHED/);
    expect(await on.inside('once', 'cat /x/d/f /x/d/sub/g /other')).toBe('once\ntwice\nother');
  });

  it('builds a step once for two builds at the same time', async () => {
    const directory = on.context({
      Dockerfile: 'FROM busybox\nRUN sleep 0.5; cat /proc/sys/kernel/random/uuid >/id\n',
    });
    await Promise.all(
      ['x1', 'x2'].map((tag) => box.ok(['build', '-q', '--no-cache-filter', 'none', '-t', tag, directory])),
    );
    expect(await on.inside('x1', 'cat /id')).toBe(await on.inside('x2', 'cat /id'));
  });

  it('is shown and pruned, and survives the removal of images', async () => {
    const directory = on.context({
      Dockerfile: 'FROM busybox\nRUN echo prune >/p\nRUN --mount=type=cache,target=/c echo x >/c/x\n',
    });
    succeeded(await box.run(['build', '-t', 'pruned', directory]));
    await box.ok(['rmi', 'pruned']);
    expect(cachedSteps(await box.run(['build', directory]))).toBe(3);
    await box.ok(['image', 'prune', '-f']);
    expect(await box.ok(['builder', 'du'])).toMatch(
      /^ID +RECLAIMABLE +SIZE +LAST ACCESSED\n[0-9a-f]{25} +(true|false) /,
    );
    expect(await box.ok(['builder', 'prune', '-af'])).toMatch(/^Deleted build cache objects:\n[0-9a-f]{64}/);
    expect(await box.ok(['builder', 'du'])).toMatch(/Total:\t\t0B$/);
    expect(cachedSteps(await box.run(['build', directory]))).toBe(1);
  });

  it('shares cache mounts between builds', async () => {
    const run = (n: number) =>
      `FROM busybox\nRUN --mount=type=cache,id=shared,target=/cache echo ${n} >>/cache/n; cp /cache/n /n\n`;
    succeeded(await on.build({ Dockerfile: run(1) }, ['-t', 'm1']));
    succeeded(await on.build({ Dockerfile: run(2) }, ['-t', 'm2']));
    expect(await on.inside('m2', 'cat /n; test ! -e /cache')).toBe('1\n2');
  });
});

describe('build: files and flags', () => {
  it('takes a target, a file, standard input, quiet and metadata', async () => {
    const directory = on.context({
      'other.Dockerfile': 'FROM busybox AS one\nRUN echo 1 >/1\nFROM one AS two\nRUN exit 3\n',
    });
    const out = await box.ok([
      'build',
      '-q',
      '--target',
      'ONE',
      '-f',
      join(directory, 'other.Dockerfile'),
      '--metadata-file',
      join(box.directory, 'md'),
      directory,
    ]);
    expect(out).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect(JSON.parse(readFileSync(join(box.directory, 'md'), 'utf8'))['containerimage.config.digest']).toBe(
      out,
    );
    const piped = await box.run(['build', '-t', 'piped', '-'], { input: 'FROM busybox\nRUN echo p >/p\n' });
    succeeded(piped);
    expect(await on.inside('piped', 'cat /p')).toBe('p');
  });

  it('builds several platforms where nothing has to be executed', async () => {
    succeeded(
      await on.build({ Dockerfile: 'FROM scratch\nARG TARGETARCH\nCOPY f /f-$TARGETARCH\n', f: 'x' }, [
        '--platform',
        'linux/amd64,linux/arm64',
        '-t',
        'many',
      ]),
    );
    const index = JSON.parse(readFileSync(join(box.root, 'index.json'), 'utf8'));
    const entry = index.manifests.find((one: { annotations?: Record<string, string> }) =>
      JSON.stringify(one.annotations).includes('library/many'),
    );
    expect(entry.mediaType).toBe('application/vnd.oci.image.index.v1+json');
  });

  it('writes files, archives and pushes', async () => {
    const files = { Dockerfile: 'FROM scratch\nCOPY f /d/f\n', f: 'out\n' };
    const out = (name: string) => join(box.directory, name);
    succeeded(
      await on.build(files, ['-o', out('tree'), '-o', `type=oci,dest=${out('oci.tar')}`, '-t', 'outs']),
    );
    expect(readFileSync(join(out('tree'), 'd/f'), 'utf8')).toBe('out\n');
    expect((await box.run(['inspect', 'outs'])).code).toBe(1);
    expect(await box.ok(['load', '-i', out('oci.tar')])).toContain('outs:latest');
    const tar = await box.run(['build', '-q', '-o', '-', on.context(files)]);
    expect(tar.stdout).toContain('d/f');
    succeeded(await on.build(files, ['--push', '-t', 'pushed:1']));
    await box.ok(['rmi', 'pushed:1']);
    await box.ok(['pull', '-q', 'pushed:1']);
  });

  it('checks', async () => {
    const bad = await box.run([
      'build',
      '--check',
      on.context({ Dockerfile: 'from busybox\nCMD echo x\nRUN exit 1\n' }),
    ]);
    expect(bad.code).toBe(1);
    expect(bad.stdout).toMatch(/^Check complete, \d+ warnings? ha(s|ve) been found!\n/);
    expect(bad.stdout).toContain(
      'WARNING: JSONArgsRecommended - https://docs.docker.com/go/dockerfile/rule/',
    );
    const good = await box.ok(['build', '--check', on.context({ Dockerfile: 'FROM busybox\nRUN exit 1\n' })]);
    expect(good).toBe('Check complete, no warnings found.');
  });

  it('names the line of what is wrong', async () => {
    const built = await on.build({ Dockerfile: 'FROM busybox\nCOPY missing /x\n' });
    expect(built.code).toBe(1);
    expect(built.stderr).toContain('>>> COPY missing /x');
    expect(built.stderr).toContain('"/missing": not found');
  });
});

describe('build: killed', () => {
  it.each(['SIGKILL', 'SIGINT'] as const)(
    'by %s in the middle of a RUN leaves nothing, and the next build goes on',
    async (signal) => {
      const directory = on.context({
        Dockerfile: `FROM busybox\nRUN echo ${signal} >/kept\nRUN echo started; sleep ${signal === 'SIGINT' ? 301 : 302}\n`,
      });
      const child = box.start(['build', '--progress', 'plain', directory]);
      const ended = new Promise((resolve) => child.once('close', resolve));
      await new Promise<void>((resolve) => {
        let text = '';
        child.stderr.on('data', (chunk: Buffer) => {
          text += chunk;
          if (/ started\n/.test(text)) resolve();
        });
      });
      child.kill(signal);
      await ended;
      await expect
        .poll(
          async () => (await box.host(['pgrep', '-fx', `sleep 30${signal === 'SIGINT' ? 1 : 2}`])).stdout,
          { timeout: 5000 },
        )
        .toBe('');
      const shorter = await box.run([
        'build',
        on.context({ Dockerfile: `FROM busybox\nRUN echo ${signal} >/kept\n` }),
      ]);
      expect(cachedSteps(shorter), show(shorter)).toBe(2);
      expect(readdirSync(join(box.root, 'layers')).filter((name) => name.startsWith('tmp-'))).toEqual([]);
      expect(readdirSync(join(box.runRoot, 'containers'))).toEqual([]);
    },
  );
});
