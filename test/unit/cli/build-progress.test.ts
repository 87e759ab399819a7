import { describe, expect, it } from 'vitest';
import type { BuildEvent } from '../../../src/build/events.ts';
import { openBuildProgress, type ProgressMode } from '../../../src/cli/build-progress.ts';

const text = (chunk: string): Uint8Array => Buffer.from(chunk);
const failed: readonly BuildEvent[] = [
  { type: 'started', vertex: 'a', name: '[1/2] FROM alpine', time: 1000 },
  { type: 'status', vertex: 'a', id: 'sha256:1', current: 0, total: 1000, started: 1000, time: 1000 },
  { type: 'status', vertex: 'a', id: 'sha256:1', current: 10, total: 1000, started: 1000, time: 1001 },
  {
    type: 'status',
    vertex: 'a',
    id: 'sha256:1',
    current: 1000,
    total: 1000,
    started: 1000,
    completed: 1500,
    time: 1500,
  },
  { type: 'done', vertex: 'a', time: 1600 },
  { type: 'cached', vertex: 'b', name: '[2/4] WORKDIR /x', time: 1600 },
  { type: 'started', vertex: 'c', name: '[3/4] RUN make', time: 2000 },
  { type: 'started', vertex: 'd', name: '[other 1/1] RUN sleep', time: 2000 },
  { type: 'log', vertex: 'c', stream: 'stdout', chunk: text('one\ntw'), time: 2123 },
  { type: 'log', vertex: 'd', stream: 'stdout', chunk: text('beside\n'), time: 2200 },
  { type: 'log', vertex: 'c', stream: 'stderr', chunk: text('o\nend'), time: 12_500 },
  { type: 'error', vertex: 'c', message: 'exit code: 2', time: 13_000 },
  { type: 'canceled', vertex: 'd', time: 13_100 },
  {
    type: 'warning',
    fileName: 'Dockerfile',
    warning: { rule: 'R', message: 'what', description: 'why', location: { startLine: 3, endLine: 3 } },
    time: 13_100,
  },
];

function shown(mode: ProgressMode, events: readonly BuildEvent[], terminal = {}): string {
  let output = '';
  let now = 0;
  const write = (data: string | Uint8Array): boolean => {
    output += String(data);
    return true;
  };
  const progress = openBuildProgress({ write, once: () => undefined, ...terminal }, { mode, now: () => now });
  for (const event of events) {
    now = event.time;
    progress.event(event);
  }
  progress.finish();
  return output;
}

describe('openBuildProgress() plain', () => {
  it('shows one step at a time, as BuildKit', () => {
    expect(shown('plain', failed)).toBe(`#1 [1/2] FROM alpine
#1 sha256:1 0B / 1.00kB
#1 sha256:1 1.00kB / 1.00kB 0.5s done
#1 DONE 0.6s

#2 [2/4] WORKDIR /x
#2 CACHED

#3 [3/4] RUN make
#3 0.123 one
#3 10.50 two
#3 11.00 end
#3 ERROR: exit code: 2

#4 [other 1/1] RUN sleep
#4 0.200 beside
#4 CANCELED
------
 > [3/4] RUN make:
0.123 one
10.50 two
11.00 end
------

 1 warning found:
 - R: what (line 3)
`);
  });

  it('gives another step its turn after five seconds', () => {
    const log = (vertex: string, chunk: string, time: number): BuildEvent => ({
      type: 'log',
      vertex,
      stream: 'stdout',
      chunk: text(chunk),
      time,
    });
    const output = shown('plain', [
      { type: 'started', vertex: 'a', name: 'A', time: 0 },
      { type: 'started', vertex: 'b', name: 'B', time: 0 },
      log('a', 'x\n', 1000),
      log('b', 'y\n', 2000),
      log('b', 'z\n', 6000),
      { type: 'done', vertex: 'b', time: 6100 },
      { type: 'done', vertex: 'a', time: 6200 },
    ]);
    expect(output).toBe(
      '#1 A\n#1 1.000 x\n#1 ...\n\n#2 B\n#2 2.000 y\n#2 6.000 z\n#2 DONE 6.1s\n\n#1 A\n#1 DONE 6.2s\n',
    );
  });

  it('is what auto means for a pipe, and quiet says nothing', () => {
    expect(shown('auto', failed)).toBe(shown('plain', failed));
    expect(shown('quiet', failed)).toBe('');
  });
});

