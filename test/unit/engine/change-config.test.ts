import { describe, expect, it } from 'vitest';
import { emptyDraft } from '../../../src/build/image-config.ts';
import { changeConfig, effectiveConfig } from '../../../src/engine/change-config.ts';
import type { ContainerRecord } from '../../../src/engine/containers.ts';
import type { ProcessDefaults } from '../../../src/oci/image-spec.ts';

const draft = (config: ProcessDefaults) => ({
  ...emptyDraft({ os: 'linux', architecture: 'amd64' }),
  config,
});
const changed = (config: ProcessDefaults, ...changes: string[]) =>
  changeConfig(draft(config), changes).config;

describe('changeConfig()', () => {
  it.each<[string, ProcessDefaults, ProcessDefaults]>([
    ['CMD ["a", "b"]', {}, { Cmd: ['a', 'b'] }],
    ['CMD a b', {}, { Cmd: ['/bin/sh', '-c', 'a b'] }],
    ['ENTRYPOINT ["e"]', { Cmd: ['c'] }, { Entrypoint: ['e'] }],
    ['ENV A=1', { Env: ['A=0', 'B=2'] }, { Env: ['A=1', 'B=2'] }],
    ['EXPOSE 80', { ExposedPorts: { '1/udp': {} } }, { ExposedPorts: { '1/udp': {}, '80/tcp': {} } }],
    ['LABEL a=b', { Labels: { c: 'd' } }, { Labels: { c: 'd', a: 'b' } }],
    ['USER me', {}, { User: 'me' }],
    ['VOLUME /v', {}, { Volumes: { '/v': {} } }],
    ['WORKDIR /w/', {}, { WorkingDir: '/w' }],
    ['WORKDIR sub', { WorkingDir: '/w' }, { WorkingDir: '/w/sub' }],
    ['WORKDIR $HERE', { Env: ['HERE=/there'] }, { Env: ['HERE=/there'], WorkingDir: '/there' }],
    ['STOPSIGNAL 9', {}, { StopSignal: '9' }],
    ['HEALTHCHECK NONE', {}, { Healthcheck: { Test: ['NONE'] } }],
    ['ONBUILD RUN x', {}, { OnBuild: ['RUN x'] }],
  ])('applies %j', (change, config, expected) => {
    expect(changed(config, change)).toEqual(expected);
  });

  it('applies several, and adds nothing to the history but what was there', () => {
    const result = changeConfig(draft({}), ['ENTRYPOINT ["e"]', 'CMD ["c"]', 'ENTRYPOINT ["f"]']);
    expect(result.config).toEqual({ Entrypoint: ['f'], Cmd: ['c'] });
    expect(result.history).toEqual([]);
  });

  it.each(['RUN x', 'COPY a b', 'ADD a b', 'FROM x', 'ARG x', 'SHELL ["a"]', 'MAINTAINER m'])(
    'refuses %j',
    (change) => {
      const [name = ''] = change.split(' ');
      expect(() => changed({}, change)).toThrow(`${name.toLowerCase()} is not a valid change command`);
    },
  );
});

describe('effectiveConfig()', () => {
  const record = (config: ProcessDefaults, options: object): ContainerRecord =>
    ({
      image: { config },
      options: { command: [], env: [], labels: {}, network: { expose: [] }, ...options },
    }) as unknown as ContainerRecord;

  it.each<[string, ProcessDefaults, object, ProcessDefaults]>([
    ['nothing given', { Cmd: ['c'], Entrypoint: ['e'] }, {}, { Cmd: ['c'], Entrypoint: ['e'] }],
    ['a command', { Cmd: ['c'], Entrypoint: ['e'] }, { command: ['x'] }, { Cmd: ['x'], Entrypoint: ['e'] }],
    ['an entrypoint', { Cmd: ['c'], Entrypoint: ['e'] }, { entrypoint: ['x'] }, { Entrypoint: ['x'] }],
    ['variables', { Env: ['A=1', 'B=2'] }, { env: ['A=3', 'B', 'C=4'] }, { Env: ['A=3', 'C=4'] }],
    [
      'a health check',
      {},
      { healthcheck: { command: 'ok', retries: 2 } },
      { Healthcheck: { Test: ['CMD-SHELL', 'ok'], Retries: 2 } },
    ],
    ['labels', { Labels: { a: '1' } }, { labels: { b: '2' } }, { Labels: { a: '1', b: '2' } }],
    ['ports', {}, { network: { expose: ['80/tcp'] } }, { ExposedPorts: { '80/tcp': {} } }],
    ['user and directory', { User: 'a' }, { user: 'b', workingDir: '/w' }, { User: 'b', WorkingDir: '/w' }],
  ])('has %s', (_, config, options, expected) => {
    expect(effectiveConfig(record(config, options))).toEqual(expected);
  });
});
