import { existsSync } from 'node:fs';
import { TinyrunError } from '../errors.ts';
import type { LaunchError } from '../native/launch.ts';
import type { LaunchPlan, Op } from '../native/plan.ts';
import { bandwidthRefusal } from '../network/bandwidth.ts';
import type { NetworkPlan } from '../network/networks.ts';
import { needsRepair } from '../network/networks.ts';
import { portConflict } from '../network/ports.ts';
import { diagnose } from '../runtime/diagnose.ts';
import { StartError } from '../runtime/start-error.ts';
import type { ContainerRecord } from './containers.ts';
import type { Core } from './core.ts';
import type { Launchable } from './start-plan.ts';

/** What may be tried instead of giving up: plan anew, or repair the network first. */
export type NextStep = 'retry' | 'repair';

export interface LaunchFailureFacts {
  readonly error: LaunchError;
  readonly record: ContainerRecord;
  readonly launchable: Launchable;
  readonly network: NetworkPlan;
}

/** Which op failed, and in what words a person is told; or what to try. */
export async function explainFailure(
  core: Core,
  facts: LaunchFailureFacts,
): Promise<TinyrunError | NextStep> {
  const { error, launchable, network } = facts;
  const { failure } = error;
  const op = failedOp(launchable.plan, failure.phase, failure.opIndex);
  if (op === undefined) return error;
  const conflict = portConflict(op, failure.errno);
  if (conflict !== undefined) return network.randomPorts ? 'retry' : conflict;
  const refusal = bandwidthRefusal(op.what, failure.errno);
  if (refusal !== undefined) return refusal;
  if (needsRepair(op, failure.errno)) return 'repair';
  if (op.op === 'overlay' && failure.errno === 'ENODEV') {
    return new TinyrunError('unsupported', 'Cannot mount the image: the kernel has no overlay file system', {
      hint: 'Load it with: modprobe overlay',
      cause: error,
    });
  }
  if (op.op === 'exec') return explainExec(core, facts, op);
  const hint = failure.phase === 'child' ? IN_THE_WAY[failure.errno] : undefined;
  return hint === undefined ? error : new TinyrunError(error.kind, error.message, { hint, cause: error });
}

/** What an image can have where the engine mounts something or makes a directory: nothing is followed out of its root. */
const IN_THE_WAY: Readonly<Record<string, string>> = {
  EXDEV: 'A symbolic link of the image leads out of its root there',
  ELOOP: 'Symbolic links of the image lead in a circle there',
  ENOTDIR: 'The image has something there that is not a directory',
};

function failedOp(plan: LaunchPlan, phase: string, index: number): Op | undefined {
  switch (phase) {
    case 'prepare':
    case 'child':
    case 'connect':
    case 'release':
    case 'cleanup':
    case 'probe':
      return plan[phase]?.[index];
    default:
      return undefined;
  }
}

async function explainExec(
  core: Core,
  { error, record, launchable }: LaunchFailureFacts,
  op: Extract<Op, { op: 'exec' }>,
): Promise<TinyrunError> {
  const { closeFd, openRoot } = await import('../native/syscalls.ts');
  // With --rm the container's own changes are gone by now.
  const rootFd = openRoot(launchable.rootDirectories.filter((path) => existsSync(path)));
  try {
    const store = await core.store();
    const { message, hint, exitCode } = diagnose({
      rootFd,
      argv0: record.args[0] ?? '',
      path: op.paths[0] ?? '',
      paths: op.paths,
      binds: launchable.plan.child.filter((each) => each.op === 'bind'),
      errno: error.failure.errno,
      hostArch: store.host.architecture,
    });
    return new StartError(exitCode, message, hint === undefined ? {} : { hint });
  } finally {
    closeFd(rootFd);
  }
}
