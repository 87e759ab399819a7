import { expect, test } from 'vitest';
import { parseTime, timestamp } from '../../../src/engine/clock.ts';
import { logLimits } from '../../../src/engine/log-plan.ts';
import { signalNumber } from '../../../src/engine/signals.ts';

test.each([
  ['9', 9],
  ['KILL', 9],
  ['SIGKILL', 9],
  ['sigterm', 15],
  ['SIGRTMIN', 34],
  ['RTMIN+3', 37],
  ['SIGRTMAX-1', 63],
  ['64', 64],
])('signalNumber() of %s', (text, number) => {
  expect(signalNumber(text)).toBe(number);
});

test.each(['', '0', '65', 'SIGNOPE', 'RTMIN+99', 'constructor', '-9'])(
  'signalNumber() refuses %j',
  (text) => {
    expect(() => signalNumber(text)).toThrow(`invalid signal: ${text}`);
  },
);

test('timestamp() has nine decimals', () => {
  expect(timestamp(0)).toBe('1970-01-01T00:00:00.000000000Z');
});

test('parseTime() reads moments and lengths of time', () => {
  const minutes = () => 600_000;
  expect(parseTime('2026-01-01T00:00:00Z', 0, minutes)).toBe(Date.UTC(2026, 0, 1));
  expect(parseTime('2026-01-01', 0, minutes)).toBe(new Date(2026, 0, 1).getTime());
  expect(parseTime('1700000000.5', 0, minutes)).toBe(1_700_000_000_500);
  expect(parseTime('10m', 1_000_000, minutes)).toBe(400_000);
});

test('logLimits() reads sizes, and no limit by default', () => {
  expect(logLimits({})).toEqual({ maxBytes: 0, maxFiles: 1 });
  expect(logLimits({ 'max-size': '10m', 'max-file': '3' })).toEqual({ maxBytes: 10 * 2 ** 20, maxFiles: 3 });
  expect(logLimits({ 'max-size': '-1' }).maxBytes).toBe(0);
  expect(() => logLimits({ 'max-size': 'x' })).toThrow('Cannot use log option max-size "x"');
  expect(() => logLimits({ 'max-file': '0' })).toThrow('Cannot use log option max-file "0"');
});
