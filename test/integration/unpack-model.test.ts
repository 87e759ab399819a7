import fc from 'fast-check';
import { afterAll, describe, expect } from 'vitest';
import { directory, file, tar } from '../fixtures/tars.ts';
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
