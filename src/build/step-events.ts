import { describe } from '../errors.ts';
import type { OnBuildEvent } from './events.ts';

/** One step as the progress shows it. */
export interface Vertex {
  readonly id: string;
  started(): void;
  cached(): void;
  log(stream: 'stdout' | 'stderr', chunk: Uint8Array): void;
  status(status: { id: string; current: number; total?: number; done: boolean }): void;
}

/** Gives the steps of one build their ids and tells of them. */
export class Vertices {
  readonly #onEvent: OnBuildEvent;
  readonly #now: () => number;
  readonly #signal: AbortSignal;
  #count = 0;

  constructor(onEvent: OnBuildEvent, now: () => number, signal: AbortSignal) {
    this.#onEvent = onEvent;
    this.#now = now;
    this.#signal = signal;
  }

  /**
   * Carries out a step: whatever `fn` throws is its error. A step that is neither started nor cached when `fn` returns is not
   * shown at all.
   */
  async step<T>(name: string, inputs: readonly string[], fn: (vertex: Vertex) => Promise<T>): Promise<T> {
    this.#count += 1;
    const vertex = new Step(String(this.#count), name, inputs, this.#onEvent, this.#now);
    try {
      const result = await fn(vertex);
      vertex.done();
      return result;
    } catch (error) {
      if (this.#signal.aborted) vertex.canceled();
      else vertex.failed(describe(error));
      throw error;
    }
  }
}

class Step implements Vertex {
  readonly id: string;
  readonly #name: string;
  readonly #inputs: readonly string[];
  readonly #onEvent: OnBuildEvent;
  readonly #now: () => number;
  readonly #since = new Map<string, number>();
  #isOpen = false;

  constructor(id: string, name: string, inputs: readonly string[], onEvent: OnBuildEvent, now: () => number) {
    this.id = id;
    this.#name = name;
    this.#inputs = inputs;
    this.#onEvent = onEvent;
    this.#now = now;
  }

  started(): void {
    if (this.#isOpen) return;
    this.#isOpen = true;
    const { id: vertex } = this;
    this.#onEvent({ type: 'started', vertex, name: this.#name, inputs: this.#inputs, time: this.#now() });
  }

  cached(): void {
    const { id: vertex } = this;
    this.#onEvent({ type: 'cached', vertex, name: this.#name, inputs: this.#inputs, time: this.#now() });
  }

  log(stream: 'stdout' | 'stderr', chunk: Uint8Array): void {
    this.#onEvent({ type: 'log', vertex: this.id, stream, chunk, time: this.#now() });
  }

  status({ id, current, total, done }: { id: string; current: number; total?: number; done: boolean }): void {
    this.started();
    const time = this.#now();
    const started = this.#since.get(id) ?? time;
    this.#since.set(id, started);
    this.#onEvent({
      type: 'status',
      vertex: this.id,
      id,
      current,
      ...(total === undefined ? {} : { total }),
      started,
      ...(done ? { completed: time } : {}),
      time,
    });
  }

  done(): void {
    if (this.#isOpen) this.#onEvent({ type: 'done', vertex: this.id, time: this.#now() });
  }

  failed(message: string): void {
    this.started();
    this.#onEvent({ type: 'error', vertex: this.id, message, time: this.#now() });
  }

  canceled(): void {
    if (this.#isOpen) this.#onEvent({ type: 'canceled', vertex: this.id, time: this.#now() });
  }
}
