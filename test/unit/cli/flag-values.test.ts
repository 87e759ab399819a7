import { expect, test } from 'vitest';
import {
  parseBytes,
  parseBytesOrUnlimited,
  parseDecimal,
  parseDuration,
  parseInteger,
} from '../../../src/cli/flag-values.ts';

test.each([
  ['0', 0],
  ['512', 512],
  ['1b', 1],
  ['64m', 64 * 2 ** 20],
  ['64M', 64 * 2 ** 20],
  ['64mb', 64 * 2 ** 20],
  ['64MiB', 64 * 2 ** 20],
  ['1.5g', 1.5 * 2 ** 30],
  ['2 g', 2 * 2 ** 30],
  ['.5k', 512],
  ['1t', 2 ** 40],
])('parseBytes() reads %s', (text, bytes) => {
  expect(parseBytes(text)).toBe(bytes);
});

test.each(['', 'm', '-1', '1mm', '1bb', '1kib b', '1e3', '1.2.3k', '99999p', 'x1'])(
  'parseBytes() refuses %j',
  (text) => {
    expect(() => parseBytes(text)).toThrow(/invalid (size|suffix)/);
  },
);

test('parseBytesOrUnlimited() takes -1', () => {
  expect(parseBytesOrUnlimited('-1')).toBe(-1);
  expect(() => parseBytesOrUnlimited('-2')).toThrow('invalid size');
});

test.each([
  ['10', 10],
  ['-10', -10],
  ['0x10', 16],
  ['010', 8],
  ['0o10', 8],
  ['0b11', 3],
])('parseInteger() reads %s', (text, value) => {
  expect(parseInteger(text)).toBe(value);
});

test.each(['', '1.5', '1e3', 'x', '99999999999999999999', '--1'])('parseInteger() refuses %j', (text) => {
  expect(() => parseInteger(text)).toThrow('strconv.ParseInt');
});

test.each([
  ['0.5', 0.5],
  ['.5', 0.5],
  ['2', 2],
  ['1/4', 0.25],
])('parseDecimal() reads %s', (text, value) => {
  expect(parseDecimal(text)).toBe(value);
});

test.each(['', ' ', 'x', '1/0', 'Infinity'])('parseDecimal() refuses %j', (text) => {
  expect(() => parseDecimal(text)).toThrow('rational number');
});

test.each([
  ['0', 0],
  ['500ms', 500],
  ['1h30m', 5_400_000],
  ['1.5s', 1500],
  ['-2m', -120_000],
])('parseDuration() reads %s', (text, milliseconds) => {
  expect(parseDuration(text)).toBe(milliseconds);
});

test.each(['', '5', 'm', '1x', '1h 2m'])('parseDuration() refuses %j', (text) => {
  expect(() => parseDuration(text)).toThrow('invalid duration');
});
