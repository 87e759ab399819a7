import { describe, expect, test } from 'vitest';
import { parsePublish } from '../../../src/cli/ports.ts';
import { publishedAfter } from '../../../src/engine/update-ports.ts';

const ports = (text: string) => text.split(' ').filter(Boolean).map(parsePublish);

describe('publishedAfter()', () => {
  test.each([
    ['8080:80', '9090:90', '', '8080:80 9090:90'],
    ['8080:80', '8080:80', '', '8080:80'],
    ['8080:80 8081:81', '', '80', '8081:81'],
    ['8080:80 8081:80', '', '8081:80', '8080:80'],
    ['8080:80/udp 8080:80', '', '80/udp', '8080:80'],
    ['127.0.0.1:8080:80 8080:80', '', '127.0.0.1:8080:80', '8080:80'],
    ['8000-8003:80-83', '', '81-82', '8000:80 8003:83'],
    ['8000-8003:80-83', '', '90', '8000-8003:80-83'],
    ['80', '', '80', ''],
    ['8000-8010:80', '', '8005:80', '8000-8010:80'],
  ])('%j plus %j minus %j', (published, add, remove, expected) => {
    expect(publishedAfter(ports(published), { add: ports(add), remove: ports(remove) })).toEqual(
      ports(expected),
    );
  });
});
