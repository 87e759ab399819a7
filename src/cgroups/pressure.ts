/**
 * How much of the time processes stood still for want of something, in percent over the last 10, 60 and 300 seconds.
 * @see https://docs.kernel.org/accounting/psi.html
 */
export interface Stall {
  readonly avg10: number;
  readonly avg60: number;
  readonly avg300: number;
  /** Microseconds since the cgroup was made. */
  readonly total: number;
}

export interface Pressure {
  /** At least one process waited. */
  readonly some: Stall;
  /** All of them did. */
  readonly full?: Stall;
}

export type PressureOf = 'cpu' | 'memory' | 'io';

/** One file such as `cpu.pressure`; undefined where the kernel has it not, or has it switched off. */
export function parsePressure(text: string | undefined): Pressure | undefined {
  const some = stallOf(text, 'some');
  if (some === undefined) return undefined;
  const full = stallOf(text, 'full');
  return { some, ...(full === undefined ? {} : { full }) };
}

function stallOf(text: string | undefined, kind: string): Stall | undefined {
  const match = new RegExp(
    `^${kind} avg10=([\\d.]+) avg60=([\\d.]+) avg300=([\\d.]+) total=(\\d+)$`,
    'm',
  ).exec(text ?? '');
  if (match === null) return undefined;
  const [avg10 = 0, avg60 = 0, avg300 = 0, total = 0] = match.slice(1).map(Number);
  return { avg10, avg60, avg300, total };
}

/**
 * The pressure on a cgroup. It is in the unified hierarchy, also on a hybrid host whose limits are in others.
 * @param directory of the unified hierarchy
 */
export function readPressure(
  directory: string,
  read: (path: string) => string | undefined,
): Readonly<Partial<Record<PressureOf, Pressure>>> {
  const found: Partial<Record<PressureOf, Pressure>> = {};
  for (const of of ['cpu', 'memory', 'io'] as const) {
    const pressure = parsePressure(read(`${directory}/${of}.pressure`));
    if (pressure !== undefined) found[of] = pressure;
  }
  return found;
}
