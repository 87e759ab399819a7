import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest';
import { busyboxEntries, HOST_ARCHITECTURE, imageOf, layerOf } from '../harness/images.ts';
import { needing } from '../harness/requires.ts';
import { type Seeded, seededSandbox } from '../harness/seed.ts';
import { Terminal } from '../harness/terminal.ts';

const it = needing('root', 'overlay', 'nft', 'docker-registry', 'busybox-static', 'tmux');

let box: Seeded;
let open: Terminal[] = [];

const terminal = (command: string, size?: { columns: number; rows: number }): Terminal => {
  const opened = new Terminal(command.replaceAll('tinyrun', box.binary), box.env, size);
  open.push(opened);
  return opened;
};

beforeAll(async () => {
  box = await seededSandbox();
});
afterEach(async () => {
  for (const one of open) one.close();
  open = [];
  const ids = await box.ok(['ps', '-aq']);
  if (ids !== '') await box.ok(['rm', '-f', ...ids.split('\n')]);
});
afterAll(async () => {
  await box.dispose();
});

describe('programs that draw on the whole terminal', () => {
  it('vi through run -it', async () => {
    const tty = terminal("tinyrun run --rm -it --network none busybox sh -c 'vi /note; cat /note; exit 7'");
    await tty.shows(/^~\n[\s\S]*\/note/m);
    tty.type('ihello');
    tty.press('Enter');
    tty.type('world');
    tty.press('Escape');
    // What comes too soon after it would be one key with it.
    await tty.shows(/^hello\nworld\n[\s\S]*^- \/note/m);
    tty.type(':wq');
    tty.press('Enter');
    expect(await tty.shows(/exit 7/)).toMatch(/^hello\nworld\nexit 7$/m);
  });

  it('top through exec -it, and the terminal is what it was after it', async () => {
    await box.ok(['run', '-d', '--name', 'busy', '--network', 'none', 'busybox', 'sleep', '1000']);
    const tty = terminal('stty size; tinyrun exec -it busy top -d 1; stty -a | grep -o " echo "', {
      columns: 70,
      rows: 20,
    });
    await tty.shows(/^Mem: .*\n.*CPU:[\s\S]*PID +PPID[\s\S]*sleep 1000/m);
    tty.type('q');
    await tty.shows(/^ echo\nexit 0$/m);
  });

  it('less through attach by one who came late, at the size of its terminal', async () => {
    const script = 'seq 1 500 >/text; less /text; exit 4';
    await box.ok(['run', '-dit', '--name', 'pager', '--network', 'none', 'busybox', 'sh', '-c', script]);
    const tty = terminal('tinyrun attach pager', { columns: 60, rows: 12 });
    // The size of the terminal that has come makes less draw anew.
    tty.type('g');
    await tty.shows(/^1\n2\n/);
    tty.type('G');
    const end = await tty.shows(/^500$/m);
    expect(end).toMatch(/^49[0-2]\n/);
    tty.resize(60, 20);
    tty.type('g');
    await tty.shows(/^1\n[\s\S]*^17$/m);
    tty.type('q');
    await tty.shows(/exit 4/);
  });
});

