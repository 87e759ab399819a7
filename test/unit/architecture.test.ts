import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { describe, expect, it } from 'vitest';

const top = join(import.meta.dirname, '..', '..');

interface Import {
  readonly file: string;
  readonly target: string;
  readonly typeOnly: boolean;
}

function sourceFiles(): string[] {
  return readdirSync(join(top, 'src'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => relative(top, join(entry.parentPath, entry.name)))
    .sort();
}

function textOf(file: string): string {
  return readFileSync(join(top, file), 'utf8');
}

/** The text without comments, so that a rule is not broken by a sentence about it. */
function codeOf(file: string): string {
  return textOf(file)
    .replace(/\/\*[\s\S]*?\*\//g, '')
    .replace(/(^|[^:'"`])\/\/.*$/gm, '$1');
}

function importsOf(file: string): Import[] {
  const found: Import[] = [];
  const code = codeOf(file);
  for (const match of code.matchAll(/(?:^|\n)\s*(?:import|export)\s+(type\s+)?[^'";]*?from\s*'([^']+)'/g)) {
    const names = match[0];
    const allTypes = /\{([^}]*)\}/
      .exec(names)?.[1]
      ?.split(',')
      .every((name) => name.trim() === '' || /^type\s/.test(name.trim()));
    found.push({ file, target: match[2] ?? '', typeOnly: match[1] !== undefined || allTypes === true });
  }
  for (const match of code.matchAll(/(?:import|require)\(\s*'([^']+)'\s*\)/g)) {
    const before = code.slice(Math.max(0, (match.index ?? 0) - 8), match.index);
    found.push({ file, target: match[1] ?? '', typeOnly: /typeof\s*$/.test(before) });
  }
  return found;
}

/** `src/image/store.ts` → `image`; files directly in src are `errors`, `main`. */
function layerOf(file: string): string {
  const [, first = ''] = file.split('/');
  return first.replace(/\.ts$/, '');
}

const SIBLINGS = ['image', 'registry', 'runtime', 'cgroups', 'network', 'build', 'volumes'];
const LEAVES = ['disk', 'oci', 'native', 'errors'];
/** Who may import whom, besides itself. */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  main: ['cli', 'engine', ...LEAVES],
  cli: ['engine', ...SIBLINGS, ...LEAVES],
  engine: [...SIBLINGS, ...LEAVES],
  image: ['registry', ...LEAVES],
  registry: LEAVES,
  runtime: ['cgroups', ...LEAVES],
  cgroups: LEAVES,
  network: LEAVES,
  build: ['image', ...LEAVES],
  volumes: LEAVES,
  disk: ['oci', 'native', 'errors'],
  oci: ['errors'],
  native: ['disk', 'oci', 'errors'],
  errors: [],
  globals: [],
};

const files = sourceFiles();
const imports = files.flatMap(importsOf);

describe('architecture', () => {
  it('imports only go down', () => {
    const wrong = imports
      .filter(({ target }) => target.startsWith('.'))
      .map((each) => ({ ...each, resolved: normalize(join(dirname(each.file), each.target)) }))
      .filter(({ file, resolved, typeOnly }) => {
        const [from, to] = [layerOf(file), layerOf(resolved)];
        // What the user asked for is a plain type that every part may read.
        if (typeOnly && resolved === 'src/engine/options.ts') return false;
        return from !== to && !(ALLOWED[from] ?? []).includes(to);
      })
      .map(({ file, target }) => `${file} imports ${target}`);
    expect(wrong).toEqual([]);
  });

  it('only src/native imports koffi', () => {
    const wrong = imports.filter(({ file, target }) => /koffi/.test(target) && layerOf(file) !== 'native');
    expect(wrong).toEqual([]);
  });

  it('only main.ts touches the process, and only cli writes to a terminal', () => {
    const banned = /(?<![.\w])process\.(exit|cwd|chdir|env|argv|stdout|stderr|stdin|on|once)\b|\bconsole\./;
    const wrong = files.filter((file) => layerOf(file) !== 'main' && banned.test(codeOf(file)));
    expect(wrong).toEqual([]);
  });

  it('only disk/paths.ts knows where state lies', () => {
    const wrong = files.filter(
      (file) => file !== 'src/disk/paths.ts' && /['"`]\/(var\/lib|run)\/tinyrun/.test(codeOf(file)),
    );
    expect(wrong).toEqual([]);
  });

  it('has no file whose name says nothing', () => {
    const wrong = files.filter((file) => /(^|\/)(utils?|helpers?|common|misc|shared)\.ts$/.test(file));
    expect(wrong).toEqual([]);
  });

  it('never unshares or joins a namespace in the Node process', () => {
    const wrong = files.filter((file) => /func\([^)]*\b(unshare|setns)\b/.test(codeOf(file)));
    expect(wrong).toEqual([]);
  });

  it('keeps what only others need out of the file that run loads', () => {
    const bundle = readFileSync(join(top, 'scripts/bundle.mjs'), 'utf8');
    const hot = [...(/const HOT = \[([\s\S]*?)\]/.exec(bundle)?.[1] ?? '').matchAll(/'([^']+)'/g)];
    expect(hot.length).toBeGreaterThan(5);
    const others =
      /^src\/(build\/|cli\/(help|commands|template|table)\.ts|engine\/(pull|list|inspect|exec|stop)\.ts|runtime\/diagnose)/;
    const reached = reachable(['src/main.ts', ...hot.map(([, file = '']) => file)]);
    expect(reached.filter((file) => others.test(file))).toEqual([]);
  });

  it('loads what is heavy only where a command needs it', () => {
    const heavy =
      /^(bcryptjs|node-fetch|tar-stream|commander|smol-toml|https?-proxy-agent|node:(http|https|zlib|child_process))$/;
    const reached = new Set(reachable(['src/main.ts']));
    const wrong = staticImports()
      .filter(({ file, target, typeOnly }) => !typeOnly && reached.has(file) && heavy.test(target))
      .map(({ file, target }) => `${file} imports ${target}`);
    expect(wrong).toEqual([]);
  });
});

/** These files and all of ours that they import at once. */
function reachable(roots: readonly string[]): string[] {
  const eager = new Map<string, string[]>();
  for (const { file, target, typeOnly } of staticImports()) {
    if (!typeOnly && target.startsWith('.'))
      eager.set(file, [...(eager.get(file) ?? []), normalize(join(dirname(file), target))]);
  }
  const seen = new Set<string>();
  const visit = (file: string): void => {
    if (seen.has(file)) return;
    seen.add(file);
    for (const target of eager.get(file) ?? []) visit(target);
  };
  for (const root of roots) visit(root);
  return [...seen];
}

function staticImports(): Import[] {
  return files.flatMap((file) => {
    const code = codeOf(file);
    return importsOf(file).filter(
      ({ target }) =>
        !new RegExp(`(?:import|require)\\(\\s*'${target.replace(/[.*+?^$()|[\]\\]/g, '\\$&')}'`).test(code),
    );
  });
}
