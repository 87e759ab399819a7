import type { EngineOptions } from '../engine/core.ts';
import type { Context } from './context.ts';

/** `TINYRUN_DEBUG=timing` prints when each phase of a command ended; `plan` prints the launch plan. */
export function openTimer(context: Context): Pick<EngineOptions, 'onPhase' | 'onPlan'> {
  const wanted = context.env.TINYRUN_DEBUG?.split(',') ?? [];
  let last = context.now();
  return {
    ...(wanted.includes('timing')
      ? {
          onPhase: (name) => {
            const now = context.now();
            const spent = (now - last).toFixed(2).padStart(8);
            context.stderr.write(`${now.toFixed(2).padStart(8)} ms ${spent} ${name}\n`);
            last = now;
          },
        }
      : {}),
    ...(wanted.includes('plan') ? { onPlan: (text) => context.stderr.write(text) } : {}),
  };
}
