import { setTimeout as sleep } from 'node:timers/promises';
import { TinyrunError } from '../errors.ts';
import { type Container, isUp, readContainer } from './containers.ts';
import type { Core } from './core.ts';
import { healthCheckOf, readHealth } from './health.ts';
import { readLogs } from './logs.ts';
import { readSettings } from './network-facts.ts';
import { findContainer } from './query.ts';

/** What makes a container ready. `log`: a line of its output that the pattern is found in. */
export type WaitFor =
  | { readonly type: 'health' | 'port' | 'exit' }
  | { readonly type: 'log'; readonly pattern: RegExp };

export interface ReadyHow {
  /** Default: its health check; where it has none, its published ports; else that it runs. */
  readonly waitFor?: WaitFor;
  /** Default: no limit. */
  readonly timeoutMs?: number;
}

/** How the waiting ended. */
export type Readiness =
  | { readonly type: 'ready' | 'unhealthy' | 'timeout' }
  | { readonly type: 'exited'; readonly exitCode: number }
  /** It was removed. */
  | { readonly type: 'gone' };

const POLL_MS = 50;
const CONNECT_MS = 500;

/**
 * Waits until a container is ready, also over restarts.
 * @throws TinyrunError `not_found`; `invalid` where there is nothing that could be waited for
 */
export async function whenReady(core: Core, text: string, how: ReadyHow = {}): Promise<Readiness> {
  const container = await findContainer(core, text);
  const ready = testOf(core, container, how.waitFor);
  const deadline = Date.now() + (how.timeoutMs ?? Number.POSITIVE_INFINITY);
  const lockIsHeld = await core.lockIsHeld();
  try {
    for (;;) {
      const now = readContainer(core.paths, container.id, lockIsHeld);
      if (now === undefined) return { type: 'gone' };
      const outcome = await ready.look(now);
      if (outcome !== undefined) return { type: outcome };
      if (!isUp(now.status)) return { type: 'exited', exitCode: now.state?.exitCode ?? 0 };
      if (Date.now() >= deadline) return { type: 'timeout' };
      await sleep(POLL_MS);
    }
  } finally {
    ready.stop();
  }
}

interface Test {
  look(now: Container): Promise<'ready' | 'unhealthy' | undefined>;
  stop(): void;
}

function testOf(core: Core, container: Container, waitFor: WaitFor | undefined): Test {
  const type = waitFor?.type ?? defaultFor(core, container);
  const stop = (): void => {};
  if (waitFor?.type === 'log') return logTest(core, container, waitFor.pattern);
  if (type === 'health') {
    if (healthCheckOf(container.record) === undefined) {
      throw new TinyrunError(
        'invalid',
        `Cannot wait for the health of "${container.name}": it has no health check`,
        {
          hint: 'Give it one with --health-cmd, or use --wait-for port',
        },
      );
    }
    return { look: async (now) => settledHealth(core, now), stop };
  }
  if (type === 'port') return portTest(core, container);
  if (type === 'exit') return { look: async () => undefined, stop };
  return { look: async ({ status }) => (status === 'running' ? 'ready' : undefined), stop };
}

function defaultFor(core: Core, container: Container): 'health' | 'port' | 'running' {
  if (healthCheckOf(container.record) !== undefined) return 'health';
  return portsOf(core, container).length > 0 ? 'port' : 'running';
}

function settledHealth(core: Core, now: Container): 'ready' | 'unhealthy' | undefined {
  const status = isUp(now.status) ? readHealth(core, now)?.status : undefined;
  return status === 'healthy' ? 'ready' : status === 'unhealthy' ? 'unhealthy' : undefined;
}

/** Published TCP ports of the container, or those it says it has where none is. */
function portsOf(core: Core, { id, record }: Container): number[] {
  const ports = Object.entries(readSettings(core.paths, id)?.ports ?? {});
  const published = ports.filter(([, bindings]) => (bindings ?? []).length > 0).map(([key]) => key);
  const named =
    published.length > 0
      ? published
      : [...record.options.network.expose, ...Object.keys(record.image.config.ExposedPorts ?? {})];
  return named.flatMap((key) => {
    const [port, protocol = 'tcp'] = key.split('/');
    return protocol === 'tcp' ? [Number(port)] : [];
  });
}

/** The container's own ports: the forwarder takes a connection before the container does. */
function portTest(core: Core, container: Container): Test {
  const missing = new Set(portsOf(core, container));
  if (missing.size === 0) {
    throw new TinyrunError('invalid', `Cannot wait for a port of "${container.name}": it publishes none`, {
      hint: 'Publish one with -p, or use --wait-for log=REGEX',
    });
  }
  return {
    async look({ id, status }) {
      const settings = readSettings(core.paths, id);
      if (status !== 'running' || settings === undefined) return undefined;
      const address = settings.mode === 'bridge' ? settings.ip : '127.0.0.1';
      for (const port of missing) if (await accepts(address ?? '127.0.0.1', port)) missing.delete(port);
      return missing.size === 0 ? 'ready' : undefined;
    },
    stop() {},
  };
}

async function accepts(host: string, port: number): Promise<boolean> {
  const { connect } = await import('node:net');
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const done = (open: boolean) => (): void => {
      socket.destroy();
      resolve(open);
    };
    socket.setTimeout(CONNECT_MS, done(false));
    socket.once('connect', done(true));
    socket.once('error', done(false));
  });
}

function logTest(core: Core, { id }: Container, pattern: RegExp): Test {
  const abort = new AbortController();
  let seen = false;
  let failure: unknown;
  const read = async (): Promise<void> => {
    for await (const { text } of readLogs(core, id, { follow: true, signal: abort.signal })) {
      seen = pattern.test(text.replace(/\n$/, ''));
      if (seen) return;
    }
  };
  const reading = read().catch((error: unknown) => {
    failure = error;
  });
  return {
    async look({ status }) {
      // What it said last is read before it counts as ended.
      if (!isUp(status)) await reading;
      if (failure !== undefined) throw failure;
      return seen ? 'ready' : undefined;
    },
    stop: () => abort.abort(),
  };
}
