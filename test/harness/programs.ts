import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

/** Compiles test/fixtures/NAME.c to a static program in `directory` and gives its path. */
export function compileFixture(name: string, directory: string): string {
  const output = join(directory, name);
  if (!existsSync(output)) {
    const source = join(import.meta.dirname, '..', 'fixtures', `${name}.c`);
    execFileSync('cc', ['-static', '-Os', '-Wall', '-o', output, source]);
  }
  return output;
}
