import { chmodSync, closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  isUnpackError,
  parseReport,
  UnpackError,
  type UnpackInput,
  unpackLayer,
} from '../../../src/image/unpack.ts';
import { parseDigest } from '../../../src/oci/digest.ts';

const DIGEST = parseDigest(`sha256:${'ab'.repeat(32)}`);
const DIFF_ID = parseDigest(`sha256:${'cd'.repeat(32)}`);

let top: string;
let blobFd: number;

beforeAll(() => {
  top = mkdtempSync(join(tmpdir(), 'tinyrun-unit-'));
  blobFd = openSync(join(top, 'blob'), 'w+');
});

afterAll(() => {
  closeSync(blobFd);
  rmSync(top, { recursive: true });
});

/** A shell script in the place of the unpacker. */
function standIn(script: string): string {
  const path = join(top, `unpacker-${Math.random()}`);
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
  return path;
}

function inputWith(script: string, changes: Partial<UnpackInput> = {}): UnpackInput {
  return {
    unpacker: standIn(script),
    layerDir: '/layers/tmp/fs',
    blobFd,
    have: 0,
    descriptor: { mediaType: '', digest: DIGEST, size: 10 },
    diffId: DIFF_ID,
    ...changes,
  };
}

async function* endless(): AsyncGenerator<Uint8Array> {
  for (;;) yield Buffer.alloc(65_536);
}

const OK = 'echo \'{"ok":true,"files":3,"bytes":2048,"opaqueRoot":false}\'';

describe('parseReport()', () => {
  const good = '{"ok":true,"files":3,"bytes":2048,"opaqueRoot":true,"digest":"x"}\n';
  const bad = '{"ok":false,"kind":"space","message":"write \\"x\\": full","errno":"ENOSPC"}\n';

  it('takes what is known of a layer', () => {
    expect(parseReport(good)).toEqual({ files: 3, bytes: 2048, opaqueRoot: true });
  });

  it('takes a failure', () => {
    expect(parseReport(bad)).toEqual({ kind: 'space', message: 'write "x": full', errno: 'ENOSPC' });
  });

  for (const text of [
    '',
    'x',
    'null',
    '[]',
    '{}',
    '{"ok":true}',
    '{"ok":false}',
    good.slice(0, 20),
    `${good}${good}`,
  ]) {
    it(`refuses ${JSON.stringify(text)}`, () => {
      expect(parseReport(text)).toBeUndefined();
    });
  }

  it('refuses a kind that it does not know', () => {
    expect(parseReport('{"ok":false,"kind":"other","message":"x"}')).toBeUndefined();
  });
});

describe('UnpackError', () => {
  it('has the kind of its failure', () => {
    const kindOf = (kind: 'tar' | 'space' | 'io', errno?: string) =>
      new UnpackError(DIGEST, { kind, message: 'm', ...(errno === undefined ? {} : { errno }) }).kind;
    expect(kindOf('tar')).toBe('invalid');
    expect(kindOf('space', 'ENOSPC')).toBe('unavailable');
    expect(kindOf('io', 'EIO')).toBe('internal');
    expect(kindOf('io', 'EPERM')).toBe('denied');
  });

  it('says a wrong digest in the words that scripts know', () => {
    expect(new UnpackError(DIGEST, { kind: 'digest', message: 'm' }).message).toBe(
      `filesystem layer verification failed for digest ${DIGEST}: m`,
    );
    expect(new UnpackError(DIGEST, { kind: 'tar', message: 'm' }).message).toBe(
      'Cannot unpack layer "abababababab": m',
    );
  });
});

describe('unpackLayer()', () => {
  it('passes on what the unpacker has to know, the blob as descriptor 3', async () => {
    const script = `printf '%s ' "$@" >&3; ${OK}`;
    const changes = { have: 10, lower: ['/l/2', '/l/1'], maxBytes: 5 };
    expect(await unpackLayer(inputWith(script, changes))).toEqual({
      files: 3,
      bytes: 2048,
      opaqueRoot: false,
    });
    expect(readFileSync(join(top, 'blob'), 'utf8')).toBe(
      `--layer /layers/tmp/fs --blob 3 --have 10 --size 10 --digest ${'ab'.repeat(32)} --diff-id ${'cd'.repeat(32)} ` +
        '--lower /l/2 --lower /l/1 --max-bytes 5 ',
    );
  });

  it('gives it no environment', async () => {
    const { error } = await failing('env -i true; test -z "$HOME$NODE_OPTIONS" || exit 7; exit 8');
    expect(String(error)).toContain('the unpacker ended with status 8');
  });

  async function failing(script: string, changes: Partial<UnpackInput> = {}): Promise<{ error: unknown }> {
    return await unpackLayer(inputWith(script, changes)).then(
      () => ({ error: undefined }),
      (error: unknown) => ({ error }),
    );
  }

  it('stops reading a body when the unpacker has ended', async () => {
    const { error } = await failing('echo \'{"ok":false,"kind":"space","message":"m"}\'; exit 1', {
      body: endless(),
    });
    expect(isUnpackError(error, 'space')).toBe(true);
  });

  it('does not wait for a body that stalls when the unpacker has ended', async () => {
    async function* stalled(): AsyncGenerator<Uint8Array> {
      yield Buffer.from('abc');
      await new Promise(() => {});
    }
    const { error } = await failing('echo \'{"ok":false,"kind":"space","message":"m"}\'', {
      body: stalled(),
    });
    expect(isUnpackError(error, 'space')).toBe(true);
  });

  it('says how an unpacker without a report ended', async () => {
    expect(String((await failing('exit 3')).error)).toContain('ended with status 3');
    const { error } = await failing('kill -SYS $$', { body: endless() });
    expect(error).toMatchObject({ failure: 'io', message: expect.stringContaining('was killed by SIGSYS') });
  });

  it('a body that fails comes before what the unpacker makes of it', async () => {
    async function* broken(): AsyncGenerator<Uint8Array> {
      yield Buffer.from('abc');
      throw new Error('reset');
    }
    const { error } = await failing('cat >/dev/null; echo \'{"ok":false,"kind":"size","message":"m"}\'', {
      body: broken(),
    });
    expect(error).toEqual(new Error('reset'));
  });

  it('an abort kills the unpacker and is the error', async () => {
    const controller = new AbortController();
    setTimeout(() => controller.abort(new Error('interrupted')), 30);
    const { error } = await failing('exec sleep 60', { signal: controller.signal });
    expect(error).toEqual(new Error('interrupted'));
    const { error: before } = await failing('exec sleep 60', { signal: controller.signal });
    expect(before).toEqual(new Error('interrupted'));
  });
});
