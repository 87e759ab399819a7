import { expect, test } from 'vitest';
import { parsePressure } from '../../../src/cgroups/pressure.ts';

test('parsePressure() reads both lines', () => {
  const text = `some avg10=9.84 avg60=12.44 avg300=10.97 total=2799132244
full avg10=0.50 avg60=0.00 avg300=0.00 total=7`;
  expect(parsePressure(text)).toEqual({
    some: { avg10: 9.84, avg60: 12.44, avg300: 10.97, total: 2799132244 },
    full: { avg10: 0.5, avg60: 0, avg300: 0, total: 7 },
  });
});

test.each([undefined, '', 'some avg10=x', 'full avg10=0.50 avg60=0.00 avg300=0.00 total=7'])(
  'parsePressure(%j) is nothing',
  (text) => expect(parsePressure(text)).toBeUndefined(),
);
