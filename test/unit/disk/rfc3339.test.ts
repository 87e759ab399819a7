import { describe, expect, it } from 'vitest';
import { utcSeconds } from '../../../src/disk/rfc3339.ts';

const byDate = (seconds: number): string => new Date(seconds * 1000).toISOString().slice(0, 19);

describe('utcSeconds', () => {
  it.each([
    '1970-01-01T00:00:00',
    '1999-12-31T23:59:59',
    '2000-02-29T12:00:00',
    '2024-02-29T00:00:01',
    '2026-03-01T09:08:07',
    '2100-02-28T23:59:59',
    '2100-03-01T00:00:00',
  ])('writes %s', (text) => {
    expect(utcSeconds(Date.parse(`${text}Z`) / 1000)).toBe(text);
  });

  it('is what Date says, for every day of 500 years', () => {
    for (let day = 0; day < 500 * 366; day += 1) {
      const seconds = day * 86_400 + ((day * 7919) % 86_400);
      if (utcSeconds(seconds) !== byDate(seconds)) expect(utcSeconds(seconds)).toBe(byDate(seconds));
    }
  });
});
