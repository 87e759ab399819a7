import { readFileSync, rmSync } from 'node:fs';
import { hostCgroups } from '../cgroups/host.ts';
import { planCgroup } from '../cgroups/plan.ts';
import { readJson } from '../disk/atomic.ts';
import { type ErrorDetails, TinyrunError } from '../errors.ts';
import { LaunchError, launch, type Session } from '../native/launch.ts';
import { nativeDirectory } from '../native/library.ts';
import type { LaunchPlan, Op } from '../native/plan.ts';
import type { Process, Spec } from '../oci/runtime-spec.ts';
import { capabilitiesOf, ownCapabilities } from '../runtime/capabilities.ts';
import { compileExec, type ExecInput } from '../runtime/exec.ts';
import { seccompFor } from '../runtime/seccomp/seccomp.ts';
import { StartError } from '../runtime/start-error.ts';
import type { Container } from './containers.ts';
import type { Core } from './core.ts';
import { openActor } from './event-actor.ts';
import { containerEvent } from './events.ts';
import { newId } from './ids.ts';
import { accountIn } from './image-root.ts';
import { lookUp } from './list.ts';
import { holdProcess, type LiveProcess } from './live-process.ts';
import { containerCapabilities } from './spec.ts';
import { environmentOf, workingDirectoryOf } from './spec-process.ts';

/** What is to run in a container besides its own program. */
export interface ExecRequest {
  readonly command: readonly string[];
  /** `KEY=value`, over the container's own; a `KEY` alone takes that variable away. */
  readonly env?: readonly string[];
  /** `user[:group]`; default: the container's. */
  readonly user?: string;
  /** Default: the container's. */
  readonly workingDir?: string;
  /** All capabilities of the host. */
  readonly privileged?: boolean;
  readonly tty?: boolean;
  readonly openStdin?: boolean;
  /** Kill the process when the session is closed, also by the death of this process. */
  readonly withClient?: boolean;
}

export interface ExecHow {
  /** `attach`: the session carries the process's output from its first byte. */
  readonly stdio: 'attach' | 'detached';
  /** Of the terminal, to begin with. */
  readonly size?: { readonly rows: number; readonly columns: number };
  /** The command waits for nothing but this process: see Session.follow. */
  readonly followed?: boolean;
}

export interface ExecSession {
  /** 64 hex digits. */
  readonly id: string;
  readonly session: Session;
}

/**
 * Runs one more process in a running container: in its namespaces, its cgroups and its root, with its limits and never
 * with more rights than it has (but for `privileged`). Resolves when the program has been executed.
 * @throws TinyrunError `not_found`; `conflict` where the container does not run or is paused, in Docker's words;
 *   StartError (126, 127) where the program cannot be executed
 */
export async function execInContainer(
  core: Core,
  text: string,
  request: ExecRequest,
  how: ExecHow,
): Promise<ExecSession> {
  const container = await lookUp(core, text);
  if (container.status === 'paused') {
    throw new TinyrunError('conflict', `Container ${text} is paused, unpause the container before exec`);
  }
  const held = hold(container);
  if (held === undefined) throw notRunning(container);
  try {
    const id = newId();
    const event = (action: string): Promise<void> =>
      containerEvent(core, container.record, `${action}: ${request.command.join(' ')}`, { execID: id });
    await event('exec_create');
    await event('exec_start');
    const { plan, spec } = await planExec(core, container, { id, request, how, held });
    if (core.showPlan !== undefined) {
      core.showPlan((await import('../native/explain.ts')).explainPlan(plan));
    }
    try {
      const session = await launch({
        plan,
        lockPath: core.paths.execLock(id),
        stdio: how.stdio,
        ...(how.followed === undefined ? {} : { followed: how.followed }),
        ...(how.size === undefined ? {} : { initialSize: how.size }),
      });
      return { id, session };
    } catch (error) {
      rmSync(core.paths.exec(id), { recursive: true, force: true });
      if (!(error instanceof LaunchError)) throw error;
      throw await explain(core, { error, plan, spec, container, held });
    }
  } finally {
    held.close();
  }
}

