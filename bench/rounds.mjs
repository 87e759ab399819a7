/**
 * @param competitors [{name, before?, once}]; the first one is compared with the others
 * @returns rows {name, seconds[]}
 */
export function measure(competitors, rounds) {
  const rows = competitors.map(({ name }) => ({ name, seconds: [] }));
  for (let round = -1; round < rounds; round += 1) {
    for (const [index, { before, once }] of competitors.entries()) {
      before?.();
      const start = process.hrtime.bigint();
      once();
      const seconds = Number(process.hrtime.bigint() - start) / 1e9;
      // The first round warms caches up and is not counted.
      if (round >= 0) rows[index].seconds.push(seconds);
    }
  }
  return rows;
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** A table of medians, and of the first row's median paired ratio to each of the others. */
export function markdown(title, rows) {
  const [first, ...others] = rows;
  const line = ({ name, seconds }) => {
    const ratio =
      name === first.name
        ? ''
        : median(first.seconds.map((value, round) => value / seconds[round])).toFixed(3);
    return `| ${name} | ${(median(seconds) * 1000).toFixed(1)} ms | ${(Math.min(...seconds) * 1000).toFixed(1)} ms | ${ratio} |`;
  };
  return [
    '',
    `**${title}** (${first.seconds.length} paired rounds)`,
    '',
    `| | median | min | ${first.name} is × |`,
    '|---|---|---|---|',
    ...[first, ...others].map(line),
  ].join('\n');
}
