import { describe, expect, test } from 'vitest';
import type { Context } from '../../../src/cli/context.ts';
import { LogPrinter, type PrintHow } from '../../../src/cli/log-printer.ts';
import { mergedByTime } from '../../../src/cli/merged-logs.ts';
import type { LogEntry } from '../../../src/engine/index.ts';

const entry = (second: number, text = `${second}\n`): LogEntry => ({
  stream: 'stdout',
  text,
  time: `2026-01-01T00:00:0${second}.000000000Z`,
});

async function* source(...entries: (LogEntry | Promise<LogEntry>)[]): AsyncGenerator<LogEntry> {
  for (const one of entries) yield await one;
}

async function merge(...sources: AsyncGenerator<LogEntry>[]): Promise<string> {
  let text = '';
  for await (const { from, entry: one } of mergedByTime(sources)) text += `${from}:${one.text.trimEnd()} `;
  return text;
}

describe('mergedByTime()', () => {
  test('puts the oldest first', async () => {
    expect(await merge(source(entry(1), entry(4)), source(entry(2), entry(3), entry(5)))).toBe(
      '0:1 1:2 1:3 0:4 1:5 ',
    );
    expect(await merge(source(), source(entry(1)))).toBe('1:1 ');
  });

  test('does not wait for one that has nothing to say', async () => {
    const late = new Promise<LogEntry>((resolve) => setTimeout(() => resolve(entry(1)), 100));
    expect(await merge(source(late), source(entry(2), entry(3)))).toBe('1:2 1:3 0:1 ');
  });

  test('ends although a source never does', async () => {
    const never = source(new Promise<LogEntry>(() => {}));
    for await (const { entry: one } of mergedByTime([never, source(entry(1))])) {
      expect(one.text).toBe('1\n');
      break;
    }
  });

  test('fails with a source', async () => {
    const broken = source(Promise.reject(new Error('no such container')));
    await expect(merge(source(entry(1)), broken)).rejects.toThrow('no such container');
  });
});

describe('LogPrinter', () => {
  async function printed(how: Partial<PrintHow>, ...entries: [number, LogEntry][]): Promise<string> {
    let text = '';
    const write = (data: string): boolean => {
      text += data;
      return true;
    };
    const output = { isTTY: how.names?.[0] === 'tty', write };
    const context = { stdout: output, stderr: output, env: {} } as unknown as Context;
    const printer = new LogPrinter(context, { names: [], timestamps: false, details: false, ...how });
    for (const [from, one] of entries) await printer.print(from, one);
    return text;
  }

  test('writes lines as they are', async () => {
    expect(await printed({}, [0, entry(1, 'a')], [0, entry(2, 'b\n')])).toBe('ab\n');
  });

  test('puts name, time and details before', async () => {
    const names = ['web', 'database'];
    const detailed = { ...entry(2), attributes: { b: 'x y', a: '1' } };
    expect(await printed({ names, timestamps: true, details: true }, [0, entry(1)], [1, detailed])).toBe(
      'web      | 2026-01-01T00:00:01.000000000Z 1\n' +
        'database | 2026-01-01T00:00:02.000000000Z a=1,b=x%20y 2\n',
    );
  });

  test('names the pieces of a long line once, and keeps lines of others apart', async () => {
    const names = ['a', 'b'];
    expect(
      await printed(
        { names },
        [0, entry(1, 'x')],
        [0, entry(2, 'y\n')],
        [0, entry(3, 'z')],
        [1, entry(4)],
        [0, entry(5)],
      ),
    ).toBe('a | xy\na | z\nb | 4\na | 5\n');
  });

  test('is coloured on a terminal', async () => {
    expect(await printed({ names: ['tty'] }, [0, entry(1)])).toBe('\x1b[36mtty | \x1b[0m1\n');
  });
});
