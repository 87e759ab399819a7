/**
 * Runs inside the cgroup v2 guest: real containers under real limits. Prints one line `RESULT {json}` per check; the test
 * outside turns them into test results. Plain JavaScript, because the guest is slow and starts Node many times.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';

const BINARY = process.env.TINYRUN_V2_BINARY;
const env = {
  PATH: process.env.PATH,
  HOME: '/run/work',
  TINYRUN_ROOT: '/run/work/root',
  TINYRUN_RUNROOT: '/run/work/run',
};
const tinyrun = (...args) => {
  const { status, stdout, stderr } = spawnSync(BINARY, args, { env, encoding: 'utf8', timeout: 60_000 });
  return { status, stdout: stdout ?? '', stderr: stderr ?? '' };
};
const run = (...args) => tinyrun('run', '--rm', '--network', 'none', ...args);
const inside = (flags, file) => run(...flags, 'busybox', 'cat', `/sys/fs/cgroup/${file}`);

function check(name, body) {
  let problem = '';
  try {
    body();
  } catch (error) {
    problem = error.message;
  }
  console.log(`RESULT ${JSON.stringify({ name, problem })}`);
}

function equal(actual, expected, outcome) {
  if (actual !== expected)
    throw new Error(
      `expected ${JSON.stringify(expected)}, got ${JSON.stringify(actual)} ${JSON.stringify(outcome ?? '')}`,
    );
}

function matches(text, pattern) {
  if (!pattern.test(text)) throw new Error(`expected ${pattern}, got ${JSON.stringify(text)}`);
}

const FILES = [
  [['-m', '64m'], 'memory.max', '67108864'],
  [['-m', '64m', '--memory-swap', '96m'], 'memory.swap.max', '33554432'],
  [['-m', '64m', '--memory-reservation', '32m'], 'memory.low', '33554432'],
  [['--memory-high', '48m'], 'memory.high', '50331648'],
  [['--cgroup-conf', 'memory.oom.group=1'], 'memory.oom.group', '1'],
  [['--oom-group'], 'memory.oom.group', '1'],
  [['--cpus', '0.5'], 'cpu.max', '50000 100000'],
  [['--cpu-quota', '20000', '--cpu-period', '50000'], 'cpu.max', '20000 50000'],
  [['--cpu-shares', '2048'], 'cpu.weight', '174'],
  [['--pids-limit', '7'], 'pids.max', '7'],
];
for (const [flags, file, expected] of FILES) {
  check(`run ${flags.join(' ')} sets ${file}`, () => {
    const outcome = inside(flags, file);
    equal(outcome.stdout.trim(), expected, outcome);
  });
}

check('run --device-read-bps and --device-write-iops set io.max', () => {
  const known = ['/dev/ubda', '/dev/vda'].find((path) => existsSync(path));
  const node = known ?? '/dev/ubda';
  if (known === undefined) spawnSync('mknod', [node, 'b', '98', '0']);
  const { rdev } = statSync(node);
  const outcome = inside(['--device-read-bps', `${node}:1mb`, '--device-write-iops', `${node}:50`], 'io.max');
  equal(
    outcome.stdout.trim(),
    `${rdev >> 8}:${rdev & 255} rbps=1048576 wbps=max riops=max wiops=50`,
    outcome,
  );
});

check('a container that outgrows its memory is killed, and that is said', () => {
  const outcome = tinyrun(
    'run',
    '--name',
    'greedy',
    '--network',
    'none',
    '-m',
    '16m',
    '--memory-swap',
    '16m',
    'busybox',
    'sh',
    '-c',
    'dd if=/dev/zero of=/dev/shm/big bs=1M count=60; tail /dev/zero',
  );
  equal(outcome.status, 137, outcome);
  equal(tinyrun('inspect', '--format', '{{.State.OOMKilled}}', 'greedy').stdout.trim(), 'true');
  tinyrun('rm', 'greedy');
});

check('a container cannot fork past --pids-limit', () => {
  const outcome = run(
    '--pids-limit',
    '5',
    'busybox',
    'sh',
    '-c',
    'for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; wait',
  );
  matches(outcome.stderr, /can't fork|Resource temporarily unavailable/);
});

check('a container is at the root of its cgroup namespace', () => {
  const outcome = run('busybox', 'cat', '/proc/self/cgroup');
  equal(outcome.stdout.trim(), '0::/', outcome);
});

check('a container cannot open a disk that it makes a node for', () => {
  const outcome = run('busybox', 'sh', '-c', 'mknod /disk b 98 0 && head -c1 /disk');
  matches(outcome.stderr, /Operation not permitted/);
});

check('the standard devices work', () => {
  const outcome = run('busybox', 'sh', '-c', 'head -c4 /dev/urandom | wc -c; echo x >/dev/null && echo ok');
  equal(outcome.stdout, '4\nok\n', outcome);
});

check('--oom-kill-disable is refused with the reason', () => {
  const outcome = run('--oom-kill-disable', '-m', '64m', 'busybox', 'true');
  equal(outcome.status, 125, outcome);
  matches(outcome.stderr, /cgroup v2 has no way to switch the OOM killer off/);
});

check('--cpuset-cpus is set, or a clear error where the kernel lacks the controller', () => {
  if (readFileSync('/sys/fs/cgroup/cgroup.controllers', 'utf8').includes('cpuset')) {
    equal(inside(['--cpuset-cpus', '0'], 'cpuset.cpus').stdout.trim(), '0');
    return;
  }
  const outcome = run('--cpuset-cpus', '0', 'busybox', 'true');
  equal(outcome.status, 125, outcome);
  matches(outcome.stderr, /no cgroup controller "cpuset"/);
});

check('--cgroup-parent is honoured', () => {
  const { stdout: id } = tinyrun(
    'run',
    '-d',
    '--network',
    'none',
    '--cgroup-parent',
    '/mine/deep',
    'busybox',
    'sleep',
    '100',
  );
  const there = existsSync(`/sys/fs/cgroup/mine/deep/${id.trim()}/cgroup.procs`);
  tinyrun('rm', '-f', id.trim());
  equal(there, true);
});

check('exec joins the cgroup of the container', () => {
  const started = tinyrun('run', '-d', '--network', 'none', '--pids-limit', '9', 'busybox', 'sleep', '100');
  const id = started.stdout.trim();
  const outcome = tinyrun('exec', id, 'sh', '-c', 'cat /proc/self/cgroup /sys/fs/cgroup/pids.max');
  tinyrun('rm', '-f', id);
  equal(outcome.stdout, '0::/\n9\n', outcome);
});

check('pause freezes the cgroup and unpause thaws it', () => {
  const id = tinyrun('run', '-d', '--network', 'none', 'busybox', 'sleep', '100').stdout.trim();
  const frozen = () => {
    const parent = readdirSync('/sys/fs/cgroup').find((name) => name.startsWith('tinyrun'));
    return readFileSync(`/sys/fs/cgroup/${parent}/${id}/cgroup.freeze`, 'utf8').trim();
  };
  const paused = tinyrun('pause', id);
  const during = frozen();
  tinyrun('unpause', id);
  const after = frozen();
  tinyrun('rm', '-f', id);
  equal(`${paused.status} ${during} ${after}`, '0 1 0', paused);
});

check('stats and inspect tell pressure and the peak of memory', () => {
  const script = 'dd if=/dev/zero of=/dev/shm/big bs=1M count=8; rm /dev/shm/big; sleep 100';
  const id = tinyrun('run', '-d', '--network', 'none', 'busybox', 'sh', '-c', script).stdout.trim();
  spawnSync('sleep', ['2']);
  const outcome = tinyrun(
    'stats',
    '--no-stream',
    '--format',
    '{{.MemPeak}}|{{.PSICPU}}|{{.PSIMem}}|{{.PSIIO}}',
    id,
  );
  const state = JSON.parse(tinyrun('inspect', '--format', '{{json .State}}', id).stdout);
  const parent = readdirSync('/sys/fs/cgroup').find((name) => name.startsWith('tinyrun'));
  const has = (file) => existsSync(`/sys/fs/cgroup/${parent}/${id}/${file}`);
  const files = { peak: has('memory.peak'), pressure: has('cpu.pressure') };
  tinyrun('rm', '-f', id);
  const stall = files.pressure ? '\\d+\\.\\d\\d%' : '--';
  const peak = files.peak ? '\\d[\\d.]*MiB' : '--';
  matches(outcome.stdout.trim(), new RegExp(`^${peak}(\\|${stall}){3}$`));
  equal(state.MemoryPeak >= 8 * 1024 * 1024, files.peak, state);
  equal('Pressure' in state, files.pressure, state);
});

check('rm -f kills everything in the cgroup and removes it', () => {
  const started = tinyrun(
    'run',
    '-d',
    '--network',
    'none',
    'busybox',
    'sh',
    '-c',
    'sleep 1000 & sleep 1000 & wait',
  );
  const id = started.stdout.trim();
  equal(id.length, 64, started);
  equal(tinyrun('rm', '-f', id).status, 0);
  const parent = readdirSync('/sys/fs/cgroup').find((name) => name.startsWith('tinyrun')) ?? 'tinyrun';
  for (let i = 0; i < 50 && existsSync(`/sys/fs/cgroup/${parent}/${id}`); i += 1) spawnSync('sleep', ['0.1']);
  equal(existsSync(`/sys/fs/cgroup/${parent}/${id}`), false);
});

/** Runs tinyrun as a container of another engine would: in a cgroup namespace whose root is a delegated cgroup. */
const delegated = (name, enter, ...args) =>
  spawnSync(
    'sh',
    [
      '-c',
      `mkdir /sys/fs/cgroup/${name} && echo $$ >/sys/fs/cgroup/${name}/cgroup.procs && exec /usr/bin/unshare -C -m sh -c '
        umount -l /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup && cd /sys/fs/cgroup || exit 99
        ${enter}
        "$@"' sh "$@"`,
      'sh',
      BINARY,
      'run',
      '--rm',
      '--network',
      'none',
      ...args,
    ],
    { env, encoding: 'utf8', timeout: 60_000 },
  );
const limited = ['-m', '64m', 'busybox', 'cat', '/sys/fs/cgroup/memory.max'];

check('limits hold in a delegated cgroup that holds our own processes', () => {
  const first = delegated('own', '', ...limited);
  equal(first.stdout.trim(), '67108864', first);
});

check('limits hold where tinyrun runs in a threaded cgroup of a delegated one', () => {
  const enter = `mkdir -p side/threads && echo threaded >side/threads/cgroup.type
    echo $$ >side/cgroup.procs && echo $$ >side/threads/cgroup.procs || exit 98`;
  const outcome = delegated('shared', enter, ...limited);
  equal(outcome.stdout.trim(), '67108864', outcome);
});

check('no cgroup is left below the parents', () => {
  const parent = readdirSync('/sys/fs/cgroup').find((name) => name.startsWith('tinyrun'));
  const left =
    parent === undefined
      ? []
      : readdirSync(`/sys/fs/cgroup/${parent}`).filter((name) => /^[0-9a-f]{64}$/.test(name));
  equal(left.join(' '), '');
});
