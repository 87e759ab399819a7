import type { Engine } from '../engine/index.ts';
import type { Context } from './context.ts';
import type { Parsed } from './parse.ts';

/** How the text of an option's value is understood; the word is what `--help` shows as placeholder. */
export type OptionType = 'bool' | 'string' | 'list' | 'int' | 'decimal' | 'bytes' | 'duration';

export interface OptionSpec {
  readonly long: string;
  readonly short?: string;
  readonly type: OptionType;
  readonly help: string;
  /** The value where the option is not given; said in `--help`. */
  readonly default?: string | number | boolean;
  /** Placeholder in `--help` where it is not the type's own. */
  readonly value?: string;
  /** Left out of `--help`: old spellings. */
  readonly hidden?: boolean;
}

/** A command of the table: data, and the function that is called with the parsed arguments. */
export interface Command {
  /** All words: `run`, `container ls`. */
  readonly name: string;
  readonly summary: string;
  /** After the name, as `[OPTIONS] IMAGE [COMMAND] [ARG...]`. */
  readonly usage: string;
  readonly options: readonly OptionSpec[];
  /** Bounds of the number of operands; `max` absent: no bound. */
  readonly operands: { readonly min: number; readonly max?: number };
  /** False: the first operand ends the options, as for `run`. */
  readonly interspersed?: boolean;
  /** What an engine error exits with: 125 for `run`, else 1. */
  readonly errorExit?: number;
  run(call: Call): Promise<number>;
}

export interface Call {
  readonly context: Context;
  readonly parsed: Parsed;
  /** Opened on first use: `--help` and wrong flags never touch the disk. */
  engine(): Promise<Engine>;
}