describe('the size of the terminal', () => {
  it('is the container’s from the first moment and after every change', async () => {
    const tty = terminal('tinyrun run --rm -it --network none busybox sh', { columns: 91, rows: 31 });
    await tty.shows(/#/);
    tty.type('stty size');
    tty.press('Enter');
    await tty.shows(/^31 91$/m);
    tty.resize(100, 40);
    tty.type('stty size');
    tty.press('Enter');
    await tty.shows(/^40 100$/m);
    tty.type('exit 3');
    tty.press('Enter');
    await tty.shows(/exit 3\n/);
    const format = '{{.Actor.Attributes.height}}x{{.Actor.Attributes.width}}';
    const sizes = await box.ok([
      ...['events', '--since', '0', '--until', '0s', '--filter', 'event=resize', '--format', format],
    ]);
    expect(sizes).toMatch(/31x91\n40x100$/);
  });
});

describe('several clients', () => {
  it('see the same, and one that detaches leaves the others alone', async () => {
    const first = terminal('tinyrun run -it --name shared --network none busybox sh');
    await first.shows(/#/);
    const second = terminal('tinyrun attach shared');
    // Who comes late sees what comes from then on.
    second.press('Enter');
    await second.shows(/#/);
    first.type('echo from-$((1+1))');
    first.press('Enter');
    await first.shows(/^from-2$/m);
    await second.shows(/^from-2$/m);
    second.type('echo back-$((2+2))');
    second.press('Enter');
    await first.shows(/^back-4$/m);
    second.press('C-p', 'C-q');
    await second.shows(/exit 0/);
    first.type('echo still-$((3+3))');
    first.press('Enter');
    await first.shows(/^still-6$/m);
    first.type('exit');
    first.press('Enter');
    await first.shows(/exit 0/);
  });

  it('start -a -i goes on where the container was stopped', async () => {
    await box.ok(['create', '-it', '--name', 'again', '--network', 'none', 'busybox', 'sh']);
    for (const round of [1, 2]) {
      const tty = terminal('tinyrun start -a -i again');
      await tty.shows(/#/);
      tty.type(`echo ${round} >>/rounds; cat /rounds; exit ${round}`);
      tty.press('Enter');
      expect(await tty.shows(new RegExp(`exit ${round}$`, 'm'))).toMatch(round === 1 ? /^1$/m : /^1\n2$/m);
      tty.close();
      open = open.filter((one) => one !== tty);
    }
  });
});

describe('stats on a terminal', () => {
  it('draws a line for each container, and gives the cursor back', async () => {
    await box.ok(['run', '-d', '--name', 'drawn', '--network', 'none', 'busybox', 'sleep', '1000']);
    const tty = terminal('tinyrun stats', { columns: 110, rows: 20 });
    await tty.shows(/^NAME +CPU % +MEMORY +PEAK +PIDS.*\ndrawn +\d+\.\d\d% +▁▁/);
    tty.press('C-c');
    await tty.shows(/exit 130/);
  });
});

/** The image of the classic walk through Docker, with busybox in the place of node. */
async function publishKubia(): Promise<void> {
  const layer = await layerOf([
    ...busyboxEntries(),
    { name: 'bin/bash', content: '#!/bin/sh\nexec sh "$@"\n', mode: 0o755 },
    {
      name: 'app.sh',
      content: '#!/bin/sh\nprintf "HTTP/1.0 200 OK\\r\\n\\r\\nYou\'ve hit $(hostname)\\n"\n',
      mode: 0o755,
    },
  ]);
  const config = { Entrypoint: ['nc', '-ll', '-p', '8080', '-e', '/app.sh'] };
  await box.publish(
    imageOf({ layers: [layer], config, platform: { os: 'linux', architecture: HOST_ARCHITECTURE } }),
    'kubia',
  );
}

describe('the first walk', () => {
  it('run, curl, ps, exec, inspect, stop, ps -a, rm', async () => {
    await publishKubia();
    const id = await box.ok(['run', '--name', 'kubia-container', '-p', '8080:8080', '-d', 'kubia']);
    const answer = await box.host(['curl', '-s', '--retry', '3', '--retry-connrefused', 'localhost:8080']);
    expect(answer.stdout).toBe(`You've hit ${id.slice(0, 12)}\n`);
    expect(await box.ok(['ps'])).toMatch(
      new RegExp(`^${id.slice(0, 12)} +kubia +"nc .*8080->8080/tcp.* +kubia-container$`, 'm'),
    );
    const tty = terminal('tinyrun exec -it kubia-container bash');
    await tty.shows(/#/);
    tty.type('hostname; exit');
    tty.press('Enter');
    await tty.shows(new RegExp(`^${id.slice(0, 12)}\nexit 0$`, 'm'));
    const [facts] = JSON.parse(await box.ok(['inspect', 'kubia-container']));
    expect(facts).toMatchObject({ Id: id, State: { Running: true }, Config: { Image: 'kubia' } });
    expect(facts.NetworkSettings.Ports['8080/tcp'][0].HostPort).toBe('8080');
    await box.ok(['stop', '-t', '1', 'kubia-container']);
    expect(await box.ok(['ps', '-q'])).toBe('');
    expect(await box.ok(['ps', '-a'])).toMatch(/kubia .*Exited \(\d+\) .* kubia-container$/m);
    expect(await box.ok(['rm', 'kubia-container'])).toBe('kubia-container');
    expect(await box.ok(['ps', '-aq'])).toBe('');
  });
});
