import { describe, expect, test } from 'vitest';
import { withoutFlags } from '../../../src/cli/command-line.ts';
import { generateSystemd } from '../../../src/cli/commands/generate-systemd.ts';
import { run } from '../../../src/cli/commands/run.ts';
import { createOptionsOf } from '../../../src/cli/create-options.ts';
import { parseArguments } from '../../../src/cli/parse.ts';
import { quadletFile } from '../../../src/cli/quadlet.ts';
import { systemdUnit, systemdWord } from '../../../src/cli/systemd-unit.ts';
import type { ContainerRecord } from '../../../src/engine/index.ts';

const words = (text: string): string[] => text.split(' ').filter(Boolean);

test.each([
  ['-d --name web -p 80:80 busybox -d', '-p 80:80 busybox -d'],
  ['-dit busybox', 'busybox'],
  ['-ditP busybox sh', '-P busybox sh'],
  ['-dp80:80 busybox', '-p80:80 busybox'],
  ['-dp 80:80 busybox', '-p 80:80 busybox'],
  ['--name=web --rm=true -e A=1 busybox --rm', '-e A=1 busybox --rm'],
  ['--restart always -w /x busybox', '-w /x busybox'],
  ['--rm -- busybox', '-- busybox'],
  ['-itw /x -i=false busybox', '-w /x busybox'],
])('withoutFlags(%j)', (typed, expected) => {
  const dropped = new Set(['name', 'rm', 'detach', 'interactive', 'tty', 'restart']);
  expect(withoutFlags(words(typed), run.options, dropped)).toEqual(words(expected));
});

test.each([
  ['plain-word_1:2/3', 'plain-word_1:2/3'],
  ['50%', '50%%'],
  ['$HOME', '$$HOME'],
  ['two words', '"two words"'],
  ['a"b\\c\n', '"a\\"b\\\\c\\n"'],
  ['', '""'],
  ["it's; #1", '"it\'s; #1"'],
])('systemdWord(%j)', (word, expected) => expect(systemdWord(word)).toBe(expected));

describe('systemdUnit()', () => {
  const base = {
    unit: 'container-web.service',
    program: '/opt/tiny run/bin/tinyrun',
    environment: { A: '50% of $x' },
    container: 'web',
    start: ['start', '--attach', 'web'],
    restart: 'always',
    stopTimeout: 10,
    wants: ['a.service'],
    after: ['b.service'],
    requires: ['c.service'],
    header: true,
  };

  test('runs in the foreground, stops and clears away', () => {
    const lines = systemdUnit({
      ...base,
      cleanUp: ['rm', '-f', 'web'],
      restartSec: 3,
      startTimeout: 9,
    }).split('\n');
    expect(lines).toEqual(
      expect.arrayContaining([
        '# container-web.service',
        'Wants=a.service',
        'After=b.service',
        'Requires=c.service',
        'Environment="A=50%% of $x"',
        'Type=exec',
        'Restart=always',
        'RestartSec=3',
        'TimeoutStartSec=9',
        'TimeoutStopSec=70',
        'ExecStart="/opt/tiny run/bin/tinyrun" start --attach web',
        'ExecStop="/opt/tiny run/bin/tinyrun" stop -t 10 web',
        'ExecStopPost=-"/opt/tiny run/bin/tinyrun" rm -f web',
        'WantedBy=default.target',
      ]),
    );
  });

  test('may wait for ever, and say nothing of itself', () => {
    const text = systemdUnit({ ...base, stopTimeout: -1, header: false });
    expect(text).toMatch(/^\[Unit\]/);
    expect(text).toContain('TimeoutStopSec=infinity');
  });
});

function record(line: string): ContainerRecord {
  const typed = line.split(' ');
  const parsed = parseArguments(typed, { options: run.options, interspersed: false });
  const options = createOptionsOf(parsed, { env: {}, cwd: '/home' });
  const createCommand = { words: ['--root', '/r', 'run', ...typed], directory: '/home' };
  return {
    id: 'f'.repeat(64),
    name: 'web',
    options: { ...options, createCommand },
  } as unknown as ContainerRecord;
}

describe('generate systemd', () => {
  async function generated(line: string, ...flags: string[]): Promise<string> {
    let text = '';
    const context = {
      cwd: '/',
      env: {},
      program: '/bin/tinyrun',
      stdout: {
        write: (part: string) => {
          text += part;
          return true;
        },
      },
    };
    const engine = { root: '/r', runRoot: '/run/tinyrun', find: async () => ({ record: record(line) }) };
    await generateSystemd.run({
      context,
      parsed: parseArguments([...flags, 'web'], { options: generateSystemd.options }),
      engine: async () => engine,
    } as unknown as Parameters<typeof generateSystemd.run>[0]);
    return text;
  }

  test('--new runs what was typed, but for what a service does otherwise', async () => {
    const text = await generated('-dit --name web --rm -p 80:80 busybox httpd -f', '--new', '--name');
    expect(text).toContain('# container-web.service');
    expect(text).toContain('Environment=TINYRUN_ROOT=/r\n');
    expect(text).toContain('WorkingDirectory=-/home\n');
    expect(text).toContain(
      'ExecStart=/bin/tinyrun run --name web --replace --rm -p 80:80 busybox httpd -f\n',
    );
    expect(text).toContain('ExecStopPost=-/bin/tinyrun rm --force web\n');
  });

  test('starts the container that is there, with its own time to stop', async () => {
    const text = await generated('-d --stop-timeout 33 busybox');
    expect(text).toContain(`ExecStart=/bin/tinyrun start --attach ${'f'.repeat(64)}\n`);
    expect(text).toContain('stop -t 33 ');
    await expect(generated('-d --rm busybox')).rejects.toThrow('--rm removes it when it stops');
  });
});

test('quadletFile() has a key for what Quadlet has one for', () => {
  const text = quadletFile(
    record(
      '-d --name web -p 127.0.0.1:8080:80 -p 53:53/udp -e A=1 -l tier=front -v /srv:/data:ro -v cache:/c --health-cmd true --health-interval 90s --tmpfs /t:size=1m --cap-drop ALL --read-only --init -m 64m --cpus 0.5 --pids-limit 9 --user 1:2 --network none --restart no busybox sh -c date',
    ),
    { restart: 'always' },
  );
  for (const line of [
    'ContainerName=web',
    'Image=busybox',
    'Exec=sh -c date',
    'Environment=A=1',
    'Label=tier=front',
    'PublishPort=127.0.0.1:8080:80',
    'PublishPort=53:53/udp',
    'Volume=/srv:/data:ro',
    'Volume=cache:/c',
    'HealthCmd=true',
    'HealthInterval=90s',
    'Tmpfs=/t:size=1m',
    'DropCapability=ALL',
    'ReadOnly=true',
    'RunInit=true',
    'User=1:2',
    'Network=none',
    'PidsLimit=9',
    'PodmanArgs=--memory=67108864',
    'PodmanArgs=--cpus=0.5',
    'Restart=always',
  ]) {
    expect(text.split('\n')).toContain(line);
  }
});
