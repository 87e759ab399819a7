import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A directory and the background processes of one benchmark, taken away together at its end. */
export function scratch() {
  const directory = mkdtempSync(join(process.env.BENCH_TMP ?? tmpdir(), 'tinyrun-bench-'));
  const undo = [];
  return {
    directory,
    path: (...parts) => join(directory, ...parts),
    /** Runs last-in first-out at the end. */
    defer: (action) => undo.push(action),
    daemon(command, args, options = {}) {
      const child = spawn(command, args, { stdio: 'ignore', ...options });
      undo.push(
        () => child.kill('SIGTERM'),
        () => spawnSync('sleep', ['1']),
      );
      return child;
    },
    dispose() {
      for (const action of undo.reverse()) {
        try {
          action();
        } catch (error) {
          console.error(`bench: cleaning up: ${error.message}`);
        }
      }
      spawnSync('sh', [
        '-c',
        `grep -o '${directory}[^ ]*' /proc/self/mountinfo | sort -ru | xargs -r -n1 umount -l`,
      ]);
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** Runs a command to its end; throws with its last words where it fails. */
export function must(command, args, options = {}) {
  const result = spawnSync(command, args, { encoding: 'utf8', maxBuffer: 1 << 28, ...options });
  if (result.status !== 0) {
    throw new Error(
      `${command} ${args.join(' ')}: exit ${result.status}: ${String(result.stderr).slice(-800)}`,
    );
  }
  return String(result.stdout ?? '');
}
