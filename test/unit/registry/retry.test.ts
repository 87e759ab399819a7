import { describe, expect, it } from 'vitest';
import { TinyrunError } from '../../../src/errors.ts';
import { parseRetryAfter, RegistryError, replyError } from '../../../src/registry/errors.ts';
import { retrying } from '../../../src/registry/retry.ts';

const policy = { attempts: 3, base: 1, longest: 4, longestRetryAfter: 50 };
/** An attempt that always fails, and how often it was made. */
function failing(error: Error): { attempt: () => Promise<never>; calls: () => number } {
  let calls = 0;
  const attempt = (): Promise<never> => {
    calls += 1;
    return Promise.reject(error);
  };
  return { attempt, calls: () => calls };
}

const passing = (retryAfter?: number) =>
  new RegistryError('unavailable', 'later', {
    retry: 'always',
    ...(retryAfter === undefined ? {} : { retryAfter }),
  });

describe('retrying()', () => {
  it('repeats what is passing until it succeeds', async () => {
    const result = await retrying((n) => (n < 3 ? Promise.reject(passing()) : Promise.resolve(n)), policy);
    expect(result).toBe(3);
  });

  it('gives up after the attempts and throws the last error', async () => {
    let calls = 0;
    await expect(
      retrying(
        () => Promise.reject(new RegistryError('unavailable', `${++calls}`, { retry: 'always' })),
        policy,
      ),
    ).rejects.toThrow('3');
  });

  it.each([
    ['final errors', new RegistryError('not_found', 'no')],
    ['errors of others', new TinyrunError('unavailable', 'disk full')],
    ['bugs', new TypeError('bug')],
  ])('does not repeat %s', async (_name, error) => {
    const { attempt, calls } = failing(error);
    await expect(retrying(attempt, policy)).rejects.toBe(error);
    expect(calls()).toBe(1);
  });

  it('sees the registry error below a wrapper', async () => {
    let calls = 0;
    const attempt = async () => {
      if (++calls === 1) throw new TinyrunError('internal', 'wrapped', { cause: passing() });
      return 'ok';
    };
    expect(await retrying(attempt, policy)).toBe('ok');
  });

  it('fetches what was corrupt once more, not for ever', async () => {
    const { attempt, calls } = failing(new RegistryError('invalid', 'digest', { retry: 'once' }));
    await expect(retrying(attempt, policy)).rejects.toThrow('digest');
    expect(calls()).toBe(2);
  });

  it('starts counting anew after progress, and only past the furthest point', async () => {
    let at = 0;
    let calls = 0;
    const attempt = () => {
      calls += 1;
      if (calls <= 10) at += 1;
      return Promise.reject(passing());
    };
    await expect(retrying(attempt, policy, { progress: () => at })).rejects.toThrow('later');
    expect(calls).toBe(12);
  });

  it('waits as long as the server asks, and not for one that asks too much', async () => {
    const waits: number[] = [];
    await retrying((n) => (n === 1 ? Promise.reject(passing(20)) : Promise.resolve()), policy, {
      onRetry: (ms) => waits.push(ms),
    });
    expect(waits).toEqual([20]);
    const { attempt, calls } = failing(passing(60));
    await expect(retrying(attempt, policy)).rejects.toThrow();
    expect(calls()).toBe(1);
  });

  it('backs off with jitter within bounds', async () => {
    const waits: number[] = [];
    const patient = { attempts: 6, base: 2, longest: 8, longestRetryAfter: 0 };
    await retrying(() => Promise.reject(passing()), patient, { onRetry: (ms) => waits.push(ms) }).catch(
      () => {},
    );
    expect(waits).toHaveLength(5);
    for (const [at, wait] of waits.entries()) {
      const step = Math.min(8, 2 * 2 ** at);
      expect(wait).toBeGreaterThanOrEqual(step / 2);
      expect(wait).toBeLessThanOrEqual(step);
    }
  });

  it('ends at once when the signal says so', async () => {
    const controller = new AbortController();
    const slow = { ...policy, base: 60_000, longest: 60_000 };
    setTimeout(() => controller.abort(new Error('stop')), 10);
    await expect(
      retrying(() => Promise.reject(passing()), slow, { signal: controller.signal }),
    ).rejects.toThrow('stop');
  });
});

describe('parseRetryAfter()', () => {
  const now = Date.parse('2025-01-01T00:00:00Z');
  it.each([
    ['5', 5000],
    [' 0 ', 0],
    ['Wed, 01 Jan 2025 00:01:00 GMT', 60_000],
    ['Tue, 31 Dec 2024 00:00:00 GMT', 0],
    ['soon', undefined],
    [undefined, undefined],
  ])('%s: %s', (header, expected) => {
    expect(parseRetryAfter(header, now)).toBe(expected);
  });
});

describe('replyError()', () => {
  const reply = (status: number, body: string, headers: Record<string, string> = {}) =>
    replyError(
      {
        method: 'GET',
        url: new URL('https://r.io/v2/x?token=secret'),
        status,
        header: (name) => headers[name],
        body: new TextEncoder().encode(body),
      },
      Date.parse('2025-01-01T14:00:00Z'),
    );

  it('says method, address and what the registry said, without the query', () => {
    const error = reply(404, '{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}');
    expect(error).toMatchObject({ kind: 'not_found', retry: 'never', registryCode: 'MANIFEST_UNKNOWN' });
    expect(error.message).toBe('GET https://r.io/v2/x?…: 404 MANIFEST_UNKNOWN: manifest unknown');
  });

  it('keeps the terminal out of strange hands', () => {
    const error = reply(
      500,
      JSON.stringify({ errors: [{ code: 'X', message: `\u001b[2J\u202e${'a'.repeat(5000)}` }] }),
    );
    expect(error.message).not.toMatch(/[\u001b\u202e]/);
    expect(error.message.length).toBeLessThan(400);
  });

  it('tells after a 429 when to come back', () => {
    const headers = {
      'retry-after': '62',
      'ratelimit-limit': '100;w=21600',
      'ratelimit-remaining': '0;w=21600',
      'docker-ratelimit-source': '192.0.2.1',
    };
    expect(reply(429, '', headers)).toMatchObject({
      kind: 'unavailable',
      retry: 'always',
      retryAfter: 62_000,
      hint: 'Retry after 14:01:02 UTC (in 62 s); limit 100 per 21600 s, 0 remaining; counted for 192.0.2.1',
    });
    expect(reply(429, '').hint).toBe('The registry does not say when to retry');
  });

  it.each([
    [400, 'invalid', 'never'],
    [401, 'unauthorized', 'never'],
    [403, 'denied', 'never'],
    [404, 'not_found', 'never'],
    [408, 'unavailable', 'always'],
    [425, 'unavailable', 'always'],
    [429, 'unavailable', 'always'],
    [500, 'unavailable', 'always'],
    [502, 'unavailable', 'always'],
    [503, 'unavailable', 'always'],
    [504, 'unavailable', 'always'],
    [501, 'unavailable', 'never'],
  ])('%i is %s, retried: %s', (status, kind, retry) => {
    expect(reply(status, 'not json <html>')).toMatchObject({ kind, retry, status });
  });
});
