/**
 * The program in pieces. `run` is what has to be quick, so all that it executes is in one file, dist/tinyrun.cjs; whatever is
 * imported behind an `await import()` of it is in dist/cold, a file for every such module and one for what several of them share.
 * Bytecode is loaded for a whole file, used or not, which takes 5 ms for all of the program and 2 ms for the part of `run`.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { build } from 'esbuild';

const ENTRY = 'src/main.ts';

/** What `run` imports while it works: belongs to the first file, with all that it imports itself. */
const HOT = [
  'src/cli/commands/run.ts',
  'src/engine/index.ts',
  'src/engine/create.ts',
  'src/engine/start.ts',
  'src/engine/recover.ts',
  'src/engine/remove.ts',
  'src/image/lease.ts',
  'src/image/store.ts',
  'src/native/launch.ts',
  'src/native/syscalls.ts',
  'src/network/host.ts',
  'src/network/networks.ts',
];

/** Around every file: bin/load.cjs calls the function; to make it there would cost another copy of the text. */
const WRAPPER = {
  banner: { js: '(function(exports,require,module,__filename,__dirname){' },
  footer: { js: '})' },
};

/** @param common esbuild's options; `packages` are taken from dist/packages */
export async function bundleProgram({ top, common, packages }) {
  const files = await importsOf({ top, common, packages });
  const hot = closureOf([ENTRY, ...HOT], files);
  const entries = coldEntries(files, hot);
  const cold = await buildCold({ top, common, packages, hot, entries });
  const directory = join(top, 'dist', 'cold');
  rmSync(directory, { recursive: true, force: true });
  for (const { name, text } of cold) {
    const path = join(directory, `${name}.cjs`);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }
  // Last: by its time bin/load.cjs knows which bytecode belongs to all of them.
  await buildHot({ top, common, packages, hot, exported: namesTakenFromHot(cold) });
}

/** Every source file of the program with what it imports: {path: [{path, dynamic}]}. */
async function importsOf({ top, common, packages }) {
  const { metafile } = await build({
    ...common,
    entryPoints: [ENTRY],
    plugins: [packagesBeside(packages)],
    outdir: join(top, 'dist'),
    metafile: true,
    write: false,
  });
  return new Map(
    Object.entries(metafile.inputs).map(([path, { imports }]) => [
      path,
      imports
        .filter(({ external }) => external !== true)
        .map((one) => ({ path: one.path, dynamic: one.kind === 'dynamic-import' })),
    ]),
  );
}

/** The files with all that they import at once. */
function closureOf(roots, files) {
  const found = new Set();
  const left = [...roots];
  for (let path = left.pop(); path !== undefined; path = left.pop()) {
    if (found.has(path)) continue;
    const imports = files.get(path);
    if (imports === undefined) throw new Error(`scripts/bundle.mjs: nothing imports ${path} any more`);
    found.add(path);
    for (const one of imports) if (!one.dynamic) left.push(one.path);
  }
  return found;
}

/** What is imported dynamically and is not hot. */
function coldEntries(files, hot) {
  const found = new Set();
  for (const imports of files.values()) {
    for (const { path, dynamic } of imports) if (dynamic && !hot.has(path)) found.add(path);
  }
  return [...found].sort();
}

async function buildCold({ top, common, packages, hot, entries }) {
  const outdir = join(top, 'dist', 'cold');
  const fromHot = resolving(top, (path) => (hot.has(path) ? `hot:${path}` : undefined));
  const { outputFiles } = await build({
    ...common,
    entryPoints: entries,
    outbase: join(top, 'src'),
    outdir,
    entryNames: '[dir]/[name]',
    chunkNames: 'shared-[hash]',
    plugins: [packagesBeside(packages), fromHot],
    format: 'esm',
    splitting: true,
    minify: true,
    write: false,
  });
  return Promise.all(
    outputFiles.map(async (file) => {
      const name = relative(outdir, file.path).replace(/\.js$/, '');
      return { name, esm: file.text, text: await asCommonJs({ top, common, outdir, file }) };
    }),
  );
}

/** esbuild splits ES modules only; those cannot be run with kept bytecode, so each of them is turned into a function. */
async function asCommonJs({ common, outdir, file }) {
  const elsewhere = {
    name: 'elsewhere',
    setup({ onResolve }) {
      onResolve({ filter: /.*/ }, ({ path, kind }) => {
        if (kind === 'entry-point') return undefined;
        if (!path.startsWith('.') || path.startsWith('./packages/')) return { path, external: true };
        const target = relative(outdir, join(dirname(file.path), path));
        return { path: `cold:${target.replace(/\.js$/, '')}`, external: true };
      });
    },
  };
  const { outputFiles } = await build({
    ...common,
    ...WRAPPER,
    stdin: { contents: file.text, resolveDir: dirname(file.path), sourcefile: file.path },
    plugins: [elsewhere],
    format: 'cjs',
    supported: { 'dynamic-import': false },
    minify: true,
    write: false,
  });
  return outputFiles[0].text;
}

