import type { HealthOptions, Op } from '../native/plan.ts';
import type { Spec } from '../oci/runtime-spec.ts';
import type { Supervision } from '../runtime/compile.ts';
import type { ExecInput } from '../runtime/exec.ts';
import type { ContainerRecord } from './containers.ts';
import type { Core } from './core.ts';
import { openActor } from './event-actor.ts';
import { restartOptions } from './restart-policy.ts';

/** What the monitor does for a container besides running it. */
export interface Supervised {
  readonly options: Supervision;
  /** The health check's list; absent: none. */
  readonly probe?: readonly Op[];
}

export interface SupervisedFrom {
  readonly record: ContainerRecord;
  readonly spec: Spec;
  readonly cgroup: ExecInput['cgroup'] & { readonly directories: Readonly<Record<string, string>> };
  readonly seccompProgram: Uint8Array | undefined;
}

/** @throws StartError 127 where PATH leaves nothing to try for the health check */
export async function supervisionOf(core: Core, from: SupervisedFrom): Promise<Supervised> {
  const { record } = from;
  const { remove, lifetime, healthcheck } = record.options;
  const options: Supervision = {
    journal: { path: core.paths.events, actor: openActor(record), of: 'container' },
    restart: restartOptions(core.paths, record),
    ...(remove ? { removes: true } : {}),
    ...(lifetime === undefined || lifetime === 0 ? {} : { lifetimeMs: lifetime * 1000 }),
  };
  if (healthcheck === undefined && record.image.config.Healthcheck === undefined) return { options };
  return withHealth(core, from, options);
}

async function withHealth(core: Core, from: SupervisedFrom, options: Supervision): Promise<Supervised> {
  const { record, spec, cgroup, seccompProgram } = from;
  const [{ healthCheckOf }, { probeOps }, { stopSignalOf, stopTimeoutOf }] = await Promise.all([
    import('./health.ts'),
    import('../runtime/exec.ts'),
    import('./stop.ts'),
  ]);
  const check = healthCheckOf(record);
  if (check === undefined) return { options };
  const { unified, freezer } = cgroup.directories;
  const freezerPath =
    unified !== undefined
      ? `${unified}/cgroup.freeze`
      : freezer === undefined
        ? undefined
        : `${freezer}/freezer.state`;
  const health: HealthOptions = {
    intervalMs: check.intervalMs,
    timeoutMs: check.timeoutMs,
    retries: check.retries,
    startPeriodMs: check.startPeriodMs,
    startIntervalMs: check.startIntervalMs,
    onUnhealthy: record.options.healthOnFailure ?? 'none',
    stopSignal: stopSignalOf(record),
    stopTimeoutMs: Math.max(0, stopTimeoutOf(record) * 1000),
    path: core.paths.health(record.id),
    ...(freezerPath === undefined ? {} : { freezerPath }),
  };
  const probe = probeOps(spec, {
    args: check.args,
    cgroup,
    ...(seccompProgram === undefined ? {} : { seccompProgram }),
  });
  return { options: { ...options, health }, probe };
}
