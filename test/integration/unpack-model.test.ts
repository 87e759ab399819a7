import fc from 'fast-check';
import { afterAll, describe, expect } from 'vitest';
import { directory, file, pax, tar } from '../fixtures/tars.ts';
import { describeTree } from '../fixtures/trees.ts';
import { needing } from '../harness/requires.ts';
import { makeUnpackBench } from '../harness/unpacking.ts';

const it = needing('root');
const bench = makeUnpackBench();

afterAll(bench.dispose);

type Step = { readonly kind: 'file' | 'directory' | 'whiteout' | 'opaque'; readonly path: string };
type Node = 'file' | 'whiteout' | 'directory' | 'opaque directory';

/** What a layer is, by the rules alone: a map, and one case per kind of entry. */
class Model {
  readonly nodes = new Map<string, Node>();
  isValid = true;

  apply({ kind, path }: Step): void {
    if (!this.makeParents(kind === 'opaque' ? `${path}/x` : path)) {
      this.isValid = false;
    } else if (kind === 'opaque') {
      this.nodes.set(path, 'opaque directory');
    } else if (kind === 'whiteout') {
      this.hide(path);
    } else if (kind === 'file') {
      this.remove(path);
      this.nodes.set(path, 'file');
    } else if (!this.isDirectory(path)) {
      this.nodes.set(path, this.nodes.has(path) ? 'opaque directory' : 'directory');
    }
  }

  private isDirectory(path: string): boolean {
    return this.nodes.get(path)?.endsWith('directory') ?? false;
  }

  private hide(path: string): void {
    if (!this.nodes.has(path)) this.nodes.set(path, 'whiteout');
    else if (this.isDirectory(path)) this.nodes.set(path, 'opaque directory');
  }

  private makeParents(path: string): boolean {
    const parts = path.split('/').slice(0, -1);
    return parts.every((_, index) => {
      const parent = parts.slice(0, index + 1).join('/');
      const node = this.nodes.get(parent);
      if (node === 'file') return false;
      if (node === undefined) this.nodes.set(parent, 'directory');
      if (node === 'whiteout') this.nodes.set(parent, 'opaque directory');
      return true;
    });
  }

  private remove(path: string): void {
    for (const other of [...this.nodes.keys()]) {
      if (other === path || other.startsWith(`${path}/`)) this.nodes.delete(other);
    }
  }
}

function memberOf({ kind, path }: Step): Buffer {
  if (kind === 'directory') return directory(path);
  if (kind === 'opaque') return file(`${path}/.wh..wh..opq`);
  return kind === 'file' ? file(path, 'x') : file(path.replace(/[^/]*$/, '.wh.$&'));
}

function nodeOf(line: string): string {
  if (line.startsWith('character-device')) return 'whiteout';
  return `${line.includes('opaque') ? 'opaque ' : ''}${line.split(' ')[0]}`;
}

describe('unpackLayer() against a model', () => {
  const path = fc
    .array(fc.constantFrom('a', 'b', 'c'), { minLength: 1, maxLength: 3 })
    .map((parts) => parts.join('/'));
  const step: fc.Arbitrary<Step> = fc.record({
    kind: fc.constantFrom('file', 'directory', 'whiteout', 'opaque'),
    path,
  });

  it('files, directories and whiteouts in any order', async () => {
    const property = fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
      const model = new Model();
      for (const each of steps) if (model.isValid) model.apply(each);
      const { layer, outcome } = await bench.unpack(tar(...steps.map(memberOf)));
      expect(outcome).toBe(model.isValid ? 'ok' : 'tar');
      if (!model.isValid) return;
      const found = [...(await describeTree(layer))].map(([name, line]) => [name, nodeOf(line)] as const);
      expect(new Map(found.filter(([name]) => name !== '.'))).toEqual(model.nodes);
    });
    await fc.assert(property, { numRuns: 300 });
  });
});

describe('unpackLayer() against the rules of names', () => {
  const part = fc.constantFrom(
    'a',
    'b',
    '.',
    '..',
    '',
    '...',
    '.a',
    'ü',
    'with blank',
    'n'.repeat(255),
    'n'.repeat(256),
  );
  const name = fc.array(part, { minLength: 1, maxLength: 6 }).map((parts) => parts.join('/'));

  /** Where a file of that name lies; or how it is refused, by the first part that is wrong. */
  function expected(text: string): { readonly path: string } | { readonly outcome: string } {
    const parts = text.split('/');
    const wrong = parts.find((one) => one === '..' || Buffer.byteLength(one) > 255);
    if (wrong !== undefined) return { outcome: wrong === '..' ? 'unsafe' : 'tar' };
    const path = parts.filter((one) => one !== '' && one !== '.').join('/');
    // The root is a directory, whatever an entry says.
    return path === '' ? { outcome: 'tar' } : { path };
  }

  it('any name is a place in the layer, or refused', async () => {
    const before = await describeTree(bench.canary);
    const property = fc.asyncProperty(name, async (text) => {
      // An empty path takes a pax record back.
      fc.pre(text !== '');
      const { layer, outcome } = await bench.unpack(
        tar(pax([['path', Buffer.from(text)]]), file('short', 'x')),
      );
      const wanted = expected(text);
      if ('outcome' in wanted) {
        expect(outcome).toBe(wanted.outcome);
        return;
      }
      expect(outcome).toBe('ok');
      const files = [...(await describeTree(layer))].filter(([, line]) => line.startsWith('file'));
      expect(files.map(([path]) => path)).toEqual([wanted.path]);
    });
    await fc.assert(property, { numRuns: 150 });
    expect(await describeTree(bench.canary)).toEqual(before);
  });
});
