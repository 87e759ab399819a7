import { execFileSync, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest';
import { needing } from '../harness/requires.ts';
import { show } from '../harness/sandbox.ts';
import { type Seeded, seededSandbox } from '../harness/seed.ts';

const it = needing('root', 'overlay', 'nft', 'docker-registry', 'busybox-static');

let box: Seeded;
beforeAll(async () => {
  box = await seededSandbox();
});
afterEach(async () => {
  const ids = await box.ok(['ps', '-aq']);
  if (ids !== '') await box.ok(['rm', '-f', ...ids.split('\n')]);
});
afterAll(async () => {
  await box.dispose();
});

const detached = (...args: string[]) => box.ok(['run', '-d', '--network', 'none', ...args]);
const state = (container: string) =>
  box.ok(['inspect', '--format', '{{.State.Status}} {{.State.ExitCode}}', container]);

async function until(what: string, condition: () => Promise<boolean>, ms = 10_000): Promise<void> {
  const deadline = Date.now() + ms;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`Not within ${ms} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

describe('detached containers', () => {
  it('run -d prints the id and the container goes on', async () => {
    const id = await detached('busybox', 'sleep', '100');
    expect(id).toMatch(/^[0-9a-f]{64}$/);
    expect(await state(id)).toBe('running 0');
    expect(await box.ok(['ps', '-q', '--no-trunc'])).toBe(id);
  });

  it('ps shows Docker’s columns', async () => {
    const id = await detached('--name', 'worker', 'busybox', 'sleep', '100');
    const [header, row] = (await box.ok(['ps'])).split('\n');
    expect(header).toMatch(/^CONTAINER ID\s+IMAGE\s+COMMAND\s+CREATED\s+STATUS\s+PORTS\s+NAMES$/);
    expect(row).toMatch(
      new RegExp(`^${id.slice(0, 12)}\\s+busybox\\s+"sleep 100"\\s+.*ago\\s+Up .*\\s+worker$`),
    );
  });

  it('ps -a shows what has ended, with its code', async () => {
    await box.run(['run', '--name', 'done', '--network', 'none', 'busybox', 'sh', '-c', 'exit 3']);
    expect(await box.ok(['ps', '-q'])).toBe('');
    expect(await box.ok(['ps', '-a'])).toMatch(/Exited \(3\) .* ago\s+done/);
    expect(await state('done')).toBe('exited 3');
  });

  it('ps -s says what a container wrote, and filters by image', async () => {
    await detached('--name', 'fat', 'busybox', 'sh', '-c', 'head -c 300000 /dev/zero >/big; sleep 100');
    await until('written', async () => (await box.ok(['exec', 'fat', 'ls', '/'])).includes('big'));
    expect(await box.ok(['ps', '-s'])).toMatch(/NAMES +SIZE\n.*fat +300kB \(virtual \d[\d.]*MB\)$/);
    const names = (...args: string[]) => box.ok(['ps', '--format', '{{.Names}}', ...args]);
    expect(await names('--filter', 'ancestor=busybox')).toBe('fat');
    expect(await names('--filter', 'ancestor=debian')).toBe('');
    await box.ok(['stop', '-t', '0', 'fat']);
    expect(await names()).toBe('');
    expect(await names('--filter', 'exited=137')).toBe('fat');
    expect(await names('-l')).toBe('fat');
    expect((await box.run(['ps', '--filter', 'since=nosuch', '-a'])).stderr).toContain(
      'No such container: nosuch',
    );
  });

  it('gives a name like Docker’s to one that has none', async () => {
    await detached('busybox', 'sleep', '100');
    expect(await box.ok(['ps', '--format', '{{.Names}}'])).toMatch(/^[a-z]+_[a-z]+\d?$/);
  });

  it('finds a container by name, id and the beginning of its id', async () => {
    const id = await detached('--name', 'found', 'busybox', 'sleep', '100');
    for (const key of ['found', id, id.slice(0, 5)]) expect(await state(key)).toBe('running 0');
    const missing = await box.run(['inspect', 'nosuch']);
    expect(missing.code).toBe(1);
    expect(missing.stderr).toMatch(/No such (object|container): nosuch/);
  });
});

describe('stop, kill, wait, rm', () => {
  it('stop sends the stop signal and the container may answer it', async () => {
    await detached(
      '--name',
      'polite',
      'busybox',
      'sh',
      '-c',
      'trap "exit 7" TERM; while :; do sleep 0.1; done',
    );
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(await box.ok(['stop', 'polite'])).toBe('polite');
    expect(await state('polite')).toBe('exited 7');
  });

  it('stop kills what does not listen, after its patience', async () => {
    await detached('--name', 'stubborn', 'busybox', 'sh', '-c', 'trap "" TERM; while :; do sleep 0.1; done');
    const start = Date.now();
    await box.ok(['stop', '-t', '1', 'stubborn']);
    expect(Date.now() - start).toBeGreaterThan(900);
    expect(await state('stubborn')).toBe('exited 137');
  });

  it('honours --stop-signal', async () => {
    await detached(
      '--name',
      'quits',
      '--stop-signal',
      'USR1',
      'busybox',
      'sh',
      '-c',
      'trap "exit 9" USR1; while :; do sleep 0.1; done',
    );
    await new Promise((resolve) => setTimeout(resolve, 300));
    await box.ok(['stop', 'quits']);
    expect(await state('quits')).toBe('exited 9');
  });

  it('kill sends any signal', async () => {
    await detached('--name', 'victim', 'busybox', 'sleep', '100');
    expect(await box.ok(['kill', 'victim'])).toBe('victim');
    await until('victim is dead', async () => (await state('victim')) === 'exited 137');
    const again = await box.run(['kill', 'victim']);
    expect(again.code).toBe(1);
    expect(again.stderr).toContain('is not running');
  });

  it.each(['kill', 'stop', 'rm'])('%s gives the ports back before it returns', async (how) => {
    const args = how === 'stop' ? ['stop', '-t', '0'] : how === 'rm' ? ['rm', '-f'] : ['kill'];
    for (let round = 0; round < (how === 'kill' ? 20 : 5); round += 1) {
      const published = ['-p', '127.0.0.1:38417:80', '-p', '127.0.0.1:38417:80/udp'];
      const name = `ports${round}`;
      await box.ok(['run', '-d', '--name', name, ...published, 'busybox', 'sleep', '100']);
      await box.ok([...args, name]);
    }
  });

  it('wait prints the exit code', async () => {
    await detached('--name', 'waited', 'busybox', 'sh', '-c', 'sleep 0.5; exit 4');
    expect(await box.ok(['wait', 'waited'])).toBe('4');
    expect(await box.ok(['wait', 'waited'])).toBe('4');
  });

  it('rm refuses a running container and takes it with -f', async () => {
    const id = await detached('--name', 'busy', 'busybox', 'sleep', '100');
    const refused = await box.run(['rm', 'busy']);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain(
      'container is running: stop the container before removing or force remove',
    );
    expect(await box.ok(['rm', '-f', 'busy'])).toBe('busy');
    expect(await box.ok(['ps', '-aq'])).not.toContain(id.slice(0, 12));
  });

  it('start runs a stopped container again, with its files', async () => {
    await box.run([
      'run',
      '--name',
      'again',
      '--network',
      'none',
      'busybox',
      'sh',
      '-c',
      'echo x >> /count; wc -l < /count',
    ]);
    expect((await box.run(['start', '-a', 'again'])).stdout.trim()).toBe('2');
  });
});

describe('logs', () => {
  it('keeps both streams in order, also of a container that has ended', async () => {
    await box.run([
      'run',
      '--name',
      'speaker',
      '--network',
      'none',
      'busybox',
      'sh',
      '-c',
      'echo one; sleep 0.2; echo two >&2; sleep 0.2; printf three',
    ]);
    const outcome = await box.run(['logs', 'speaker']);
    expect(outcome.stdout).toBe('one\nthree');
    expect(outcome.stderr).toBe('two\n');
    expect((await box.run(['logs', '-n', '1', 'speaker'])).stdout).toBe('three');
    expect(await box.ok(['logs', '-t', 'speaker'])).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z one/);
  });

  it('are Docker’s json-file format on disk', async () => {
    await box.run([
      'run',
      '--name',
      'odd',
      '--network',
      'none',
      'busybox',
      'printf',
      'a"b\\\\c\\tq\\377<\\n',
    ]);
    const id = await box.ok(['inspect', '--format', '{{.Id}}', 'odd']);
    const text = readFileSync(join(box.root, 'containers', id, 'log', 'json.log'), 'utf8');
    const entry = JSON.parse(text.trim()) as { log: string; stream: string; time: string };
    expect(entry.stream).toBe('stdout');
    expect(entry.log).toBe('a"b\\c\tq\ufffd<\n');
    expect(entry.time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,9}Z$/);
  });

  it('shows several containers at once, the oldest line first', async () => {
    await detached('--name', 'ab', 'busybox', 'sh', '-c', 'echo one; sleep 0.4; echo three');
    await detached('--name', 'long', 'busybox', 'sh', '-c', 'sleep 0.2; echo two >&2; sleep 0.4; echo four');
    await box.ok(['wait', 'ab', 'long']);
    const outcome = await box.run(['logs', 'ab', 'long']);
    expect(outcome.stdout).toBe('ab   | one\nab   | three\nlong | four\n');
    expect(outcome.stderr).toBe('long | two\n');
    expect(await box.ok(['logs', '--names', '-n', '1', 'ab'])).toBe('ab | three');
    expect((await box.run(['logs', 'ab', 'nosuch'])).stderr).toContain('No such container: nosuch');
  });

  it('follows several containers, and empties a log', async () => {
    const script = 'while :; do echo $0; sleep 0.1; done';
    await detached('--name', 'xx', 'busybox', 'sh', '-c', script, 'hi');
    await detached('--name', 'yy', 'busybox', 'sh', '-c', script, 'ho');
    const child = box.start(['logs', '-f', 'xx', 'yy']);
    let text = '';
    child.stdout.on('data', (chunk) => {
      text += String(chunk);
    });
    await until('both', async () => /xx \| hi\n/.test(text) && /yy \| ho\n/.test(text));
    await box.ok(['kill', 'xx']);
    await box.ok(['logs', '--clear', 'yy', 'xx']);
    expect(await box.ok(['logs', 'xx'])).toBe('');
    text = '';
    await until('what comes after', async () => text.includes('yy | ho'));
    await box.ok(['kill', 'yy']);
    expect(await new Promise((resolve) => child.once('close', resolve))).toBe(0);
  });

  it('-f follows until the end', async () => {
    await detached('--name', 'slow', 'busybox', 'sh', '-c', 'for i in 1 2 3; do echo $i; sleep 0.3; done');
    expect(await box.ok(['logs', '-f', 'slow'])).toBe('1\n2\n3');
  });

  it('are rotated at max-size', async () => {
    await box.run([
      'run',
      '--name',
      'chatty',
      '--network',
      'none',
      '--log-opt',
      'max-size=20k',
      '--log-opt',
      'max-file=2',
      'busybox',
      'sh',
      '-c',
      'i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done',
    ]);
    const text = await box.ok(['logs', 'chatty']);
    expect(text.endsWith('line 1999')).toBe(true);
    expect(text.length).toBeLessThan(40_000);
  });
});

describe('faults', () => {
  it('kill -9 of the monitor ends the container, and the next command cleans up', async () => {
    const id = await detached('--name', 'orphan', 'busybox', 'sleep', '1000');
    const facts = JSON.parse(readFileSync(join(box.root, 'containers', id, 'state.json'), 'utf8')) as {
      pid: number;
      monitorPid: number;
    };
    process.kill(facts.monitorPid, 'SIGKILL');
    await until('the container is dead', async () => !alive(facts.pid));
    expect(await state('orphan')).toBe('exited 137');
    expect(await box.ok(['rm', 'orphan'])).toBe('orphan');
  });

  it('kill -9 of the CLI leaves a detached and a foreground container’s store sound', async () => {
    const child = box.start(['run', '--name', 'left', '--network', 'none', 'busybox', 'sleep', '1000']);
    await until('it runs', async () =>
      (await box.run(['ps', '--format', '{{.Names}}'])).stdout.includes('left'),
    );
    child.kill('SIGKILL');
    expect(await state('left')).toBe('running 0');
    await box.ok(['rm', '-f', 'left']);
  });

  it('a foreground run ends on SIGTERM as its program does', async () => {
    const child = box.start([
      'run',
      '--rm',
      '--name',
      'fore',
      '--network',
      'none',
      'busybox',
      'sh',
      '-c',
      'trap "exit 5" TERM; echo ready; while :; do sleep 0.1; done',
    ]);
    await new Promise<void>((resolve) => child.stdout.once('data', () => resolve()));
    const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
    child.kill('SIGTERM');
    expect(await ended).toBe(5);
  });

  it('a store that is read-only says so', async () => {
    // There is no store yet, and none to be made: an empty one is listed, a container is not.
    expect((await box.run(['--root', '/proc/tinyrun', 'images', '-q'])).stdout).toBe('');
    const run = await box.run(['--root', '/proc/tinyrun', 'run', 'busybox', 'true']);
    expect(run.code, show(run)).toBe(125);
    expect(run.stderr).toContain('/proc/tinyrun');
    expect(run.stderr.trim().split('\n').length).toBeLessThanOrEqual(4);
  });
});

describe('a terminal', () => {
  const terminal = (command: string, input: string) =>
    execFileSync('script', ['-qec', command, '/dev/null'], {
      input,
      encoding: 'utf8',
      env: { ...box.env },
      timeout: 30_000,
    });

  it('run -it gives the program a tty of the right size, and its name', () => {
    const output = terminal(
      `stty rows 33 cols 77; ${box.binary} run --rm -it --network none busybox sh -c "tty; stty size; echo TERM=$TERM; exit 3" || echo code $?`,
      '',
    );
    expect(output).toContain('/dev/pts/0');
    expect(output).toContain('33 77');
    expect(output).toContain('TERM=xterm');
    expect(output).toContain('code 3');
  });

  it('detaches with ctrl-p ctrl-q and the container goes on', async () => {
    const command = `${box.binary} run -it --name shell --network none busybox sh`;
    const child = spawn('script', ['-qec', command, '/dev/null'], { env: { ...box.env } });
    const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
    // Not before the prompt: a terminal that is not raw yet would take ctrl-q for flow control.
    await new Promise<void>((resolve) =>
      child.stdout.on('data', (chunk) => String(chunk).includes('#') && resolve()),
    );
    child.stdin.write('\x10\x11');
    expect(await ended).toBe(0);
    expect(await state('shell')).toBe('running 0');
  });
});

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
