/**
 * The whole suite, and one line at the end that says how it went: `N passed, N failed[, N skipped]`.
 * TINYRUN_MUST_WORK=1 turns every skip into a failure.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const top = dirname(dirname(fileURLToPath(import.meta.url)));
const directory = mkdtempSync(join(tmpdir(), 'tinyrun-results-'));
const total = { passed: 0, failed: 0, skipped: 0 };
let broken = false;

// One after the other: the integration tests look at the whole machine for what a test leaves behind.
for (const project of ['unit', 'integration', 'v2']) {
  const results = join(directory, `${project}.json`);
  const { status } = spawnSync(
    process.execPath,
    [
      'node_modules/vitest/vitest.mjs',
      'run',
      '--project',
      project,
      '--reporter=default',
      '--reporter=json',
      `--outputFile.json=${results}`,
    ],
    { cwd: top, stdio: ['ignore', 'inherit', 'inherit'] },
  );
  try {
    const report = JSON.parse(readFileSync(results, 'utf8'));
    total.passed += report.numPassedTests;
    total.failed += report.numFailedTests;
    total.skipped += report.numPendingTests + report.numTodoTests;
    // A file that cannot be loaded, or a leak found at the end, fails no test of its own.
    if (status !== 0 && report.numFailedTests === 0) total.failed += 1;
  } catch {
    total.failed += 1;
  }
  broken ||= status !== 0;
}
rmSync(directory, { recursive: true, force: true });

if (process.env.TINYRUN_MUST_WORK === '1' && total.skipped > 0) {
  total.failed += total.skipped;
  broken = true;
}
const skipped =
  total.skipped > 0 && process.env.TINYRUN_MUST_WORK !== '1' ? `, ${total.skipped} skipped` : '';
console.log(`${total.passed} passed, ${total.failed} failed${skipped}`);
process.exitCode = broken || total.failed > 0 || total.passed === 0 ? 1 : 0;
