import { describe, expect, it } from 'vitest';
import {
  type Draft,
  emptyDraft,
  finalConfig,
  setVariable,
  withConfig,
  withEntrypoint,
  withLayer,
} from '../../../src/build/image-config.ts';
import { parseDigest } from '../../../src/oci/digest.ts';

const digest = parseDigest(`sha256:${'1'.repeat(64)}`);
const layer = (created: string) => ({
  diffId: digest,
  descriptor: { mediaType: 'x', digest, size: 1 },
  created,
});
const draft: Draft = emptyDraft({ os: 'linux', architecture: 'amd64' });

describe('finalConfig()', () => {
  it('dates steps without a layer by the layers around them, so that a cached build gives the same image', () => {
    const steps = [
      (one: Draft) => withConfig(one, one.config, 'ENV a=b'),
      (one: Draft) => withLayer(one, layer('2020-01-01T00:00:00Z'), 'RUN x'),
      (one: Draft) => withConfig(one, one.config, 'CMD y'),
      (one: Draft) => withLayer(one, layer('2021-01-01T00:00:00Z'), 'RUN z'),
      (one: Draft) => withConfig(one, one.config, 'LABEL l'),
    ];
    const config = finalConfig(steps.reduce((one, step) => step(one), draft));
    expect(config.history.map(({ created, empty_layer }) => [created?.slice(0, 4), empty_layer])).toEqual([
      ['2020', true],
      ['2020', undefined],
      ['2020', true],
      ['2021', undefined],
      ['2021', true],
    ]);
    expect(config.created).toBe('2021-01-01T00:00:00Z');
  });

  it('has the one time that it is given', () => {
    const one = withLayer(draft, layer('2020-01-01T00:00:00Z'), 'RUN x');
    const config = finalConfig(one, { epoch: 900_000_000 });
    expect([config.created, config.history[0]?.created]).toEqual([
      '1998-07-09T16:00:00Z',
      '1998-07-09T16:00:00Z',
    ]);
  });
});

describe('setVariable()', () => {
  it('replaces in place, and takes no name for the beginning of another', () => {
    expect(setVariable(['AB=1', 'A=1'], 'A', '2')).toEqual(['AB=1', 'A=2']);
    expect(setVariable(['AB=1'], 'A', '')).toEqual(['AB=1', 'A=']);
  });
});

describe('withEntrypoint()', () => {
  it('drops the CMD of the base only', () => {
    const config = { Cmd: ['base'], Entrypoint: ['old'] };
    expect(withEntrypoint(config, ['new'], false)).toEqual({ Entrypoint: ['new'] });
    expect(withEntrypoint(config, ['new'], true)).toEqual({ Entrypoint: ['new'], Cmd: ['base'] });
    expect(withEntrypoint(config, [], true)).toEqual({ Cmd: ['base'] });
  });
});
