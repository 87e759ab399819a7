import { accessSync, constants, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { test } from 'vitest';

const CHECKS = {
  root: () => process.getuid?.() === 0,
  nft: () => onPath('nft'),
  skopeo: () => onPath('skopeo'),
  umoci: () => onPath('umoci'),
  zstd: () => onPath('zstd'),
  'docker-registry': () => onPath('docker-registry'),
  'busybox-static': () => readable('/bin/busybox'),
  script: () => onPath('script'),
  tmux: () => onPath('tmux'),
  git: () => onPath('git'),
  xz: () => onPath('xz'),
  bzip2: () => onPath('bzip2'),
  overlay: () => readFileSync('/proc/filesystems', 'utf8').includes('overlay'),
} as const;

export type Requirement = keyof typeof CHECKS;

/**
 * `it` where everything is there. Elsewhere a skip, or, with TINYRUN_MUST_WORK=1, a failure: a suite must not be green
 * because nothing could run.
 */
export function needing(...requirements: readonly Requirement[]): typeof test {
  const missing = requirements.filter((name) => !CHECKS[name]());
  if (missing.length === 0) return test;
  if (process.env.TINYRUN_MUST_WORK === '1') {
    throw new Error(`These tests must work here, but this is missing: ${missing.join(', ')}`);
  }
  return test.skip as unknown as typeof test;
}

function readable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}

function onPath(command: string): boolean {
  const directories = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return directories.some((directory) => readable(join(directory, command)));
}