function hold({ status, state }: Container): LiveProcess | undefined {
  return status === 'running' && state !== undefined ? holdProcess(state.pid, state.startTime) : undefined;
}

function notRunning({ id, status }: Container, details: ErrorDetails = {}): TinyrunError {
  const text =
    status === 'restarting'
      ? `Container ${id} is restarting, wait until the container is running`
      : `container ${id} is not running`;
  return new TinyrunError('conflict', text, details);
}

interface PlanFrom {
  readonly id: string;
  readonly request: ExecRequest;
  readonly how: ExecHow;
  readonly held: LiveProcess;
}

async function planExec(
  core: Core,
  container: Container,
  { id, request, how, held }: PlanFrom,
): Promise<{ plan: LaunchPlan; spec: Spec }> {
  const base = specOf(core, container);
  const status = readFileSync('/proc/self/status', 'utf8');
  const process = await processOf(container, base, {
    request,
    how,
    held,
    available: ownCapabilities(status),
  });
  const spec = { ...base, process };
  const program = await programOf(core, container, ownCapabilities(status));
  const input: ExecInput = {
    id,
    statePath: core.paths.execState(id),
    process,
    target: held.directory,
    cgroup: cgroupFor(base, held),
    ...(program === undefined ? {} : { seccompProgram: program }),
    openStdin: request.openStdin === true,
    withClient: request.withClient === true,
    journal: { path: core.paths.events, actor: openActor(container.record, { execID: id }), of: 'exec' },
  };
  return { plan: compileExec(spec, input), spec };
}

function cgroupFor(spec: Spec, held: LiveProcess): ExecInput['cgroup'] {
  const host = hostCgroups();
  const { child, cgroupDirectory } = planCgroup(host, spec.linux.cgroupsPath ?? '/', {});
  if (cgroupDirectory === undefined) return { child };
  const text = readFileSync(`${held.directory}/cgroup`, 'utf8');
  return { child, cgroupDirectory: birthplace(cgroupDirectory, host.unified?.mount ?? '', text) };
}

/**
 * The cgroup v2 directory for one more process: where the first one is now. An init system may have moved itself further down
 * and handed controllers on, and then the container's own cgroup takes no processes any more (EBUSY).
 * @param text of /proc/<pid>/cgroup
 */
export function birthplace(own: string, mount: string, text: string): string {
  const path = /^0::(\/.*)$/m.exec(text)?.[1] ?? '/';
  const now = `${mount}${path}`;
  return now.startsWith(`${own}/`) && !now.split('/').includes('..') ? now : own;
}

/** config.json, as it was when the container was started. */
function specOf(core: Core, container: Container): Spec {
  const spec = readJson(core.paths.config(container.id), (value) => value as Spec);
  if (spec?.linux.cgroupsPath !== undefined) return spec;
  throw new TinyrunError(
    'internal',
    `Cannot exec in container "${container.name}": its config.json is missing`,
    {
      hint: 'Restart the container: every start writes it anew',
    },
  );
}

interface ProcessFrom {
  readonly request: ExecRequest;
  readonly how: ExecHow;
  readonly held: LiveProcess;
  readonly available: bigint | undefined;
}

