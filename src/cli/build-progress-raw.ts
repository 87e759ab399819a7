import { createHash } from 'node:crypto';
import type { BuildEvent } from '../build/events.ts';
import type { BuildProgress } from './build-progress.ts';
import type { Output } from './context.ts';

/** One JSON object per event and line, of the form of BuildKit's SolveStatus: what `docker build --progress rawjson` prints. */
export class RawBuildProgress implements BuildProgress {
  readonly #output: Output;
  readonly #vertices = new Map<string, Record<string, unknown>>();

  constructor(output: Output) {
    this.#output = output;
  }

  event(event: BuildEvent): void {
    this.#output.write(`${JSON.stringify(this.#record(event))}\n`);
  }

  finish(): void {}

  #record(event: BuildEvent): unknown {
    const timestamp = new Date(event.time).toISOString();
    if (event.type === 'warning') return { warnings: [warningOf(event)] };
    const vertex = digestOf(event.vertex);
    switch (event.type) {
      case 'log': {
        const stream = event.stream === 'stdout' ? 1 : 2;
        const data = Buffer.from(event.chunk).toString('base64');
        return { logs: [{ vertex, stream, data, timestamp }] };
      }
      case 'status': {
        const { id, current, total, started, completed } = event;
        const times = {
          started: new Date(started).toISOString(),
          ...(completed === undefined ? {} : { completed: new Date(completed).toISOString() }),
        };
        return {
          statuses: [
            { id, vertex, name: id, current, ...(total === undefined ? {} : { total }), timestamp, ...times },
          ],
        };
      }
      default:
        return { vertexes: [this.#vertex(event, vertex, timestamp)] };
    }
  }

  #vertex(
    event: Extract<BuildEvent, { type: 'started' | 'cached' | 'done' | 'error' | 'canceled' }>,
    digest: string,
    timestamp: string,
  ): unknown {
    const vertex = this.#vertices.get(event.vertex) ?? { digest };
    this.#vertices.set(event.vertex, vertex);
    if (event.type === 'started' || event.type === 'cached') {
      vertex.name = event.name;
      if (event.inputs !== undefined) vertex.inputs = event.inputs.map(digestOf);
      vertex.started = timestamp;
      if (event.type === 'started') return vertex;
      vertex.cached = true;
    }
    vertex.completed = timestamp;
    if (event.type === 'error') vertex.error = event.message;
    if (event.type === 'canceled') vertex.error = 'context canceled';
    return vertex;
  }
}

/** Readers expect digests; ours are names. */
function digestOf(id: string): string {
  return /^sha256:[0-9a-f]{64}$/.test(id) ? id : `sha256:${createHash('sha256').update(id).digest('hex')}`;
}

function warningOf({ warning, fileName }: Extract<BuildEvent, { type: 'warning' }>): unknown {
  const { rule, message, description, url, location } = warning;
  const line = (number: number): unknown => ({ line: number, character: 0 });
  return {
    vertex: digestOf('dockerfile'),
    level: 1,
    short: Buffer.from(`${rule}: ${message}`).toString('base64'),
    detail: [Buffer.from(description).toString('base64')],
    ...(url === undefined ? {} : { url }),
    sourceInfo: { filename: fileName },
    ...(location === undefined
      ? {}
      : { range: [{ start: line(location.startLine), end: line(location.endLine) }] }),
  };
}
