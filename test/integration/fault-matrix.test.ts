import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { hexOf } from '../../src/oci/digest.ts';
import { type Fault, type FaultyRegistry, startFaultyRegistry } from '../harness/faulty-registry.ts';
import { type BuiltImage, HOST_ARCHITECTURE, imageOf, indexOf, layerOf } from '../harness/images.ts';
import { failureLine, publishTo } from '../harness/pulling.ts';
import { needing } from '../harness/requires.ts';
import { makeSandbox, type Outcome, type Sandbox, show } from '../harness/sandbox.ts';

const it = needing('root', 'overlay');

let registry: FaultyRegistry;
let box: Sandbox;
beforeAll(async () => {
  registry = await startFaultyRegistry();
  registry.auth = { type: 'bearer' };
  box = makeSandbox(registry.host);
});
afterAll(async () => {
  await registry.close();
  await box.dispose();
});

/** Milliseconds that a pull may take, whatever the registry does. */
const BOUND = 45_000;
const HOST = { os: 'linux', architecture: HOST_ARCHITECTURE };
const ENDPOINTS = ['token', 'index', 'manifest', 'config', 'layer'] as const;
type Endpoint = (typeof ENDPOINTS)[number];

const status = (code: number, headers: Record<string, string> = {}): Fault => ({
  type: 'status',
  status: code,
  headers,
});

/** What happens to an answer; `half` is a place inside of it. */
const FAULTS: Readonly<Record<string, (half: number) => Fault>> = {
  'status-408': () => status(408),
  'status-429': () => status(429, { 'retry-after': '1' }),
  'status-500': () => status(500),
  'status-502': () => status(502),
  'status-503': () => status(503),
  'status-504': () => status(504),
  reset: () => ({ type: 'reset' }),
  'nothing-of-it': () => ({ type: 'truncate', after: 0 }),
  'half-of-it': (half) => ({ type: 'truncate', after: half }),
  'half-in-chunks': (half) => ({ type: 'chunked-cut', after: half }),
  'half-and-closed': (half) => ({ type: 'close-cut', after: half }),
  silence: () => ({ type: 'stall', after: -1 }),
  'half-and-silence': (half) => ({ type: 'stall', after: half }),
  corrupt: () => ({ type: 'corrupt' }),
};

/** Documents that are whole JSON with one bit changed, or an answer that never ends: not worth another try in general. */
const HOPELESS: Readonly<Record<string, Fault>> = {
  endless: { type: 'endless' },
  'in-circles': { type: 'redirect', to: '' },
};

interface Case {
  readonly name: string;
  readonly image: BuiltImage;
  readonly layer: string;
  readonly on: RegExp;
  readonly half: number;
}

async function prepare(name: string, endpoint: Endpoint): Promise<Case> {
  const layer = await layerOf([{ name, content: `${name} `.repeat(8000) }], 'none');
  const single = imageOf({ layers: [layer], platform: HOST, config: { Cmd: ['x'] } });
  const image = indexOf([{ image: single, platform: HOST }]);
  publishTo(registry, `library/${name}`, 'latest', image);
  const [, config = ''] = [...single.blobs.keys()];
  const repository = `/v2/library/${name}`;
  const paths: Readonly<Record<Endpoint, string>> = {
    token: `/token\\?.*library%2F${name}%3A`,
    index: `${repository}/manifests/latest`,
    manifest: `${repository}/manifests/${single.target.descriptor.digest}`,
    config: `${repository}/blobs/${config}`,
    layer: `${repository}/blobs/${layer.descriptor.digest}`,
  };
  const half = endpoint === 'layer' ? layer.bytes.length >> 1 : 20;
  return {
    name,
    image,
    layer: hexOf(layer.descriptor.digest),
    on: new RegExp(`^GET ${paths[endpoint]}`),
    half,
  };
}

/** Milliseconds between two pulls that begin: waiting costs nothing, but starting many at once starves the registry. */
const STEP = 200;
let nextStart = 0;

async function pull(name: string): Promise<Outcome> {
  const start = Math.max(nextStart, performance.now());
  nextStart = start + STEP;
  await new Promise((resolve) => setTimeout(resolve, start - performance.now()));
  return await box.run(['pull', '-q', name], { env: { TINYRUN_STALL_SECONDS: '2' }, timeout: BOUND });
}

function partsLeft({ layer }: Case): string[] {
  return ['ingest', 'blobs/sha256'].flatMap((directory) => {
    try {
      return readdirSync(join(box.root, directory)).filter((name) => name === layer);
    } catch {
      return [];
    }
  });
}

describe.concurrent.each(ENDPOINTS)('a registry whose %s', (endpoint) => {
  it('fails once: the pull survives', async () => {
    await Promise.all(
      Object.entries(FAULTS).map(async ([kind, faultAt]) => {
        const one = await prepare(`once-${endpoint}-${kind}`, endpoint);
        registry.faults.push({ on: one.on, fault: faultAt(one.half), times: 1 });
        const outcome = await pull(one.name);
        expect(outcome.code, `${one.name}: ${show(outcome)}`).toBe(0);
      }),
    );
  }, 120_000);

  it('always fails: the pull is refused with one line, and goes on when all is well again', async () => {
    await Promise.all(
      Object.entries(FAULTS).map(async ([kind, faultAt]) => {
        const one = await prepare(`always-${endpoint}-${kind}`, endpoint);
        registry.faults.push({ on: one.on, fault: faultAt(one.half) });
        const outcome = await pull(one.name);
        // Half of what is left, each time: that is slow, but it ends.
        if (endpoint === 'layer' && kind.startsWith('half-')) {
          expect(outcome.code, `${one.name}: ${show(outcome)}`).toBe(0);
          return;
        }
        expect(outcome.code, `${one.name}: ${show(outcome)}`).toBe(1);
        failureLine(outcome, 1);
        if (kind !== 'half-and-silence') return;
        registry.faults = registry.faults.filter(({ on }) => on !== one.on);
        const again = await pull(one.name);
        expect(again.code, `${one.name}: ${show(again)}`).toBe(0);
      }),
    );
  }, 120_000);

  it('never ends, or leads in circles: refused, and nothing is kept', async () => {
    await Promise.all(
      Object.entries(HOPELESS).map(async ([kind, fault]) => {
        const one = await prepare(`hopeless-${endpoint}-${kind}`, endpoint);
        registry.faults.push({
          on: one.on,
          fault:
            fault.type === 'redirect'
              ? { ...fault, to: `${registry.url}/v2/library/${one.name}/circle` }
              : fault,
        });
        if (fault.type === 'redirect') {
          const circle = { ...fault, to: `${registry.url}/v2/library/${one.name}/circle` };
          registry.faults.push({ on: `/v2/library/${one.name}/circle`, fault: circle });
        }
        const outcome = await pull(one.name);
        expect(outcome.code, `${one.name}: ${show(outcome)}`).toBe(1);
        failureLine(outcome, 1);
        expect(partsLeft(one), one.name).toEqual([]);
      }),
    );
  }, 120_000);

  it('is slow: the pull is, too', async () => {
    const one = await prepare(`slow-${endpoint}`, endpoint);
    registry.faults.push({ on: one.on, fault: { type: 'slow', rate: 200_000 } });
    const outcome = await pull(one.name);
    expect(outcome.code, show(outcome)).toBe(0);
  });
});
