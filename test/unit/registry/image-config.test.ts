import { describe, expect, it } from 'vitest';
import { parseImageConfig, requireSameLayers } from '../../../src/registry/image-config.ts';

const DIFF = `sha256:${'b'.repeat(64)}`;
const MINIMAL = { architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: [DIFF] } };
const bytes = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));
const parse = (config: unknown) => parseImageConfig(bytes({ ...MINIMAL, config })).config;

describe('parseImageConfig()', () => {
  it('reads a minimal config', () => {
    expect(parseImageConfig(bytes(MINIMAL))).toEqual({ ...MINIMAL, config: {}, history: [] });
  });

  it('reads what Docker writes, nulls and unknown fields included', () => {
    const config = parse({
      Hostname: '',
      AttachStdin: false,
      User: '1000:0',
      ExposedPorts: { '80/tcp': {} },
      Env: ['A=b'],
      Cmd: null,
      Image: 'sha256:…',
      Volumes: null,
      WorkingDir: '',
      Entrypoint: ['/x'],
      OnBuild: null,
      Labels: null,
      StopSignal: 'SIGQUIT',
      Healthcheck: { Test: ['CMD', 'x'], Interval: 30_000_000_000, Retries: 3 },
      Shell: ['/bin/sh', '-c'],
      ArgsEscaped: true,
    });
    expect(config).toEqual({
      User: '1000:0',
      ExposedPorts: { '80/tcp': {} },
      Env: ['A=b'],
      WorkingDir: '',
      Entrypoint: ['/x'],
      StopSignal: 'SIGQUIT',
      Healthcheck: { Test: ['CMD', 'x'], Interval: 30_000_000_000, Retries: 3 },
      Shell: ['/bin/sh', '-c'],
      ArgsEscaped: true,
    });
  });

  it('takes a null config for an empty one, and a word for a list of one', () => {
    expect(parse(null)).toEqual({});
    expect(parse({ Cmd: 'sh' })).toEqual({ Cmd: ['sh'] });
  });

  it('reads the history', () => {
    const history = [
      { created: '2024-01-01T00:00:00Z', created_by: 'COPY', empty_layer: true, x: 1 },
      { comment: null },
    ];
    const parsed = parseImageConfig(bytes({ ...MINIMAL, history }));
    expect(parsed.history).toEqual([
      { created: '2024-01-01T00:00:00Z', created_by: 'COPY', empty_layer: true },
      {},
    ]);
  });

  it('assumes linux where no system is named', () => {
    expect(parseImageConfig(bytes({ rootfs: MINIMAL.rootfs }))).toMatchObject({
      os: 'linux',
      architecture: '',
    });
  });

  it.each<[string, unknown, string]>([
    ['os', { ...MINIMAL, os: 1 }, '"os" is not a string'],
    ['architecture', { ...MINIMAL, architecture: ['amd64'] }, '"architecture" is not a string'],
    ['config', { ...MINIMAL, config: [] }, '"config" is not an object'],
    ['Env as a map', { ...MINIMAL, config: { Env: { A: 'b' } } }, '"config.Env" is not a list of strings'],
    [
      'Env with a number',
      { ...MINIMAL, config: { Env: ['A=b', 5] } },
      '"config.Env" is not a list of strings',
    ],
    ['Env with null', { ...MINIMAL, config: { Env: [null] } }, '"config.Env" is not a list of strings'],
    ['Cmd as a number', { ...MINIMAL, config: { Cmd: 5 } }, '"config.Cmd"'],
    ['Entrypoint nested', { ...MINIMAL, config: { Entrypoint: [['x']] } }, '"config.Entrypoint"'],
    ['User as a number', { ...MINIMAL, config: { User: 1000 } }, '"config.User" is not a string'],
    ['WorkingDir', { ...MINIMAL, config: { WorkingDir: {} } }, '"config.WorkingDir" is not a string'],
    ['Labels', { ...MINIMAL, config: { Labels: { a: 1 } } }, '"config.Labels.a" is not a string'],
    ['Volumes', { ...MINIMAL, config: { Volumes: ['/x'] } }, '"config.Volumes" is not an object'],
    [
      'ExposedPorts',
      { ...MINIMAL, config: { ExposedPorts: '80' } },
      '"config.ExposedPorts" is not an object',
    ],
    [
      'Healthcheck',
      { ...MINIMAL, config: { Healthcheck: { Interval: '30s' } } },
      '"config.Healthcheck.Interval" is not a number',
    ],
    ['no rootfs', { os: 'linux' }, '"rootfs" is not an object'],
    ['rootfs type', { ...MINIMAL, rootfs: { type: 'x', diff_ids: [] } }, '"rootfs.type" is not "layers"'],
    [
      'a bad diff id',
      { ...MINIMAL, rootfs: { type: 'layers', diff_ids: ['sha256:../x'] } },
      'rootfs.diff_ids[0]',
    ],
    ['history', { ...MINIMAL, history: [1] }, '"history[0]" is not an object'],
    ['created', { ...MINIMAL, created: 5 }, '"created" is not a string'],
  ])('refuses a wrong %s, naming it', (_name, value, message) => {
    expect(() => parseImageConfig(bytes(value))).toThrow(
      expect.objectContaining({ kind: 'invalid', message: expect.stringContaining(message) }),
    );
  });

  it('accepts a huge environment within the bound and refuses what is beyond', () => {
    const env = Array.from({ length: 10_000 }, (_, at) => `V${at}=${'x'.repeat(100)}`);
    expect(parse({ Env: env }).Env).toHaveLength(10_000);
    expect(() => parse({ Env: ['x'.repeat(11 << 20)] })).toThrow('expected 10485760 at most');
  });
});

describe('requireSameLayers()', () => {
  it("refuses a config of other layers in Docker's words", () => {
    const config = parseImageConfig(bytes(MINIMAL));
    expect(() => requireSameLayers({ layers: [] } as never, config)).toThrow(
      "number of layers and diffIDs don't match",
    );
    expect(() => requireSameLayers({ layers: [{}] } as never, config)).not.toThrow();
  });
});
