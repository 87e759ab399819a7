import type { BuildEvent } from '../build/events.ts';
import type { BuildProgress } from './build-progress.ts';
import { BuildTrace, statusText, type TracedVertex, warningLines } from './build-trace.ts';
import type { Output } from './context.ts';

/** So long one running step has the output before another that waits gets it, ms. */
const TURN_MS = 5000;
/** Between two lines about the same transfer, ms, unless it went on by a twentieth. */
const STATUS_MS = 5000;
/** Of a step that does not have the output. */
const WAITING_MAX = 2000;

/**
 * Lines for a pipe, as BuildKit's:
 *
 *     #5 [2/3] RUN make
 *     #5 0.312 cc -o hello
 *     #5 DONE 0.4s
 *
 * Steps run side by side: one at a time has the output, the lines of the others wait until it is done or had its turn.
 */
export class PlainBuildProgress implements BuildProgress {
  readonly #output: Output;
  readonly #trace = new BuildTrace();
  readonly #waiting = new Map<string, string[]>();
  readonly #shownStatus = new Map<string, { current: number; time: number }>();
  #current: { readonly id: string; readonly since: number } | undefined;
  #any = false;

  constructor(output: Output) {
    this.#output = output;
  }

  event(event: BuildEvent): void {
    const lines = this.#trace.apply(event);
    if (event.type === 'warning') return;
    const vertex = this.#trace.vertices.get(event.vertex);
    if (vertex === undefined) return;
    const all = event.type === 'status' ? this.#status(event) : lines;
    this.#queue(event.vertex, all, event.type === 'started');
    if (vertex.state !== 'running') this.#complete(event.vertex, vertex);
    else if (this.#mayShow(event.vertex, event.time)) this.#show(event.vertex, vertex, event.time);
  }

  finish(): void {
    for (const [id, vertex] of this.#trace.vertices)
      if (this.#waiting.has(id)) this.#show(id, vertex, Number.MAX_SAFE_INTEGER);
    this.#output.write(this.#trace.failures());
    this.#output.write(warningLines(this.#trace.warnings));
  }

  #queue(id: string, lines: readonly string[], starts: boolean): void {
    if (lines.length === 0 && !starts) return;
    const waiting = this.#waiting.get(id) ?? [];
    waiting.push(...lines);
    // A step that waits long keeps its last lines only.
    if (waiting.length > WAITING_MAX) waiting.splice(0, waiting.length - WAITING_MAX);
    this.#waiting.set(id, waiting);
  }

  #mayShow(id: string, now: number): boolean {
    if (this.#current === undefined || this.#current.id === id) return true;
    return (this.#waiting.get(id)?.length ?? 0) > 0 && now - this.#current.since > TURN_MS;
  }

  #show(id: string, vertex: TracedVertex, time: number): void {
    const prefix = `#${vertex.index} `;
    const lines = (this.#waiting.get(id) ?? []).map((line) => `${prefix}${line}\n`);
    this.#waiting.delete(id);
    const heading = this.#current?.id === id ? '' : this.#heading(vertex);
    this.#output.write(heading + lines.join(''));
    if (this.#current?.id !== id) this.#current = { id, since: time };
  }

  #heading({ index, name }: TracedVertex): string {
    const before = this.#current === undefined ? undefined : this.#trace.vertices.get(this.#current.id);
    const left = before === undefined ? '' : `#${before.index} ...\n`;
    const gap = this.#any ? '\n' : '';
    this.#any = true;
    return `${left}${gap}#${index} ${name}\n`;
  }

  #complete(id: string, vertex: TracedVertex): void {
    this.#show(id, vertex, vertex.completed ?? 0);
    this.#output.write(`#${vertex.index} ${endOf(vertex)}\n`);
    this.#current = undefined;
    for (const [next, lines] of this.#waiting) {
      const waiting = this.#trace.vertices.get(next);
      if (lines.length === 0 || waiting?.state !== 'running') continue;
      this.#show(next, waiting, vertex.completed ?? 0);
      return;
    }
  }

  #status(event: Extract<BuildEvent, { type: 'status' }>): string[] {
    const key = `${event.vertex} ${event.id}`;
    const before = this.#shownStatus.get(key);
    const { current, total = 0, time, completed } = event;
    if (before !== undefined && completed === undefined) {
      const step = total > 0 ? (current - before.current) / total : 0;
      if (step < 0.05 && time - before.time < STATUS_MS) return [];
    }
    this.#shownStatus.set(key, { current, time });
    return [`${event.id}${statusText(event)}`];
  }
}

function endOf({ state, message, started, completed = started }: TracedVertex): string {
  if (state === 'cached') return 'CACHED';
  if (state === 'canceled') return 'CANCELED';
  if (state === 'error') return `ERROR: ${message ?? ''}`;
  return `DONE ${((completed - started) / 1000).toFixed(1)}s`;
}
