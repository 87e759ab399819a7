import { PHASES } from './encode.ts';
import type { LaunchPlan, Op } from './plan.ts';

const TEXT_MAX = 60;

/** The plan for a person: one line per op, `child 12  mount   mount proc on "/proc"  fstype=proc …`. */
export function explainPlan(plan: LaunchPlan): string {
  const lines = [
    `namespaces ${plan.namespaces.join(' ') || 'none'}${plan.cgroupDirectory === undefined ? '' : `, in cgroup ${plan.cgroupDirectory}`}`,
  ];
  for (const phase of PHASES) {
    const ops = (plan[phase as keyof LaunchPlan] ?? []) as readonly Op[];
    ops.forEach((op, index) => {
      lines.push(`${phase.padEnd(8)}${String(index).padStart(3)}  ${explainOp(op)}`);
    });
  }
  return `${lines.join('\n')}\n`;
}

function explainOp(op: Op): string {
  const { op: name, what, optional, ...fields } = op;
  const values = Object.entries(fields).map(([key, value]) => `${key}=${explainValue(value)}`);
  return `${name.padEnd(16)}${what}${optional === true ? ' (optional)' : ''}  ${values.join(' ')}`.trimEnd();
}

function explainValue(value: unknown): string {
  if (value instanceof Uint8Array) return `<${value.length} bytes>`;
  if (Array.isArray(value)) return `[${value.map(explainValue).join(' ')}]`;
  if (typeof value === 'bigint') return `0x${value.toString(16)}`;
  if (typeof value !== 'string') return String(value);
  return JSON.stringify(value.length > TEXT_MAX ? `${value.slice(0, TEXT_MAX)}…` : value);
}
