import { describe, expect, it } from 'vitest';
import { isLoopback, proxyFor } from '../../../src/registry/proxy.ts';

const P = 'http://proxy:3128/';

describe('proxyFor()', () => {
  it.each<[string, Record<string, string>, string | undefined]>([
    ['https://r.io/x', {}, undefined],
    ['https://r.io/x', { HTTPS_PROXY: P }, P],
    ['https://r.io/x', { https_proxy: P }, P],
    ['https://r.io/x', { HTTP_PROXY: P }, undefined],
    ['http://r.io/x', { HTTP_PROXY: P }, P],
    ['https://r.io/x', { HTTPS_PROXY: 'proxy:3128' }, P],
    ['https://r.io/x', { HTTPS_PROXY: '' }, undefined],
    ['https://localhost/x', { HTTPS_PROXY: P }, undefined],
    ['http://127.0.0.1:5000/x', { HTTP_PROXY: P }, undefined],
    ['http://[::1]:5000/x', { HTTP_PROXY: P }, undefined],
    ['https://r.io/x', { HTTPS_PROXY: P, NO_PROXY: '*' }, undefined],
    ['https://r.io/x', { HTTPS_PROXY: P, no_proxy: 'a.io, R.IO' }, undefined],
    ['https://x.r.io/x', { HTTPS_PROXY: P, NO_PROXY: 'r.io' }, undefined],
    ['https://xr.io/x', { HTTPS_PROXY: P, NO_PROXY: 'r.io' }, P],
    ['https://x.r.io/x', { HTTPS_PROXY: P, NO_PROXY: '.r.io' }, undefined],
    ['https://r.io/x', { HTTPS_PROXY: P, NO_PROXY: '.r.io' }, P],
    ['https://x.r.io/x', { HTTPS_PROXY: P, NO_PROXY: '*.r.io' }, undefined],
    ['https://r.io:5000/x', { HTTPS_PROXY: P, NO_PROXY: 'r.io:5000' }, undefined],
    ['https://r.io/x', { HTTPS_PROXY: P, NO_PROXY: 'r.io:5000' }, P],
    ['https://r.io/x', { HTTPS_PROXY: P, NO_PROXY: 'r.io:443' }, undefined],
    ['https://10.1.2.3/x', { HTTPS_PROXY: P, NO_PROXY: '10.0.0.0/8' }, undefined],
    ['https://11.1.2.3/x', { HTTPS_PROXY: P, NO_PROXY: '10.0.0.0/8' }, P],
    ['https://255.1.2.3/x', { HTTPS_PROXY: P, NO_PROXY: '255.1.2.3/32' }, undefined],
    ['https://[fd00::1]/x', { HTTPS_PROXY: P, NO_PROXY: '[fd00::1]' }, undefined],
  ])('%s with %j: %s', (url, env, expected) => {
    expect(proxyFor(new URL(url), env)?.href).toBe(expected);
  });
});

describe('proxyFor() with a bad proxy', () => {
  it.each([
    ['http://me:secret@[bad', 'Cannot use HTTPS_PROXY: it is no address'],
    ['socks5://me:secret@proxy', 'Cannot use HTTPS_PROXY: it is a "socks5:" proxy, expected "http:"'],
  ])('%s says so without the password', (value, message) => {
    expect(() => proxyFor(new URL('https://r.io/x'), { HTTPS_PROXY: value })).toThrow(
      expect.objectContaining({ message }),
    );
  });
});

describe('isLoopback()', () => {
  it.each([
    ['localhost', true],
    ['LOCALHOST', true],
    ['127.0.0.1', true],
    ['127.9.9.9', true],
    ['[::1]', true],
    ['localhost.evil.io', false],
    ['127.0.0.1.evil.io', false],
    ['128.0.0.1', false],
  ])('%s: %s', (host, expected) => {
    expect(isLoopback(host)).toBe(expected);
  });
});
