import { describe, expect, it } from 'vitest';
import type { Instruction } from '../../../../src/build/dockerfile/ast.ts';
import { BuildFileError } from '../../../../src/build/dockerfile/build-file-error.ts';
import { parseDockerfile, parseTrigger } from '../../../../src/build/dockerfile/parse.ts';

function instructions(text: string): readonly Instruction[] {
  return parseDockerfile(text, 'Dockerfile').instructions;
}

function only(text: string): Instruction {
  const [instruction, ...more] = instructions(text);
  if (instruction === undefined || more.length > 0) throw new Error(`${more.length + 1} instructions`);
  return instruction;
}

function failure(text: string): BuildFileError {
  try {
    parseDockerfile(text, 'Dockerfile');
  } catch (error) {
    if (error instanceof BuildFileError) return error;
    throw error;
  }
  throw new Error('it was parsed');
}

describe('parseDockerfile() lines', () => {
  it('joins continuations, and drops comments and empty lines within', () => {
    const { instructions: all, warnings } = parseDockerfile(
      'RUN a \\\n  # why\n\n  && b\\\n\t\\  \nc\nUSER x\n',
      'f',
    );
    expect(all.map(({ original, location }) => [original, location.startLine, location.endLine])).toEqual([
      ['RUN a   && b\tc', 1, 6],
      ['USER x', 7, 7],
    ]);
    expect(warnings.map(({ rule }) => rule)).toEqual(['NoEmptyContinuation']);
  });

  it('does not join after an escaped escape, nor at the end of the file', () => {
    expect(instructions('RUN a \\\\\nUSER b \\')).toMatchObject([{ original: 'RUN a \\\\' }, { user: 'b' }]);
  });

  it('knows directives, at the top only and in any case', () => {
    const top = '#syntax=docker/dockerfile:1 for all\n# ESCAPE = `\n# check=skip=all;error=true\n';
    const { directives, ...rest } = parseDockerfile(`${top}RUN a \`\n b\n`, 'f');
    expect(directives).toEqual({ syntax: 'docker/dockerfile:1', check: 'skip=all;error=true' });
    expect(rest.escape).toBe('`');
    expect(parseDockerfile('# hello\n# escape=`\nRUN a\n', 'f').escape).toBe('\\');
  });

  it('takes a byte-order mark, CRLF and a shebang', () => {
    expect(instructions('\ufeff#!/usr/bin/env x\r\nFROM a\r\nRUN b \\\r\n c\r\n')).toMatchObject([
      { name: 'FROM', image: 'a' },
      { command: { text: 'b  c' } },
    ]);
  });

  it('gives the comments directly above', () => {
    expect(instructions('# one\n#\n# two\n# three\nARG a\nARG b\n').map(({ comments }) => comments)).toEqual([
      ['two', 'three'],
      [],
    ]);
  });
});

describe('parseDockerfile() heredocs', () => {
  it('reads several, quoted and with tabs', () => {
    const text = 'COPY <<a <<-"b" /d/\none $x\na\n\ttwo\n\tb\nRUN x\n';
    expect(instructions(text)).toMatchObject([
      {
        sources: [
          { type: 'content', name: 'a', data: 'one $x\n', expand: true },
          { type: 'content', name: 'b', data: 'two\n', expand: false },
        ],
        destination: '/d/',
        location: { startLine: 1, endLine: 5 },
      },
      { name: 'RUN', location: { startLine: 6 } },
    ]);
  });

  it('leaves tabs to the shell, and lines that look like instructions alone', () => {
    expect(only("RUN <<-'X' cat\n\tFROM me\n# no comment\n\tX\n")).toMatchObject({
      heredocs: [{ name: 'X', content: '\tFROM me\n# no comment\n', expand: false, chomp: true }],
      command: { form: 'shell', text: "<<-'X' cat" },
    });
  });

  it('has them in ONBUILD, and not in JSON nor elsewhere', () => {
    expect(only('ONBUILD RUN <<E\nx\nE\n')).toMatchObject({
      expression: 'RUN <<E\nx\nE',
      trigger: { name: 'RUN' },
    });
    expect(only('RUN ["<<E"]\n')).toMatchObject({ heredocs: [] });
    expect(instructions('ENV a=<<E\nUSER b\n')).toHaveLength(2);
  });

  it('says where one does not end', () => {
    expect(failure('FROM a\nRUN <<E\nx\n')).toMatchObject({ line: 2, message: 'unterminated heredoc' });
  });
});