/** {path: names} of what the cold files import of the hot one; `*`: everything. */
function namesTakenFromHot(cold) {
  const taken = new Map();
  const namesOf = (path) => {
    const names = taken.get(path) ?? new Set();
    taken.set(path, names);
    return names;
  };
  for (const { esm } of cold) {
    for (const [, names, path] of esm.matchAll(/\b(?:im|ex)port\s*\{([^}]*)\}\s*from\s*"hot:([^"]+)"/g)) {
      for (const name of names.split(',')) namesOf(path).add(name.trim().split(/\s+as\s+/)[0]);
    }
    for (const [, path] of esm.matchAll(/\bimport\s*\*\s*as\s+[\w$]+\s*from\s*"hot:([^"]+)"/g))
      namesOf(path).add('*');
    for (const [, path] of esm.matchAll(/\bimport\(\s*"hot:([^"]+)"\s*\)/g)) namesOf(path).add('*');
  }
  return taken;
}

/** `hot(path)` of its exports gives the cold files the modules that exist already: the same classes, the same state. */
async function buildHot({ top, common, packages, hot, exported }) {
  const imports = [];
  const cases = [];
  for (const [path, names] of exported) {
    const at = imports.length;
    if (names.has('*')) {
      imports.push(`import * as module${at} from './${path}';`);
      cases.push(`case '${path}': return module${at};`);
      continue;
    }
    const all = [...names];
    imports.push(
      `import { ${all.map((name, n) => `${name} as name${at}_${n}`).join(', ')} } from './${path}';`,
    );
    const getters = all.map((name, n) => `get ${name}() { return name${at}_${n}; }`);
    cases.push(`case '${path}': return { __esModule: true, ${getters.join(', ')} };`);
  }
  const contents = `${imports.join('\n')}
    import './${ENTRY}';
    exports.hot = (path) => { switch (path) { ${cases.join('\n')} } };`;
  const toCold = resolving(top, (path) =>
    hot.has(path) ? undefined : `cold:${relative('src', path).replace(/\.ts$/, '')}`,
  );
  await build({
    ...common,
    ...WRAPPER,
    stdin: { contents, resolveDir: top, sourcefile: 'hot.ts', loader: 'ts' },
    plugins: [packagesBeside(packages), atOnce(top, hot), toCold],
    outfile: join(top, 'dist', 'tinyrun.cjs'),
    format: 'cjs',
    // As require(): Node's own import() loads the loader of ES modules, 2 ms, and does not work in a cached script (bin/load.cjs).
    supported: { 'dynamic-import': false },
    minify: true,
  });
}

/**
 * A dynamic import of a file that is loaded anyway becomes a static one: esbuild then needs no function around each of the modules that
 * it reaches, nor a check at every use that it has run.
 */
function atOnce(top, hot) {
  return {
    name: 'at-once',
    setup({ onLoad }) {
      onLoad({ filter: /\/src\/.*\.ts$/ }, ({ path: file }) => {
        const imports = [];
        const text = readFileSync(file, 'utf8').replace(
          /(?<!typeof )\bimport\('(\.[^']*)'\)/g,
          (whole, path) => {
            if (!hot.has(relative(top, join(dirname(file), path)))) return whole;
            const name = `atOnce${imports.length}`;
            imports.push(`import * as ${name} from '${path}';`);
            return `Promise.resolve(${name})`;
          },
        );
        return { contents: `${imports.join('')}${text}`, loader: 'ts', resolveDir: dirname(file) };
      });
    },
  };
}

/** Sends imports of our own files elsewhere. @param nameOf undefined: as usual */
function resolving(top, nameOf) {
  return {
    name: 'elsewhere',
    setup({ onResolve }) {
      onResolve({ filter: /^\.\.?\// }, ({ path, resolveDir, kind }) => {
        if (kind === 'entry-point') return undefined;
        const name = nameOf(relative(top, join(resolveDir, path)));
        return name === undefined ? undefined : { path: name, external: true };
      });
    },
  };
}

/** Leads the program to the packages' own files. */
function packagesBeside(packages) {
  return {
    name: 'packages-beside',
    setup({ onResolve }) {
      const filter = new RegExp(`^(${packages.join('|')})$`);
      onResolve({ filter }, ({ path }) => ({ path: `./packages/${path}.cjs`, external: true }));
    },
  };
}
