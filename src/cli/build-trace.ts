import type { BuildWarning } from '../build/dockerfile/ast.ts';
import type { BuildEvent } from '../build/events.ts';

type StatusEvent = Extract<BuildEvent, { type: 'status' }>;

/** One step of a build as far as it is known. */
export interface TracedVertex {
  /** From 1, in the order in which they began. */
  readonly index: number;
  readonly name: string;
  readonly started: number;
  state: 'running' | 'done' | 'cached' | 'error' | 'canceled';
  completed?: number;
  message?: string;
  readonly statuses: Map<string, StatusEvent>;
  /** Whole lines with the seconds since the step began before them; the last of them. */
  readonly tail: string[];
  /** What came after the last line end. */
  partial: string;
}

/** Lines of a failed step that are shown again. */
const TAIL = 10;
/** A line without an end is cut there. */
const LINE_MAX = 16 * 1024;

/** The state of a build, from its events. */
export class BuildTrace {
  readonly vertices = new Map<string, TracedVertex>();
  readonly warnings: BuildWarning[] = [];

  /** @returns the lines that a log event completed; none for other events */
  apply(event: BuildEvent): readonly string[] {
    if (event.type === 'warning') {
      this.warnings.push(event.warning);
      return [];
    }
    if (event.type === 'started' || event.type === 'cached') {
      this.#begin(event);
      return [];
    }
    const vertex = this.vertices.get(event.vertex);
    if (vertex === undefined) return [];
    switch (event.type) {
      case 'status':
        vertex.statuses.set(event.id, event);
        return [];
      case 'log':
        return this.#log(vertex, Buffer.from(event.chunk).toString('utf8'), event.time);
      default: {
        const rest = vertex.partial === '' ? [] : this.#log(vertex, '\n', event.time);
        vertex.completed = event.time;
        vertex.state = event.type;
        if (event.type === 'error') vertex.message = event.message;
        return rest;
      }
    }
  }

  /** What is shown of failed steps when all is over. */
  failures(): string {
    const rule = '------';
    return [...this.vertices.values()]
      .filter(({ state, tail }) => state === 'error' && tail.length > 0)
      .map(({ name, tail }) => [rule, ` > ${name}:`, ...tail, rule, ''].join('\n'))
      .join('');
  }

  #begin(event: Extract<BuildEvent, { type: 'started' | 'cached' }>): void {
    const { vertex, name, time, type } = event;
    if (this.vertices.has(vertex)) return;
    const cached = type === 'cached';
    this.vertices.set(vertex, {
      index: this.vertices.size + 1,
      name,
      started: time,
      state: cached ? 'cached' : 'running',
      ...(cached ? { completed: time } : {}),
      statuses: new Map(),
      tail: [],
      partial: '',
    });
  }

  #log(vertex: TracedVertex, text: string, time: number): string[] {
    const parts = (vertex.partial + text).split('\n');
    vertex.partial = parts.pop() ?? '';
    if (vertex.partial.length > LINE_MAX) {
      parts.push(vertex.partial);
      vertex.partial = '';
    }
    const seconds = Math.max(0, time - vertex.started) / 1000;
    const stamp = seconds.toFixed(seconds < 10 ? 3 : seconds < 100 ? 2 : 1);
    const lines = parts.map((line) => `${stamp} ${line.replace(/\r$/, '')}`);
    vertex.tail.push(...lines.slice(-TAIL));
    vertex.tail.splice(0, vertex.tail.length - TAIL);
    return lines;
  }
}

/** ` 1.05MB / 3.05MB 0.2s done`: how far something is within a step. */
export function statusText({ current, total = 0, started, completed, time }: StatusEvent): string {
  const bytes =
    total > 0 ? ` ${bytesText(current)} / ${bytesText(total)}` : current > 0 ? ` ${bytesText(current)}` : '';
  const seconds = ((completed ?? time) - started) / 1000;
  const duration = seconds > 0.01 ? ` ${seconds.toFixed(1)}s` : '';
  return `${bytes}${duration}${completed === undefined ? '' : ' done'}`;
}

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'];

/** BuildKit's: decimal units, two digits behind the point. */
export function bytesText(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? String(Math.trunc(value)) : value.toFixed(2)}${UNITS[unit]}`;
}

/** What stands below the steps: ` 1 warning found:` and a line for each. Empty without warnings. */
export function warningLines(warnings: readonly BuildWarning[]): string {
  if (warnings.length === 0) return '';
  const lines = warnings.map(({ rule, message, location }) => {
    const line = location === undefined ? '' : ` (line ${location.startLine})`;
    return ` - ${rule}: ${message}${line}`;
  });
  const count = warnings.length === 1 ? '1 warning found' : `${warnings.length} warnings found`;
  return ['', ` ${count}:`, ...lines, ''].join('\n');
}
