/**
 * Columns as Go's tabwriter sets them for Docker: as wide as the widest cell, at least 10, three spaces between, the last
 * column unpadded.
 */
export function renderTable(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) {
    row.slice(0, -1).forEach((cell, column) => {
      widths[column] = Math.max(widths[column] ?? MINIMUM, width(cell) + PADDING);
    });
  }
  return rows
    .map((row) => {
      const cells = row.map((cell, column) =>
        column === row.length - 1
          ? cell
          : cell + ' '.repeat(Math.max(0, (widths[column] ?? 0) - width(cell))),
      );
      return `${cells.join('')}\n`;
    })
    .join('');
}

const MINIMUM = 10;
const PADDING = 3;

/** Code points: what tabwriter counts. */
function width(text: string): number {
  let count = 0;
  for (const _ of text) count += 1;
  return count;
}

/** At most `length` code points, the last one an ellipsis where something was cut. */
export function ellipsis(text: string, length: number): string {
  const points = [...text];
  if (points.length <= length) return text;
  return `${points.slice(0, length - 1).join('')}…`;
}
