import type { LaunchPlan, MonitorOptions, Op } from '../native/plan.ts';
import type { NamespaceType, Process, Spec } from '../oci/runtime-spec.ts';
import { processOps } from './process.ts';

/** What the launch of another process needs beyond the config.json of the container that it joins. */
export interface ExecInput {
  /** Of the session, not of the container. */
  readonly id: string;
  readonly statePath: string;
  readonly process: Process;
  /** The directory of the container's first process in /proc, by a path that can never mean another one. */
  readonly target: string;
  readonly cgroup: {
    /** Joins by the child itself (v1). */
    readonly child: readonly Op[];
    readonly cgroupDirectory?: string;
  };
  /** The container's own filter; absent: unconfined. */
  readonly seccompProgram?: Uint8Array;
  readonly openStdin: boolean;
  /** The process is killed when its client goes away. */
  readonly withClient: boolean;
  readonly journal?: MonitorOptions['journal'];
}

/** Of `/proc/<pid>/ns`. Entered in this order: the mount namespace last, because what is before it uses paths of the host. */
const NAMESPACE_FILES: readonly (readonly [type: Exclude<NamespaceType, 'time'>, file: string])[] = [
  ['user', 'user'],
  ['cgroup', 'cgroup'],
  ['ipc', 'ipc'],
  ['uts', 'uts'],
  ['network', 'net'],
  ['pid', 'pid'],
  ['mount', 'mnt'],
];

/**
 * One more process for a running container, as a launch plan that makes nothing and joins everything: the cgroups before
 * the namespaces, so that it is charged from its first moment; then what every container's process goes through. Pure.
 * @throws StartError 127 where PATH leaves nothing to try
 */
export function compileExec(spec: Spec, input: ExecInput): LaunchPlan {
  const { cgroup, process } = input;
  return {
    monitor: {
      id: input.id,
      statePath: input.statePath,
      tty: process.terminal === true,
      openStdin: input.openStdin,
      stdinOnce: input.openStdin,
      ...(input.withClient ? { withClient: true } : {}),
      ...(input.journal === undefined ? {} : { journal: input.journal }),
    },
    namespaces: [],
    ...(cgroup.cgroupDirectory === undefined ? {} : { cgroupDirectory: cgroup.cgroupDirectory }),
    prepare: [],
    child: childOps(spec, input),
    connect: [],
    release: [],
    cleanup: [{ op: 'unlink', what: `remove "${input.statePath}"`, path: input.statePath }],
  };
}

/**
 * The health check: the container's own process, but for its arguments, joining by the /proc directory that the monitor holds.
 * @throws StartError 127 where PATH leaves nothing to try
 */
export function probeOps(
  spec: Spec,
  input: Pick<ExecInput, 'cgroup' | 'seccompProgram'> & { readonly args: readonly string[] },
): Op[] {
  const { consoleSize: _, ...own } = spec.process;
  const process: Process = { ...own, terminal: false, args: input.args };
  return childOps(spec, { ...input, process, target: '' });
}

function childOps(
  spec: Spec,
  input: Pick<ExecInput, 'cgroup' | 'process' | 'seccompProgram' | 'target'>,
): Op[] {
  const { process } = input;
  return [
    ...input.cgroup.child,
    ...scoreOps(process),
    ...joinOps(spec, input.target),
    ...consoleOps(process),
    { op: 'umask', what: 'set the umask', mask: process.user.umask ?? 0o022 },
    // A directory that is missing is the user's error: to make it would change the container.
    ...processOps({ ...spec, process }, input.seccompProgram, false).map(
      (op): Op => (op.op === 'cwd' ? { ...op, create: false } : op),
    ),
  ];
}

/** Also those that the container itself has joined: it is in them. Those of the host are everybody's. */
function joinOps(spec: Spec, target: string): Op[] {
  return NAMESPACE_FILES.filter(([type]) => spec.linux.namespaces.some((entry) => entry.type === type)).map(
    ([type, file]): Op => ({
      op: 'joinNamespace',
      what: `join the ${type} namespace of the container`,
      path: target === '' ? `ns/${file}` : `${target}/ns/${file}`,
      type,
    }),
  );
}

function scoreOps({ oomScoreAdj: score }: Process): Op[] {
  if (score === undefined) return [];
  const what = `set oom_score_adj to ${score}`;
  return [{ op: 'writeFile', what, path: '/proc/self/oom_score_adj', text: String(score) }];
}

function consoleOps({ terminal, consoleSize }: Process): Op[] {
  if (terminal !== true) return [];
  const { height = 0, width = 0 } = consoleSize ?? {};
  return [{ op: 'console', what: 'open a terminal', rows: height, columns: width }];
}
