import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { clientSettings } from '../../../src/cli/client-settings.ts';
import { CONTAINER_COLUMNS, containerColumns, SIZE_COLUMN } from '../../../src/cli/container-columns.ts';
import { formatRows } from '../../../src/cli/format.ts';
import type { ContainerSummary } from '../../../src/engine/index.ts';

const container = {
  id: '0123456789abcdef'.repeat(4),
  name: 'web',
  status: 'running',
  state: { startedAt: '2026-01-01T00:00:00Z' },
  size: { own: 1500, virtual: 4_261_502 },
  record: {
    id: '0123456789abcdef'.repeat(4),
    name: 'web',
    created: '2026-01-01T00:00:00.123456789Z',
    args: ['sh', '-c', 'echo a long command line'],
    image: {
      platform: { os: 'linux', architecture: 'amd64' },
      config: { Labels: { 'com.example.some-key': 'v' } },
    },
    options: {
      image: 'busybox',
      labels: { a: 'b' },
      mounts: [{ type: 'bind', source: '/a/rather/long/path', target: '/x' }],
      network: { mode: { type: 'bridge', network: 'bridge' } },
    },
  },
} as unknown as ContainerSummary;

const shown = (format: string | undefined, truncate = true, table: string = CONTAINER_COLUMNS.table) =>
  formatRows([container], format, {
    ...CONTAINER_COLUMNS,
    table,
    fields: containerColumns({ now: Date.parse('2026-01-01T02:00:00Z'), truncate }),
  });

test.each([
  ['{{.ID}}', '0123456789ab'],
  ['{{.Command}}', `"sh -c 'echo a long …"`],
  ['{{.CreatedAt}}', '2026-01-01 00:00:00 +0000 UTC'],
  ['{{.RunningFor}} {{.Status}} {{.State}}', '2 hours ago Up 2 hours running'],
  ['{{.Size}}', '1.5kB (virtual 4.26MB)'],
  ['{{.Labels}}', 'a=b,com.example.some-key=v'],
  ['{{.Label "com.example.some-key"}} {{.Label "none"}}.', 'v .'],
  ['{{"a" | .Label}}', 'b'],
  ['{{.Mounts}} {{.Networks}} {{.Platform}}', '/a/rather/long… bridge linux/amd64'],
])('ps --format %j', (format, expected) => {
  expect(shown(format)).toBe(`${expected}\n`);
});

test('ps --no-trunc cuts nothing', () => {
  expect(shown('{{.Mounts}}|{{.Command}}', false)).toBe(
    `/a/rather/long/path|"sh -c 'echo a long command line'"\n`,
  );
});

test('a label is a column with a heading', () => {
  expect(shown('table {{.Names}}\t{{.Label "com.example.some-key"}}')).toBe(
    'NAMES     some key\nweb       v\n',
  );
});

test('json has all fields but the method', () => {
  const value = JSON.parse(shown('json'));
  expect(Object.keys(value)).toContain('HealthStatus');
  expect(Object.keys(value)).not.toContain('Label');
});

test('ps -s adds a column', () => {
  const [head, row] = shown(undefined, true, CONTAINER_COLUMNS.table + SIZE_COLUMN).split('\n');
  expect(head?.endsWith('NAMES     SIZE')).toBe(true);
  expect(row?.endsWith('web       1.5kB (virtual 4.26MB)')).toBe(true);
});

test('clientSettings() are those of Docker’s config.json', () => {
  const directory = mkdtempSync(join(tmpdir(), 'tinyrun-settings-'));
  const env = { DOCKER_CONFIG: directory };
  expect(clientSettings({ env })).toEqual({});
  writeFileSync(join(directory, 'config.json'), '{"psFormat":"{{.ID}}","statsFormat":7,"auths":{}}');
  expect(clientSettings({ env })).toEqual({ psFormat: '{{.ID}}' });
  writeFileSync(join(directory, 'config.json'), '{');
  expect(clientSettings({ env })).toEqual({});
  expect(clientSettings({ env: {} })).toEqual({});
  rmSync(directory, { recursive: true });
});
