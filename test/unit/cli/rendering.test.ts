import { expect, test } from 'vitest';
import { ago, humanDuration } from '../../../src/cli/duration.ts';
import { formatRows } from '../../../src/cli/format.ts';
import { displayPorts } from '../../../src/cli/published-ports.ts';
import { humanSize } from '../../../src/cli/size.ts';
import { ellipsis, renderTable } from '../../../src/cli/table.ts';

const S = 1000;
const M = 60 * S;
const H = 60 * M;
const D = 24 * H;

test.each([
  [-5, 'Less than a second'],
  [450, 'Less than a second'],
  [1 * S, '1 second'],
  [45 * S, '45 seconds'],
  [60 * S, 'About a minute'],
  [119 * S, 'About a minute'],
  [3 * M, '3 minutes'],
  [59 * M, '59 minutes'],
  [60 * M, 'About an hour'],
  [89 * M, 'About an hour'],
  [90 * M, '2 hours'],
  [47 * H, '47 hours'],
  [48 * H, '2 days'],
  [13 * D, '13 days'],
  [14 * D, '2 weeks'],
  [35 * D, '5 weeks'],
  [60 * D, '2 months'],
  [364 * D, '12 months'],
  [2 * 365 * D, '2 years'],
])('humanDuration() of %i ms', (milliseconds, text) => {
  expect(humanDuration(milliseconds)).toBe(text);
});

test('ago() is empty for a time that is not known', () => {
  expect(ago('2020-01-01T00:00:00Z', Date.parse('2020-01-01T02:00:00Z'))).toBe('2 hours ago');
  expect(ago('0001-01-01T00:00:00Z', 0)).toBe('');
  expect(ago(undefined, 0)).toBe('');
});

test.each([
  [0, '0B'],
  [999, '999B'],
  [1000, '1kB'],
  [13_256, '13.3kB'],
  [4_261_502, '4.26MB'],
  [1_500_000_000, '1.5GB'],
])('humanSize() of %i bytes', (bytes, text) => {
  expect(humanSize(bytes)).toBe(text);
});

test("renderTable() sets columns as Go's tabwriter does", () => {
  expect(
    renderTable([
      ['ID', 'NAME', 'STATE'],
      ['123456789012', 'a', 'x'],
    ]),
  ).toBe('ID             NAME      STATE\n123456789012   a         x\n');
});

test('ellipsis() counts code points', () => {
  expect(ellipsis('abcdef', 6)).toBe('abcdef');
  expect(ellipsis('abcdefg', 6)).toBe('abcde…');
  expect(ellipsis('äöüäöü', 3)).toBe('äö…');
});

test('displayPorts() joins neighbours', () => {
  const both = (port: string) => [
    { HostIp: '0.0.0.0', HostPort: port },
    { HostIp: '::', HostPort: port },
  ];
  expect(displayPorts({ '8080/tcp': both('8080') })).toBe('0.0.0.0:8080->8080/tcp, [::]:8080->8080/tcp');
  expect(
    displayPorts({
      '81/tcp': [{ HostIp: '0.0.0.0', HostPort: '8081' }],
      '80/tcp': [{ HostIp: '0.0.0.0', HostPort: '8080' }],
      '82/tcp': [{ HostIp: '0.0.0.0', HostPort: '9000' }],
    }),
  ).toBe('0.0.0.0:8080-8081->80-81/tcp, 0.0.0.0:9000->82/tcp');
  expect(displayPorts({ '53/udp': null, '53/tcp': null, '54/tcp': null })).toBe('53-54/tcp, 53/udp');
  expect(displayPorts({})).toBe('');
});

test('formatRows() makes tables, other tables, and a line for each row', () => {
  const columns = {
    headings: { ID: 'ID', Name: 'NAME' },
    table: '{{.ID}}\t{{.Name}}',
    fields: (row: { id: string }) => ({ ID: row.id, Name: `n${row.id}` }),
  };
  const rows = [{ id: '1' }, { id: '2' }];
  expect(formatRows(rows, undefined, columns)).toBe('ID        NAME\n1         n1\n2         n2\n');
  expect(formatRows(rows, 'table {{.Name}}', columns)).toBe('NAME\nn1\nn2\n');
  expect(formatRows(rows, '{{.ID}}\\t{{.Name}}', columns)).toBe('1\tn1\n2\tn2\n');
  expect(formatRows(rows, 'json', columns)).toBe('{"ID":"1","Name":"n1"}\n{"ID":"2","Name":"n2"}\n');
  expect(() => formatRows(rows, '{{.Nope}}', columns)).toThrow('template parsing error');
});
