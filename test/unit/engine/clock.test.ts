import { expect, test } from 'vitest';
import { parseDuration } from '../../../src/cli/flag-values.ts';
import { parseTime } from '../../../src/engine/clock.ts';

const NOW = Date.parse('2026-06-01T12:00:00Z');
const at = (text: string): number => parseTime(text, NOW, parseDuration);

test.each([
  ['10m', '2026-06-01T11:50:00Z'],
  ['1h30m', '2026-06-01T10:30:00Z'],
  ['-5s', '2026-06-01T12:00:05Z'],
  ['0', '1970-01-01T00:00:00Z'],
  ['1136073600', '2006-01-01T00:00:00Z'],
  ['1136073600.5', '2006-01-01T00:00:00.500Z'],
  ['1136073600.123999999', '2006-01-01T00:00:00.123Z'],
  ['2006-01-02T15:04:05.123456789Z', '2006-01-02T15:04:05.123Z'],
  ['2006-01-02T15:04:05+07:00', '2006-01-02T08:04:05Z'],
  ['2006-01-02T15:04Z', '2006-01-02T15:04:00Z'],
  ['2006-01-02T15Z', '2006-01-02T15:00:00Z'],
  ['2006-01-02Z', '2006-01-02T00:00:00Z'],
  ['2006-01-02-01:00', '2006-01-02T01:00:00Z'],
])('parseTime(%j)', (text, expected) => expect(new Date(at(text))).toEqual(new Date(expected)));

test.each([
  ['2006-01-02T15:04:05', [2006, 0, 2, 15, 4, 5]],
  ['2006-01-02T15:04', [2006, 0, 2, 15, 4]],
  ['2006-01-02T15', [2006, 0, 2, 15]],
  ['2006-01-02', [2006, 0, 2]],
] as const)('parseTime(%j) is in the zone of the machine', (text, [year, month, ...rest]) => {
  expect(at(text)).toBe(new Date(year, month, ...rest).getTime());
});

test.each(['', 'yesterday', '2006-13-45', '2006-01-02T25:00', '2006-01'])('parseTime(%j)', (text) => {
  expect(() => at(text)).toThrow();
});
