import type { BuildEvent } from '../build/events.ts';
import { PlainBuildProgress } from './build-progress-plain.ts';
import { RawBuildProgress } from './build-progress-raw.ts';
import { TerminalBuildProgress } from './build-progress-tty.ts';
import type { Output } from './context.ts';

export const PROGRESS_MODES = ['auto', 'plain', 'tty', 'rawjson', 'quiet'] as const;
export type ProgressMode = (typeof PROGRESS_MODES)[number];

/** Shows a build as it happens. `finish` is called once, after the last event, also of a build that failed. */
export interface BuildProgress {
  event(event: BuildEvent): void;
  finish(): void;
}

export interface BuildProgressOptions {
  readonly mode: ProgressMode;
  /** Date.now. */
  readonly now: () => number;
}

/** `auto` is `tty` on a terminal and `plain` elsewhere. */
export function openBuildProgress(output: Output, options: BuildProgressOptions): BuildProgress {
  const mode = options.mode === 'auto' ? (output.isTTY === true ? 'tty' : 'plain') : options.mode;
  switch (mode) {
    case 'quiet':
      return { event: () => {}, finish: () => {} };
    case 'rawjson':
      return new RawBuildProgress(output);
    case 'tty':
      return new TerminalBuildProgress(output, options.now);
    default:
      return new PlainBuildProgress(output);
  }
}
