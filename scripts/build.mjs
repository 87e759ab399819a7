/**
 * Bundles the TypeScript: dist/tinyrun.cjs and dist/cold (the program, see bundle.mjs), beside it the packages that hardly any
 * command needs, and dist/engine.js with dist/types (the library). koffi stays outside: its binary is loaded by path.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { bundleProgram } from './bundle.mjs';

const top = dirname(dirname(fileURLToPath(import.meta.url)));
const { version } = JSON.parse(readFileSync(join(top, 'package.json'), 'utf8'));
const common = {
  bundle: true,
  platform: 'node',
  target: 'node20',
  external: ['koffi'],
  define: { TINYRUN_VERSION: JSON.stringify(version) },
  logLevel: 'warning',
  absWorkingDir: top,
};

/** A third of the program, and loaded to pull or for help only. */
const packages = [
  'bcryptjs',
  'commander',
  'http-proxy-agent',
  'https-proxy-agent',
  'node-fetch',
  'smol-toml',
];

await Promise.all([
  build({
    ...common,
    entryPoints: packages,
    outdir: 'dist/packages',
    outExtension: { '.js': '.cjs' },
    format: 'cjs',
    minify: true,
    // For who imports it as Node does: the module itself is its default export.
    footer: {
      js: 'if(module.exports.default)module.exports=Object.assign(module.exports.default,module.exports);',
    },
  }),
  bundleProgram({
    top,
    common: {
      ...common,
      define: { ...common.define, 'import.meta.url': '__filename', 'import.meta.dirname': '__dirname' },
    },
    packages,
  }),
  build({
    ...common,
    entryPoints: ['src/engine/index.ts'],
    outfile: 'dist/engine.js',
    format: 'esm',
    packages: 'external',
    splitting: false,
  }),
]);

await carrySeccompPrograms();

if (!process.argv.includes('--no-types')) {
  rmSync(join(top, 'dist/types'), { recursive: true, force: true });
  execFileSync(
    process.execPath,
    [join(top, 'node_modules/typescript/bin/tsc'), '-p', 'tsconfig.types.json'],
    {
      cwd: top,
      stdio: 'inherit',
    },
  );
}

/** The default seccomp filters, compiled here, so that the package needs no libseccomp where it is installed. */
async function carrySeccompPrograms() {
  const native = join(top, 'dist', 'native', process.arch);
  if (!existsSync(join(native, 'libtinyrun.so'))) return;
  const bundle = join(top, 'dist', 'seccomp-programs.mjs');
  const source =
    "export { carriedPrograms } from './src/runtime/seccomp/seccomp.ts'; export { useNativeDirectory } from './src/native/library.ts';";
  await build({
    ...common,
    stdin: { contents: source, resolveDir: top },
    outfile: bundle,
    format: 'esm',
    packages: 'external',
  });
  try {
    const { carriedPrograms, useNativeDirectory } = await import(bundle);
    useNativeDirectory(native);
    for (const [hash, program] of await carriedPrograms(process.arch))
      writeFileSync(join(native, hash), program);
  } finally {
    rmSync(bundle, { force: true });
  }
}
