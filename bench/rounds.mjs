/**
 * @param competitors [{name, before?, once, cpu?}]; the first one is compared with the others; `cpu` tells the seconds of
 *   processor time that the competitor's processes have used so far
 * @returns rows {name, seconds[], cpu[]}
 */
export function measure(competitors, rounds) {
  const rows = competitors.map(({ name }) => ({ name, seconds: [], cpu: [] }));
  for (let round = -1; round < rounds; round += 1) {
    for (const [index, { before, once, cpu }] of competitors.entries()) {
      before?.(round);
      const used = cpu?.() ?? 0;
      const start = process.hrtime.bigint();
      once(round);
      const seconds = Number(process.hrtime.bigint() - start) / 1e9;
      // The first round warms caches up and is not counted.
      if (round < 0) continue;
      rows[index].seconds.push(seconds);
      if (cpu !== undefined) rows[index].cpu.push(cpu() - used);
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
  const hasCpu = first.cpu.length > 0;
  const line = ({ name, seconds, cpu }) => {
    const ratio =
      name === first.name
        ? ''
        : median(first.seconds.map((value, round) => value / seconds[round])).toFixed(3);
    const time = hasCpu ? ` ${cpu.length > 0 ? `${median(cpu).toFixed(2)} s` : ''} |` : '';
    return `| ${name} | ${(median(seconds) * 1000).toFixed(1)} ms | ${(Math.min(...seconds) * 1000).toFixed(1)} ms |${time} ${ratio} |`;
  };
  return [
    '',
    `**${title}** (${first.seconds.length} paired rounds)`,
    '',
    `| | median | min |${hasCpu ? ' processor |' : ''} ${first.name} is × |`,
    `|---|---|---|${hasCpu ? '---|' : ''}---|`,
    ...[first, ...others].map(line),
  ].join('\n');
}
