import { describe, expect, test } from 'vitest';
import { bar, graph, StatsView } from '../../../src/cli/stats-view.ts';
import type { Stats } from '../../../src/engine/index.ts';

function stats(name: string, cpuPercent: number, memory = 50): Stats {
  const stall = { avg10: 12.5, avg60: 0, avg300: 0, total: 0 };
  return {
    container: { id: name.padEnd(64, '0'), name } as unknown as Stats['container'],
    cpuPercent,
    usage: {
      cpu: 0,
      memory,
      memoryLimit: 100,
      memoryPeak: 80,
      received: 0,
      sent: 0,
      read: 0,
      written: 0,
      pids: 3,
      pressure: { io: { some: stall } },
    },
  };
}

test('graph() is as high as a processor, or as the highest value', () => {
  expect(graph([0, 12.5, 50, 99, 100])).toBe('▁▂▅██');
  expect(graph([100, 400])).toBe('▃█');
  expect(graph([])).toBe('');
});

test.each([
  [0, ''],
  [1 / 64, '▏'],
  [0.5, '████'],
  [0.99, '███████▉'],
  [1, '████████'],
])('bar(%d)', (share, expected) => expect(bar(share)).toBe(expected));

describe('StatsView', () => {
  test('remembers what was, and forgets who is gone', () => {
    const view = new StatsView({ colour: false });
    const size = { columns: 200, rows: 24 };
    view.lines([stats('web', 0), stats('gone', 100)], size);
    const [head, row, ...more] = view.lines([stats('web', 100)], size);
    expect(head).toMatch(
      /^NAME +CPU % +MEMORY +PEAK +PIDS +CPU WAIT +MEM WAIT +I\/O WAIT +NET I\/O +BLOCK I\/O$/,
    );
    expect(row).toMatch(/^web +100\.00% +▁█ +50B +████ +80B +3 +-- +-- +12\.50% +0B \/ 0B +0B \/ 0B$/);
    expect(more).toEqual([]);
    expect(view.lines([stats('gone', 0)], size)[1]).toMatch(/0\.00% +▁ {2}/);
  });

  test.each([20, 40, 80, 120])('never draws wider than a terminal of %i columns', (columns) => {
    const lines = new StatsView({ colour: false }).lines(
      [stats('a-name-that-is-longer-than-its-column', 5)],
      { columns, rows: 24 },
    );
    for (const line of lines) expect([...line].length).toBeLessThanOrEqual(columns);
  });

  test('never draws higher than the terminal', () => {
    const all = Array.from({ length: 30 }, (_, at) => stats(`c${at}`, 0));
    const lines = new StatsView({ colour: false }).lines(all, { columns: 80, rows: 10 });
    expect(lines).toHaveLength(9);
    expect(lines.at(-1)).toBe('… and 23 more');
  });

  test('marks memory that is nearly used up', () => {
    const lines = new StatsView({ colour: true }).lines([stats('web', 0, 95)], { columns: 80, rows: 10 });
    expect(lines[1]).toContain('\x1b[31m      95B\x1b[0m');
  });
});
