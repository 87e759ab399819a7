import { readdirSync, readFileSync } from 'node:fs';

/** PSS of the processes that exist because of an idle detached container, its own program left out; kB per container. */
export function memoryTable(engines, count) {
  const rows = engines.map((engine) => {
    const before = new Set(matching(engine.overhead));
    const ids = Array.from({ length: count }, () => engine.sleeper());
    const pids = matching(engine.overhead).filter((pid) => !before.has(pid));
    const kilobytes = pids.reduce((sum, pid) => sum + pss(pid), 0) / count;
    for (const id of ids) engine.remove(id);
    return { name: engine.name, kilobytes, processes: pids.length / count };
  });
  const [first] = rows;
  return [
    '',
    `**memory per idle detached container** (PSS, mean of ${count})`,
    '',
    `| | kB | processes | ${first.name} is × |`,
    '|---|---|---|---|',
    ...rows.map(({ name, kilobytes, processes }) => {
      const ratio = name === first.name ? '' : (first.kilobytes / kilobytes).toFixed(3);
      return `| ${name} | ${kilobytes.toFixed(0)} | ${processes} | ${ratio} |`;
    }),
  ].join('\n');
}

function matching(pattern) {
  return readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      const [program] = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
      return pattern.test(program) || pattern.test(readFileSync(`/proc/${pid}/comm`, 'utf8'));
    } catch {
      return false;
    }
  });
}

export function pss(pid) {
  try {
    return Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0);
  } catch {
    return 0;
  }
}
