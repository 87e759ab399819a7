import type { BuildEvent } from '../build/events.ts';
import type { BuildProgress } from './build-progress.ts';
import { BuildTrace, bytesText, type TracedVertex, warningLines } from './build-trace.ts';
import type { Output } from './context.ts';

/** Between two drawings, ms. */
const FRAME_MS = 100;
/** Lines of the log of a running step. */
const LOG_LINES = 6;
const BLUE = '\x1b[34m';
const RED = '\x1b[31m';
const YELLOW = '\x1b[33m';
const FAINT = '\x1b[2m';
const RESET = '\x1b[0m';

interface Line {
  readonly text: string;
  readonly right: string;
  readonly colour: string;
}

/** Moving lines for a terminal, as BuildKit's: `[+] Building 1.2s (5/8)`, a line for each step, the log of what runs. */
export class TerminalBuildProgress implements BuildProgress {
  readonly #output: Output;
  readonly #now: () => number;
  readonly #trace = new BuildTrace();
  readonly #began: number;
  readonly #timer: NodeJS.Timeout;
  #drawn = 0;
  #lastFrame = Number.NEGATIVE_INFINITY;

  constructor(output: Output, now: () => number) {
    this.#output = output;
    this.#now = now;
    this.#began = now();
    // The seconds go on while a step is silent.
    this.#timer = setInterval(() => this.#draw(false), FRAME_MS);
    this.#timer.unref();
  }

  event(event: BuildEvent): void {
    this.#trace.apply(event);
    if (this.#now() - this.#lastFrame >= FRAME_MS) this.#draw(false);
  }

  finish(): void {
    clearInterval(this.#timer);
    if (this.#trace.vertices.size > 0) this.#draw(true);
    this.#output.write(this.#trace.failures());
    this.#output.write(warningLines(this.#trace.warnings));
  }

  #draw(last: boolean): void {
    this.#lastFrame = this.#now();
    const width = this.#output.columns ?? 80;
    const all = this.#lines();
    // What does not fit cannot be drawn over: the newest steps are shown, and all of them at the end.
    const room = Math.max(2, (this.#output.rows ?? 24) - 2);
    const lines = last ? all : all.slice(Math.max(0, all.length - room));
    const up = this.#drawn > 0 ? `\x1b[${this.#drawn}A\r\x1b[J` : '';
    const drawn = [this.#heading(last), ...lines].map((line) => `${fitted(line, width)}\r\n`);
    this.#output.write(`\x1b[?25l${up}${drawn.join('')}\x1b[?25h`);
    this.#drawn = drawn.length;
  }

  #heading(last: boolean): Line {
    const vertices = [...this.#trace.vertices.values()];
    const completed = vertices.filter(({ state }) => state !== 'running').length;
    const seconds = ((this.#now() - this.#began) / 1000).toFixed(1);
    const end = last && completed === vertices.length && completed > 0 ? ' FINISHED' : '';
    return {
      text: `[+] Building ${seconds}s (${completed}/${vertices.length})${end}`,
      right: '',
      colour: '',
    };
  }

  #lines(): Line[] {
    const now = this.#now();
    return [...this.#trace.vertices.values()].flatMap((vertex) => {
      const lines = [stepLine(vertex, now)];
      for (const { id, current, total = 0, started, completed } of vertex.statuses.values()) {
        const bytes =
          total > 0
            ? ` ${bytesText(current)} / ${bytesText(total)}`
            : current > 0
              ? ` ${bytesText(current)}`
              : '';
        lines.push({
          text: ` => => ${id}${bytes}`,
          right: secondsText((completed ?? now) - started),
          colour: completed === undefined ? '' : BLUE,
        });
      }
      if (vertex.state === 'running')
        for (const line of vertex.tail.slice(-LOG_LINES))
          lines.push({ text: ` => => # ${line.slice(line.indexOf(' ') + 1)}`, right: '', colour: FAINT });
      return lines;
    });
  }
}

function stepLine({ name, state, started, completed }: TracedVertex, now: number): Line {
  const mark = { cached: 'CACHED ', error: 'ERROR ', canceled: 'CANCELED ', running: '', done: '' }[state];
  const colour = { cached: BLUE, done: BLUE, error: RED, canceled: YELLOW, running: '' }[state];
  return { text: ` => ${mark}${name}`, right: secondsText((completed ?? now) - started), colour };
}

function secondsText(milliseconds: number): string {
  return `${(milliseconds < 50 ? 0 : milliseconds / 1000).toFixed(1)}s`;
}

/** One line of the screen: control characters of names and logs do nothing to the terminal. */
function fitted({ text, right, colour }: Line, width: number): string {
  const clean = text.replace(/\x1b\[[0-9;?]*[ -/]*[@-~]/g, '').replace(/[\x00-\x1f\x7f-\x9f]/g, ' ');
  const room = Math.max(1, width - right.length - (right === '' ? 1 : 2));
  const characters = Array.from(clean).slice(0, room);
  const line =
    right === ''
      ? characters.join('')
      : `${characters.join('')}${' '.repeat(room - characters.length)} ${right}`;
  return colour === '' ? line : `${colour}${line}${RESET}`;
}