describe('parseDockerfile() instructions', () => {
  it.each<[string, object]>([
    ['FROM --platform=$P img AS Base', { image: 'img', alias: 'base', flags: { platform: '$P' } }],
    ['from a as b', { name: 'FROM', written: 'from', aliasWritten: { as: 'as', alias: 'b' } }],
    ['RUN echo "a  b"', { command: { form: 'shell', text: 'echo "a  b"' } }],
    ['RUN ["a", "b c"]', { command: { form: 'exec', words: ['a', 'b c'] } }],
    ["RUN ['a']", { command: { form: 'shell', text: "['a']" } }],
    ['RUN --network=none --security=insecure x', { flags: { network: 'none', security: 'insecure' } }],
    [
      'RUN --mount=type=bind,from=b,target=/x --mount=type=cache,target=$y x',
      { flags: { mount: [{ from: 'b' }, { text: 'type=cache,target=$y' }] } },
    ],
    [
      'COPY --from=0 --chown=1:2 --chmod=755 --link --parents --exclude=a --exclude=b x y /d',
      {
        sources: [
          { type: 'path', path: 'x' },
          { type: 'path', path: 'y' },
        ],
        destination: '/d',
        flags: { from: '0', chown: '1:2', chmod: '755', link: true, parents: true, exclude: ['a', 'b'] },
      },
    ],
    ['COPY ["a b", "c d"]', { sources: [{ path: 'a b' }], destination: 'c d' }],
    ['COPY --link=false a b', { flags: { link: false, parents: false, exclude: [] } }],
    [
      'ADD --checksum=sha256:00 --keep-git-dir=true --unpack=false https://x/y /',
      { flags: { checksum: 'sha256:00', keepGitDir: true, unpack: false } },
    ],
    [
      `ENV a=1 b="x y" c=\\ d 'e'=f`,
      {
        pairs: [
          { key: 'a', value: '1', legacy: false },
          { key: 'b', value: '"x y"' },
          { key: 'c', value: '\\ d' },
          { key: "'e'", value: 'f' },
        ],
      },
    ],
    ['ENV  key  the rest = of it', { pairs: [{ key: 'key', value: 'the rest = of it', legacy: true }] }],
    ['LABEL a.b=c', { pairs: [{ key: 'a.b', value: 'c' }] }],
    ['ARG a b= c="d e"', { args: [{ key: 'a' }, { key: 'b', value: '' }, { key: 'c', value: '"d e"' }] }],
    ['WORKDIR /a b', { path: '/a b' }],
    ['EXPOSE 80 8080/udp', { ports: ['80', '8080/udp'] }],
    ['VOLUME ["/a b"]', { paths: ['/a b'] }],
    ['VOLUME /a /b', { paths: ['/a', '/b'] }],
    ['STOPSIGNAL SIGINT', { signal: 'SIGINT' }],
    ['CMD', { command: { form: 'exec', words: [] } }],
    ['ENTRYPOINT []', { command: { form: 'exec', words: [] } }],
    ['SHELL ["a", "-c"]', { words: ['a', '-c'] }],
    ['HEALTHCHECK none', { flags: {} }],
    [
      'HEALTHCHECK --interval=1m30s --timeout=3s --start-period=1ms --start-interval=2s --retries=3 CMD ["x"]',
      {
        command: { form: 'exec', words: ['x'] },
        flags: { interval: 90e9, timeout: 3e9, startPeriod: 1e6, startInterval: 2e9, retries: 3 },
      },
    ],
    ['ONBUILD COPY . /src', { expression: 'COPY . /src', trigger: { name: 'COPY', destination: '/src' } }],
    ['MAINTAINER me <me@x>', { maintainer: 'me <me@x>' }],
  ])('reads %s', (text, expected) => {
    expect(only(text)).toMatchObject(expected);
  });

  it.each([
    ['FRM x', 'unknown instruction: FRM (did you mean FROM?)'],
    ['from', 'FROM requires either one or three arguments'],
    ['FROM a b', 'FROM requires either one or three arguments'],
    ['FROM a AS 1b', 'invalid name for build stage: "1b"'],
    ['FROM --platfrm=x a', 'unknown flag: --platfrm (did you mean platform?)'],
    ['COPY a', 'COPY requires at least two arguments'],
    ['COPY a <<E\nE\n', 'COPY cannot accept a heredoc as a destination'],
    ['COPY --from a b', 'missing a value on flag: --from'],
    ['COPY --link=maybe a b', 'expecting boolean value for flag --link, not: maybe'],
    ['COPY --chown=1 --chown=2 a b', 'duplicate flag specified: --chown'],
    ['RUN [1]', 'arrays must be comprised of strings only'],
    ['RUN --network=some x', 'invalid network mode "some"'],
    ['RUN --security=none x', 'security "none" is not valid'],
    ['RUN --mount=from=$x,target=/y z', "'from' doesn't support variable expansion"],
    ['ENV a', 'ENV must have two arguments'],
    ['ENV a=b c', `can't find = in "c"`],
    ['ENV =b', 'ENV names can not be blank'],
    ['LABEL', 'LABEL requires at least one argument'],
    ['ARG =b', 'ARG names can not be blank'],
    ['USER', 'USER requires exactly one argument'],
    ['SHELL bash -c', 'SHELL requires the arguments to be in JSON form'],
    ['HEALTHCHECK NONE x', 'HEALTHCHECK NONE takes no arguments'],
    ['HEALTHCHECK RUN x', 'Unknown type "RUN" in HEALTHCHECK (try CMD)'],
    ['HEALTHCHECK CMD', 'Missing command after HEALTHCHECK CMD'],
    ['HEALTHCHECK --interval=1us CMD x', 'Interval "interval" cannot be less than 1ms'],
    ['HEALTHCHECK --retries=-1 CMD x', '--retries cannot be negative (-1)'],
    ['ONBUILD ONBUILD RUN x', 'Chaining ONBUILD via `ONBUILD ONBUILD`'],
    ['ONBUILD FROM x', "FROM isn't allowed as an ONBUILD trigger"],
    ['VOLUME [""]', 'VOLUME specified can not be an empty string'],
    ['# escape=x\nFROM a', "invalid escape token 'x'"],
    ['# escape=`\n# escape=`\nFROM a', 'only one escape parser directive can be used'],
    ['', 'the Dockerfile cannot be empty'],
    ['# only this\n', 'file with no instructions'],
  ])('refuses %s', (text, message) => {
    expect(failure(text).message).toContain(message);
  });

  it('shows the lines around an error as BuildKit does', () => {
    const error = failure('FROM a\nRUN b\nCOYP x y\nRUN c\nRUN d\nRUN e\n');
    expect(error.message).toBe(
      'dockerfile parse error on line 3: unknown instruction: COYP (did you mean COPY?)',
    );
    expect(error.excerpt.split('\n')).toEqual([
      'Dockerfile:3',
      '--------------------',
      '   1 |     FROM a',
      '   2 |     RUN b',
      '   3 | >>> COYP x y',
      '   4 |     RUN c',
      '   5 |     RUN d',
      '--------------------',
    ]);
  });

  it('marks every line of an instruction', () => {
    const { excerpt } = failure('FROM a\nLABEL \\\n x\n');
    expect(excerpt.split('\n').filter((line) => line.includes('>>>'))).toHaveLength(2);
  });
});

describe('parseTrigger()', () => {
  it('reads one instruction, and says that it stands at the FROM', () => {
    const location = { startLine: 7, endLine: 7 };
    expect(parseTrigger('RUN <<E\nx\nE', location)).toMatchObject({
      name: 'RUN',
      location,
      heredocs: [{ content: 'x\n' }],
    });
  });

  it.each(['RUN a\nRUN b', 'FROM a', 'ONBUILD RUN a'])('refuses %s of an image', (text) => {
    expect(() => parseTrigger(text, { startLine: 1, endLine: 1 })).toThrow('should be a single expression');
  });
});
