import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type ExitedFrame,
  type FailedFrame,
  FRAME,
  frameDecoder,
  frameHeader,
  resizeFrame,
  SIZE_OF,
  type StartedFrame,
} from '../../../src/native/frames.ts';

interface Seen {
  stdout: number[];
  stderr: number[];
  started: StartedFrame[];
  failed: FailedFrame[];
  exited: ExitedFrame[];
}

function decode(chunks: readonly Uint8Array[]): Seen {
  const seen: Seen = { stdout: [], stderr: [], started: [], failed: [], exited: [] };
  const push = frameDecoder({
    output: (stream, bytes) => seen[stream].push(...bytes),
    started: (frame) => seen.started.push(frame),
    failed: (frame) => seen.failed.push(frame),
    exited: (frame) => seen.exited.push(frame),
  });
  for (const chunk of chunks) push(chunk);
  return seen;
}

function frame(type: number, payload: readonly number[]): number[] {
  return [...frameHeader(type, payload.length), ...payload];
}

const STARTED = frame(FRAME.started, [0, 0, 0x12, 0x34, 0, 0, 0, 1, 0, 0, 0, 2]);
const FAILED = frame(FRAME.failed, [1, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 13]);
const EXITED = frame(
  FRAME.exited,
  [0, 0, 0, 137, 0, 0, 0, 9, 1, 0, 0, 0, 0, 0x65, 0, 0, 0, 0x3b, 0x9a, 0xc9, 0xff],
);

describe('frameDecoder()', () => {
  test('frameDecoder() reads every control frame', () => {
    const seen = decode([Uint8Array.from([...STARTED, ...FAILED, ...EXITED])]);
    expect(seen.started).toEqual([{ pid: 0x1234, startTime: 2 ** 32 + 2 }]);
    expect(seen.failed).toEqual([{ phase: 1, opIndex: -1, errno: 13 }]);
    expect(seen.exited).toEqual([
      { exitCode: 137, signal: 9, oomKilled: true, seconds: 0x65000000, nanoseconds: 999_999_999 },
    ]);
  });

  test('frameDecoder() tells what is left of a frame and of the header behind it', () => {
    const push = frameDecoder({ output: () => {}, started: () => {}, failed: () => {}, exited: () => {} });
    const bytes = Uint8Array.from(frame(FRAME.stdout, [1, 2, 3, 4, 5]));
    expect(push(bytes.subarray(0, 4))).toBe(0);
    expect(push(bytes.subarray(4, 8))).toBe(13);
    expect(push(bytes.subarray(8, 10))).toBe(11);
    expect(push(bytes.subarray(10))).toBe(0);
    expect(push(Uint8Array.from([...bytes, ...bytes.subarray(0, 11)]))).toBe(10);
  });

  test('frameDecoder() gives the same whatever the chunks are', () => {
    const output = fc.record({
      stream: fc.constantFrom<'stdout' | 'stderr'>('stdout', 'stderr'),
      bytes: fc.array(fc.integer({ min: 0, max: 255 }), { maxLength: 40 }),
    });
    fc.assert(
      fc.property(fc.array(output, { maxLength: 10 }), fc.array(fc.nat(300)), (outputs, cuts) => {
        const wire = [
          ...STARTED,
          ...outputs.flatMap(({ stream, bytes }) => frame(FRAME[stream], bytes)),
          ...EXITED,
        ];
        const edges = [0, ...cuts.filter((cut) => cut < wire.length).sort((a, b) => a - b), wire.length];
        const chunks = edges.slice(1).map((end, index) => Uint8Array.from(wire.slice(edges[index], end)));
        const seen = decode(chunks);
        for (const stream of ['stdout', 'stderr'] as const) {
          const sent = outputs.filter((each) => each.stream === stream).flatMap((each) => each.bytes);
          expect(seen[stream]).toEqual(sent);
        }
        expect([seen.started.length, seen.exited.length]).toEqual([1, 1]);
      }),
    );
  });

  test('frameDecoder() skips frames of a type it does not know', () => {
    const seen = decode([Uint8Array.from([...frame(99, [1, 2, 3]), ...frame(98, []), ...STARTED])]);
    expect(seen.started).toHaveLength(1);
  });

  test('frameDecoder() takes a control frame to which a newer monitor has added', () => {
    const longer = frame(FRAME.started, [...STARTED.slice(8), 7, 7]);
    expect(decode([Uint8Array.from(longer)]).started).toEqual([{ pid: 0x1234, startTime: 2 ** 32 + 2 }]);
  });

  test.each([
    ['a header whose zeros are none', [1, 0, 1, 0, 0, 0, 0, 1]],
    ['a control frame that is too short', [FRAME.exited, 0, 0, 0, 0, 0, 0, 4]],
    ['a control frame without end', [FRAME.started, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]],
  ])('frameDecoder() throws at %s', (_name, bytes) => {
    expect(() => decode([Uint8Array.from(bytes)])).toThrow('Cannot read a frame of the monitor');
  });
});

test('resizeFrame() puts rows before columns', () => {
  expect([...resizeFrame(24, 300)]).toEqual([17, 0, 0, 0, 0, 0, 0, 4, 0, 24, 1, 44]);
});

test('FRAME has the numbers and sizes of native/frames.h', () => {
  const text = readFileSync(new URL('../../../native/frames.h', import.meta.url), 'utf8');
  const constants = new Map<string, number>();
  for (const [, name, value] of text.matchAll(/TR_FRAME_(\w+)(?: =)? (\d+)/g)) {
    constants.set(name ?? '', Number(value));
  }
  const named = Object.entries(FRAME).map(([key, value]) => [
    key.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase(),
    value,
  ]);
  for (const [name, value] of named) expect([name, constants.get(String(name))]).toEqual([name, value]);
  expect(constants.get('STARTED_SIZE')).toBe(SIZE_OF[FRAME.started]);
  expect(constants.get('FAILED_SIZE')).toBe(SIZE_OF[FRAME.failed]);
  expect(constants.get('EXITED_SIZE')).toBe(SIZE_OF[FRAME.exited]);
  expect(constants.get('ANSWERED_SIZE')).toBe(SIZE_OF[FRAME.answered]);
  expect(constants.size).toBe(named.length + 5);
});
