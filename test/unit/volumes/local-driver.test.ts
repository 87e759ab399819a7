import { expect, test } from 'vitest';
import { checkDriverOptions } from '../../../src/volumes/local-driver.ts';

test.each([
  [{}],
  [{ type: 'tmpfs', o: 'size=10m' }],
  [{ type: 'none', o: 'bind', device: '/srv' }],
  [{ o: 'rbind,ro', device: '/srv' }],
])('checkDriverOptions() takes %j', (options) => {
  expect(() => checkDriverOptions(options)).not.toThrow();
});

test.each([
  [{ colour: 'red' }, 'invalid option: "colour"'],
  [{ type: 'none', o: 'bind', device: 'srv' }, 'missing or relative device'],
  [{ type: 'none', o: 'bind' }, 'missing or relative device'],
  [{ type: 'nfs', o: 'addr=1.2.3.4', device: ':/x' }, 'volumes of type "nfs" are not supported'],
])('checkDriverOptions() refuses %j', (options, message) => {
  expect(() => checkDriverOptions(options)).toThrow(message);
});
