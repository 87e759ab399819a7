import type { PushEvent } from '../engine/index.ts';
import { canonicalRepository } from '../engine/reference.ts';
import type { Context } from './context.ts';
import { bar, sizes } from './progress.ts';

type LayerEvent = Extract<PushEvent, { type: 'layer' }>;

/** Between two drawings of a terminal, ms. */
const FRAME_MS = 100;

/** Docker's lines of a push: each change of status into a pipe, lines that change in place on a terminal. */
export class PushProgress {
  readonly #context: Context;
  readonly #verb: 'Push' | 'Copy';
  readonly #rows = new Map<string, LayerEvent>();
  #drawn = 0;
  #lastFrame = Number.NEGATIVE_INFINITY;

  /** @param verb what is said to be done to layers */
  constructor(context: Context, verb: 'Push' | 'Copy' = 'Push') {
    this.#verb = verb;
    this.#context = context;
  }

  event(event: PushEvent): void {
    const { stdout, stderr } = this.#context;
    if (event.type === 'start') {
      stdout.write(`The push refers to repository [${canonicalRepository(event.reference)}]\n`);
      return;
    }
    if (event.type === 'partial') {
      stderr.write(`Only ${event.present} of the ${event.total} images of the index are in the store\n`);
      return;
    }
    if (event.type === 'end') {
      this.finish();
      const { reference, digest, size } = event;
      stdout.write(`${reference.tag ?? digest}: digest: ${digest} size: ${size}\n`);
      return;
    }
    if (stdout.isTTY === true) this.#draw(event);
    else if (event.status !== 'Pushing') stdout.write(`${this.#line(event)}\n`);
  }

  /** Leaves the last state standing. */
  finish(): void {
    if (this.#rows.size > 0) this.#render();
    this.#rows.clear();
    this.#drawn = 0;
  }

  #draw(event: LayerEvent): void {
    const before = this.#rows.get(event.id);
    this.#rows.set(event.id, event);
    const now = this.#context.now();
    if (before?.status === event.status && now - this.#lastFrame < FRAME_MS) return;
    this.#lastFrame = now;
    this.#render();
  }

  #line(event: LayerEvent): string {
    const line = layerLine(event);
    return this.#verb === 'Push'
      ? line
      : line.replace(': Pushing', ': Copying').replace(': Pushed', ': Copied');
  }

  #render(): void {
    const { stdout } = this.#context;
    const width = stdout.columns ?? 80;
    const lines = [...this.#rows.values()].map(
      (event) => `\x1b[2K${[...this.#line(event)].slice(0, width - 1).join('')}\r\n`,
    );
    stdout.write(`${this.#drawn > 0 ? `\x1b[${this.#drawn}A` : ''}${lines.join('')}`);
    this.#drawn = lines.length;
  }
}

function layerLine({ id, status, from, current = 0, total = 0 }: LayerEvent): string {
  if (status === 'Mounted from') return `${id}: Mounted from ${from}`;
  if (status === 'Pushing') return `${id}: Pushing  ${bar(current, total)}  ${sizes(current, total)}`;
  return `${id}: ${status}`;
}