describe('openBuildProgress() tty', () => {
  const bare = (output: string): string => output.replace(/\x1b\[[0-9;?]*[A-Za-z]/g, '').replaceAll('\r', '');

  it('ends with all steps, their marks and times', () => {
    const lines =
      bare(shown('tty', failed, { isTTY: true, columns: 60, rows: 20 }))
        .split('[+]')
        .at(-1)
        ?.split('\n') ?? [];
    expect(lines.slice(0, 6)).toEqual([
      ' Building 13.1s (4/4) FINISHED',
      ` => [1/2] FROM alpine${' '.repeat(33)} 0.6s`,
      ` => => sha256:1 1.00kB / 1.00kB${' '.repeat(23)} 0.5s`,
      ` => CACHED [2/4] WORKDIR /x${' '.repeat(27)} 0.0s`,
      ` => ERROR [3/4] RUN make${' '.repeat(29)} 11.0s`,
      ` => CANCELED [other 1/1] RUN sleep${' '.repeat(19)} 11.1s`,
    ]);
    expect(lines).toContain(' > [3/4] RUN make:');
  });

  it('lets no line of a log or name act on the terminal', () => {
    const output = shown(
      'tty',
      [
        { type: 'started', vertex: 'a', name: 'evil \x1b]0;title\x07\x1b[2J name', time: 0 },
        {
          type: 'log',
          vertex: 'a',
          stream: 'stdout',
          chunk: text('\x1b[31mred\x1b[8m\r\x9b2J\n'),
          time: 200,
        },
        { type: 'started', vertex: 'b', name: 'next', time: 400 },
      ],
      { isTTY: true, columns: 60, rows: 20 },
    );
    for (const sequence of ['\x1b[2J', '\x1b]0', '\x07', '\x1b[8m', '\x9b'])
      expect(output).not.toContain(sequence);
  });

  it('draws no more lines than there are, nor wider ones', () => {
    const many = Array.from(
      { length: 40 },
      (_, index): BuildEvent => ({
        type: 'started',
        vertex: String(index),
        name: `${index} ${'x'.repeat(200)}`,
        time: index * 200,
      }),
    );
    const output = shown('tty', many, { isTTY: true, columns: 40, rows: 10 });
    const frames = output.split('\x1b[?25l').slice(1, -1);
    expect(Math.max(...frames.map((frame) => frame.split('\n').length - 1))).toBeLessThanOrEqual(9);
    expect(
      Math.max(
        ...bare(output)
          .split('\n')
          .map((line) => line.length),
      ),
    ).toBeLessThanOrEqual(40);
  });
});

describe('openBuildProgress() rawjson', () => {
  it("writes BuildKit's status objects, a line each", () => {
    const lines = shown('rawjson', failed)
      .trim()
      .split('\n')
      .map((line): Record<string, unknown[]> => JSON.parse(line));
    expect(lines[0]?.vertexes?.[0]).toMatchObject({
      digest: expect.stringMatching(/^sha256:[0-9a-f]{64}$/),
      name: '[1/2] FROM alpine',
      started: '1970-01-01T00:00:01.000Z',
    });
    expect(lines.find((line) => line.logs !== undefined)?.logs?.[0]).toMatchObject({
      stream: 1,
      data: Buffer.from('one\ntw').toString('base64'),
    });
    const errors = lines
      .flatMap((line) => line.vertexes ?? [])
      .filter((vertex) => Object(vertex).error !== undefined);
    expect(errors).toMatchObject([
      { error: 'exit code: 2', completed: '1970-01-01T00:00:13.000Z' },
      { error: 'context canceled' },
    ]);
  });
});
