import type { LogEntry } from '../engine/index.ts';
import type { Context } from './context.ts';

export interface PrintHow {
  /** Of each container, shown before its lines; none: lines stand alone. */
  readonly names: readonly string[];
  readonly timestamps: boolean;
  readonly details: boolean;
}

/** Cyan, yellow, green, magenta, blue: red is for errors. */
const COLOURS = [36, 33, 32, 35, 34];

/** Writes log entries as lines, each to the stream that it came from. */
export class LogPrinter {
  readonly #context: Context;
  readonly #how: PrintHow;
  readonly #prefixes: readonly string[];
  /** Whose line has had no end yet: a very long one comes in pieces. */
  #open: number | undefined;

  constructor(context: Context, how: PrintHow) {
    this.#context = context;
    this.#how = how;
    const width = Math.max(0, ...how.names.map((name) => name.length));
    const colour = context.stdout.isTTY === true && (context.env.NO_COLOR ?? '') === '';
    this.#prefixes = how.names.map((name, at) => {
      const prefix = `${name.padEnd(width)} | `;
      return colour ? `\x1b[${COLOURS[at % COLOURS.length]}m${prefix}\x1b[0m` : prefix;
    });
  }

  /** @param from index of the container */
  async print(from: number, entry: LogEntry): Promise<void> {
    const { stdout, stderr } = this.#context;
    const output = entry.stream === 'stdout' ? stdout : stderr;
    if (output.write(this.#line(from, entry))) return;
    await new Promise<void>((resolve) => output.once('drain', resolve));
  }

  #line(from: number, { text, time, attributes }: LogEntry): string {
    const { timestamps, details } = this.#how;
    const prefix = this.#prefixes[from] ?? '';
    const goesOn = prefix !== '' && this.#open === from;
    const broken = prefix !== '' && this.#open !== undefined && this.#open !== from;
    this.#open = text.endsWith('\n') ? undefined : from;
    if (goesOn) return text;
    return [
      broken ? '\n' : '',
      prefix,
      timestamps ? `${fixed(time)} ` : '',
      details && attributes !== undefined ? `${detailsOf(attributes)} ` : '',
      text,
    ].join('');
  }
}

/** With nine digits of a second, as Docker shows times of a log; the log itself has them without zeros at the end. */
function fixed(time: string): string {
  const [whole = '', fraction = ''] = time.replace(/Z$/, '').split('.');
  return `${whole}.${fraction.padEnd(9, '0')}Z`;
}

/** `key=value,key=value`, as Docker shows the attributes of an entry. */
function detailsOf(attributes: Readonly<Record<string, string>>): string {
  return Object.entries(attributes)
    .map(([key, value]) => `${encodeURIComponent(key)}=${encodeURIComponent(value)}`)
    .sort()
    .join(',');
}
