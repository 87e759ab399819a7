import { defineConfig } from 'vitest/config';

/**
 * `unit` needs no root and takes seconds; `integration` drives the real CLI as root, one file at a time; `v2` boots a
 * cgroup v2 host (User-mode Linux) and checks the limits there.
 */
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/unit/**/*.test.ts'],
          environment: 'node',
          // They take milliseconds; a machine that does something else besides must not fail them.
          testTimeout: 30_000,
        },
      },
      {
        test: {
          name: 'integration',
          include: ['test/integration/**/*.test.ts'],
          environment: 'node',
          fileParallelism: false,
          testTimeout: 60_000,
          hookTimeout: 120_000,
          globalSetup: ['test/harness/global.ts'],
        },
      },
      {
        test: {
          name: 'v2',
          include: ['test/v2/**/*.test.ts'],
          environment: 'node',
          globalSetup: ['test/harness/global.ts'],
        },
      },
    ],
  },
});
