// biome-ignore-all lint/suspicious/noTemplateCurlyInString: they are what is tested
import { describe, expect, it } from 'vitest';
import { parseDockerfile } from '../../../../src/build/dockerfile/parse.ts';
import type { Stages, StagesInput } from '../../../../src/build/dockerfile/stage.ts';
import { platformArgs, stages, triggerSources } from '../../../../src/build/dockerfile/stages.ts';

const linux = { os: 'linux', architecture: 'amd64' };

function read(text: string, input: Partial<StagesInput> = {}): Stages {
  return stages(parseDockerfile(text, 'Dockerfile'), { buildArgs: {}, platformArgs: {}, ...input });
}

const CHAIN = `
FROM alpine AS deps
FROM deps AS Build
COPY --from=tools /a /b
FROM busybox AS unused
FROM scratch
COPY --from=build /x /x
COPY --from=0 /y /y
RUN --mount=type=bind,from=Deps,target=/z z
`;

describe('stages()', () => {
  it('finds what each stage needs, by name in any case and by number', () => {
    const { all, needed, target } = read(CHAIN);
    expect(all.map(({ alias, base, needs }) => [alias, base.type, needs])).toEqual([
      ['deps', 'image', []],
      ['build', 'stage', [0]],
      ['unused', 'image', []],
      [undefined, 'scratch', [0, 1]],
    ]);
    expect(target.index).toBe(3);
    expect(needed.map(({ index }) => index)).toEqual([0, 1, 3]);
    expect(all[1]?.sources.get('tools')).toEqual({ type: 'image', reference: 'tools' });
  });

  it.each([
    ['build', [0, 1]],
    ['BUILD', [0, 1]],
    ['2', [2]],
  ])('builds only what the target %s needs', (target, expected) => {
    expect(read(CHAIN, { target }).needed.map(({ index }) => index)).toEqual(expected);
  });

  it('says which target may have been meant', () => {
    expect(() => read(CHAIN, { target: 'biuld' })).toThrow(
      'target stage "biuld" could not be found (did you mean build?)',
    );
  });

  it('takes the latest stage of a name, and an image where the name comes later', () => {
    const { all } = read('FROM a AS x\nFROM b AS x\nFROM x\nFROM y\nFROM c AS y\n');
    expect(all[2]?.base).toEqual({ type: 'stage', index: 1 });
    expect(all[3]?.base).toEqual({ type: 'image', reference: 'y' });
  });

  it('expands FROM by global ARGs: defaults, build args, those before, predefined ones', () => {
    const text = 'ARG v=3\nARG name=alpine:$v\nARG none\nFROM --platform=$BUILDPLATFORM $name$none\n';
    const args = platformArgs(linux, { os: 'linux', architecture: 'arm', variant: 'v7' }, undefined);
    expect(read(text, { platformArgs: args }).all[0]).toMatchObject({
      base: { reference: 'alpine:3' },
      platform: 'linux/amd64',
    });
    const given = read(text, { platformArgs: args, buildArgs: { v: '4', TARGETARCH: 'x', other: '1' } });
    expect(given.all[0]?.base).toMatchObject({ reference: 'alpine:4' });
    expect(Object.fromEntries(given.globalArgs)).toMatchObject({
      v: '4',
      TARGETARCH: 'x',
      TARGETPLATFORM: 'linux/arm/v7',
      TARGETVARIANT: 'v7',
      TARGETSTAGE: 'default',
    });
    expect(given.globalArgs.has('none')).toBe(false);
  });

  it('puts a named context before a stage and before an image', () => {
    const text =
      'FROM alpine:latest AS base\nRUN x\nFROM base\nCOPY --from=docker.io/library/tools:latest a b\n';
    const { all } = read(text, { namedContexts: ['alpine', 'tools'] });
    expect(all[0]?.base).toEqual({ type: 'context', name: 'alpine' });
    expect([...(all[1]?.sources.values() ?? [])]).toEqual([{ type: 'context', name: 'tools' }]);
    const replaced = read(text, { namedContexts: ['base'] }).all[0];
    expect(replaced).toMatchObject({ base: { type: 'context', name: 'base' }, instructions: [] });
  });

  it.each([
    ['FROM $none', 'base name ($none) should not be blank'],
    [
      'FROM --platform=$PLATFROM a',
      'empty platform value from expression $PLATFROM (did you mean PLATFORM?)',
    ],
    ['FROM a AS x\nCOPY --from=x a b', 'circular dependency detected on stage: x'],
    ['FROM a\nCOPY --from=0 a b', 'circular dependency detected on stage: stage-0'],
    [
      'FROM a\nCOPY --from=late a b\nFROM b AS late',
      'cannot copy from stage "late", it needs to be defined before',
    ],
    ['FROM a\nCOPY --from=7 a b', 'invalid stage index 7'],
    ['FROM a\nCOPY --from=$x a b', 'variable expansion is not supported for --from'],
    ['RUN x\nFROM a', 'no build stage in current context'],
    ['ARG x', 'dockerfile contains no stages to build'],
    ['ARG x=${y?must}\nFROM a', 'y: must'],
  ])('refuses %s', (text, message) => {
    expect(() => read(text, { platformArgs: { PLATFORM: 'x' } })).toThrow(message);
  });

  it('names the line of the instruction that is wrong', () => {
    expect(() => read('FROM a\nRUN b\nCOPY --from=0 a b')).toThrow(expect.objectContaining({ line: 3 }));
  });
});

describe('triggerSources()', () => {
  it('reads the sources of an ONBUILD trigger in the stage that brings it', () => {
    const file = parseDockerfile('FROM a AS x\nFROM b\nONBUILD COPY --from=x a b\n', 'Dockerfile');
    const { all } = stages(file, { buildArgs: {}, platformArgs: {} });
    const onbuild = file.instructions.at(-1);
    if (onbuild?.name !== 'ONBUILD' || all[1] === undefined) throw new Error('not read');
    const found = triggerSources(file, all, { stage: all[1], instruction: onbuild.trigger });
    expect([...found]).toEqual([['x', { type: 'stage', index: 0 }]]);
  });
});