/** The container's own process, but for what was asked. */
async function processOf(container: Container, spec: Spec, from: ProcessFrom): Promise<Process> {
  const { request, how, held, available } = from;
  const { options, image } = container.record;
  const account = await accountIn(
    { path: `${held.directory}/root` },
    request.user ?? options.user ?? image.config.User,
    options.groupAdd,
  );
  const bounding =
    request.privileged === true
      ? capabilitiesOf({
          add: [],
          drop: [],
          privileged: true,
          ...(available === undefined ? {} : { available }),
        })
      : spec.process.capabilities.bounding;
  // As at the start: no capabilities for other users, and none that a file could inherit (CVE-2022-29162).
  const effective = account.uid === 0 ? bounding : [];
  const tty = request.tty === true;
  const { consoleSize: _, ...own } = spec.process;
  return {
    ...own,
    terminal: tty,
    ...(tty && how.size !== undefined
      ? { consoleSize: { height: how.size.rows, width: how.size.columns } }
      : {}),
    user: { ...own.user, uid: account.uid, gid: account.gid, additionalGids: account.groups },
    args: request.command,
    env: environmentOf({
      image: image.config.Env ?? [],
      requested: [...options.env, ...(request.env ?? [])],
      hostname: spec.hostname ?? variable(own.env, 'HOSTNAME'),
      tty,
      home: account.home,
    }),
    cwd: workingDirectoryOf(request.workingDir, own.cwd),
    capabilities: { bounding, effective, permitted: effective, inheritable: [], ambient: [] },
  };
}

function variable(env: readonly string[], key: string): string {
  return env.findLast((entry) => entry.startsWith(`${key}=`))?.slice(key.length + 1) ?? '';
}

/** The container's seccomp filter, also with `--privileged`: that one is about capabilities, as with Docker. */
async function programOf(
  core: Core,
  { record }: Container,
  available: bigint | undefined,
): Promise<Uint8Array | undefined> {
  const { options } = record;
  const filter = await seccompFor({
    capabilities: containerCapabilities(options, available),
    arch: core.arch,
    kernel: readFileSync('/proc/sys/kernel/osrelease', 'utf8').trim(),
    securityOpt: options.securityOpt,
    privileged: options.privileged,
    programPath: core.paths.seccompProgram,
    carried: nativeDirectory(),
  });
  return filter?.program;
}

interface Failed {
  readonly error: LaunchError;
  readonly plan: LaunchPlan;
  readonly spec: Spec;
  readonly container: Container;
  readonly held: LiveProcess;
}

/** In the words that scripts know of Docker. Whatever cannot be said better exits with 126, Docker's code for a failed exec. */
async function explain(core: Core, failed: Failed): Promise<TinyrunError> {
  const { error, plan, container, held, spec } = failed;
  const { failure } = error;
  const op = failure.phase === 'child' ? plan.child[failure.opIndex] : undefined;
  // It ended meanwhile.
  if (op?.op === 'joinNamespace' && ['ENOENT', 'ESRCH'].includes(failure.errno)) return notRunning(container);
  // Nobody is born into a pid namespace whose first process is dead.
  if (failure.phase === 'clone' && failure.errno === 'ENOMEM') return notRunning(container);
  if (op?.op === 'exec') return explainExec(core, { error, op, held, argv0: spec.process.args[0] ?? '' });
  if (op?.op === 'cwd') {
    const missing = failure.errno === 'ENOENT';
    return new StartError(
      missing ? 127 : 126,
      `chdir to cwd (${JSON.stringify(op.path)}) failed: ${missing ? 'no such file or directory' : failure.errno}`,
    );
  }
  return new StartError(126, error.message, { cause: error.cause });
}

async function explainExec(
  core: Core,
  from: { error: LaunchError; op: Extract<Op, { op: 'exec' }>; held: LiveProcess; argv0: string },
): Promise<TinyrunError> {
  const [{ closeFd, openDirectory }, { diagnose }, store] = await Promise.all([
    import('../native/syscalls.ts'),
    import('../runtime/diagnose.ts'),
    core.store(),
  ]);
  const rootFd = openDirectory(`${from.held.directory}/root`);
  try {
    const { message, hint, exitCode } = diagnose({
      rootFd,
      argv0: from.argv0,
      path: from.op.paths[0] ?? '',
      paths: from.op.paths,
      errno: from.error.failure.errno,
      hostArch: store.host.architecture,
    });
    return new StartError(exitCode, message, hint === undefined ? {} : { hint });
  } finally {
    closeFd(rootFd);
  }
}
