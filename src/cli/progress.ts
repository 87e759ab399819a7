import type { PullEvent } from '../engine/index.ts';
import { canonicalName, familiarName } from '../engine/reference.ts';
import type { Output } from './context.ts';
import { humanSize } from './size.ts';

/** Shows a pull as it happens; `finish`, for a pull that failed, leaves the last state standing. */
export interface Progress {
  event(event: PullEvent): void;
  finish(): void;
}

/** Lines for a pipe, moving lines for a terminal, nothing with `quiet`. @param now milliseconds */
export function openProgress(
  output: Output,
  how: { readonly quiet: boolean; readonly now: () => number },
): Progress {
  if (how.quiet) return { event: () => {}, finish: () => {} };
  return output.isTTY === true ? new TerminalProgress(output, how.now) : new LineProgress(output);
}

type LayerEvent = Extract<PullEvent, { type: 'layer' }>;

/** As Docker into a pipe: a line for every change of status that has no byte count. */
class LineProgress implements Progress {
  readonly #output: Output;
  readonly #last = new Map<string, string>();

  constructor(output: Output) {
    this.#output = output;
  }

  event(event: PullEvent): void {
    if (event.type !== 'layer') {
      this.#output.write(event.type === 'start' ? startLine(event) : endLines(event));
      return;
    }
    if (event.status === 'Downloading' || event.status === 'Extracting') return;
    const line = `${event.id}: ${statusText(event)}`;
    if (this.#last.get(event.id) === line) return;
    this.#last.set(event.id, line);
    this.#output.write(`${line}\n`);
  }

  finish(): void {}
}

/** Between two drawings, ms: more would be flicker, and work taken from the pull. */
const FRAME_MS = 100;
const BAR = 50;

interface Row {
  event: LayerEvent;
  current: number;
  total: number;
}

/** One line for the whole with rate and time left, below it one for each layer. */
class TerminalProgress implements Progress {
  readonly #output: Output;
  readonly #now: () => number;
  readonly #rows = new Map<string, Row>();
  #drawn = 0;
  /** Where every layer is in the store already nothing is drawn. */
  #isBusy = false;
  #lastFrame = Number.NEGATIVE_INFINITY;
  #began = 0;

  constructor(output: Output, now: () => number) {
    this.#output = output;
    this.#now = now;
  }

  event(event: PullEvent): void {
    if (event.type === 'start') {
      this.#output.write(startLine(event));
      this.#began = this.#now();
      for (const layer of event.layers) {
        const id = layer.digest.slice('sha256:'.length, 'sha256:'.length + 12);
        this.#rows.set(id, {
          event: { type: 'layer', id, status: 'Waiting' },
          current: 0,
          total: layer.size,
        });
      }
      return;
    }
    if (event.type === 'end') {
      this.finish();
      this.#output.write(endLines(event));
      return;
    }
    this.#isBusy = true;
    const row = this.#rows.get(event.id) ?? { event, current: 0, total: event.total ?? 0 };
    row.event = event;
    if (event.total !== undefined && event.total > 0) row.total = event.total;
    if (event.status === 'Downloading' && event.current !== undefined) row.current = event.current;
    else if (
      event.status !== 'Waiting' &&
      event.status !== 'Pulling fs layer' &&
      event.status !== 'Retrying'
    ) {
      row.current = row.total;
    }
    this.#rows.set(event.id, row);
    if (this.#now() - this.#lastFrame >= FRAME_MS) this.#draw();
  }

  finish(): void {
    if (this.#isBusy) this.#draw();
    this.#isBusy = false;
  }

  #draw(): void {
    this.#lastFrame = this.#now();
    const width = this.#output.columns ?? 80;
    const lines = [this.#total(), ...[...this.#rows.values()].map((row) => layerLine(row, width))];
    const up = this.#drawn > 0 ? `\x1b[${this.#drawn}A` : '';
    this.#output.write(
      up + lines.map((line) => `\x1b[2K${[...line].slice(0, width - 1).join('')}\r\n`).join(''),
    );
    this.#drawn = lines.length;
  }

  #total(): string {
    const rows = [...this.#rows.values()].filter((row) => row.event.status !== 'Already exists');
    const total = rows.reduce((sum, row) => sum + row.total, 0);
    const current = rows.reduce((sum, row) => sum + row.current, 0);
    const seconds = (this.#now() - this.#began) / 1000;
    const rate = seconds > 0.2 ? current / seconds : 0;
    const left = rate > 0 && current < total ? `  ${Math.ceil((total - current) / rate)} s left` : '';
    const speed = rate > 0 ? `  ${humanSize(rate)}/s` : '';
    return `Total        ${bar(current, total)}  ${sizes(current, total)}${speed}${left}`;
  }
}

function layerLine(row: Row, width: number): string {
  const { event } = row;
  const text = `${event.id}: ${statusText(event)}`;
  if (event.status !== 'Downloading') return text;
  const drawing = width > 110 ? `  ${bar(row.current, row.total)}` : '';
  return `${text}${drawing}  ${sizes(row.current, row.total)}`;
}

export function bar(current: number, total: number): string {
  const filled = total > 0 ? Math.min(BAR, Math.floor((current / total) * BAR)) : 0;
  const head = filled < BAR ? '>' : '';
  return `[${'='.repeat(filled)}${head}${' '.repeat(BAR - filled - head.length)}]`;
}

/** `%8v/%v`, as Docker. */
export function sizes(current: number, total: number): string {
  return `${humanSize(current).padStart(8)}/${humanSize(total)}`;
}

function statusText(event: LayerEvent): string {
  if (event.status !== 'Retrying') return event.status;
  const seconds = event.retrySeconds ?? 0;
  return `Retrying in ${seconds} second${seconds === 1 ? '' : 's'}`;
}

/** Docker's: the tag, or the whole name of what has none. */
function startLine({ reference }: Extract<PullEvent, { type: 'start' }>): string {
  return `${reference.tag ?? canonicalName(reference)}: Pulling from ${reference.repository}\n`;
}

function endLines({ reference, digest, status }: Extract<PullEvent, { type: 'end' }>): string {
  const what = status === 'downloaded' ? 'Downloaded newer image for' : 'Image is up to date for';
  return `Digest: ${digest}\nStatus: ${what} ${familiarName(reference)}\n`;
}
