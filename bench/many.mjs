/** How fast each engine starts and removes many detached containers, one command after the other. */
export function manyTable(engines, count) {
  const rows = engines.map((engine) => {
    const ids = [];
    const start = timed(() => {
      for (let at = 0; at < count; at += 1) ids.push(engine.sleeper());
    });
    const remove = timed(() => {
      for (const id of ids) engine.remove(id);
    });
    return { name: engine.name, started: count / start, removed: count / remove };
  });
  const [first] = rows;
  return [
    '',
    `**${count} detached containers, one after the other**`,
    '',
    `| | started per second | removed per second | ${first.name} starts × |`,
    '|---|---|---|---|',
    ...rows.map(({ name, started, removed }) => {
      const ratio = name === first.name ? '' : (first.started / started).toFixed(1);
      return `| ${name} | ${started.toFixed(1)} | ${removed.toFixed(1)} | ${ratio} |`;
    }),
  ].join('\n');
}

function timed(act) {
  const start = process.hrtime.bigint();
  act();
  return Number(process.hrtime.bigint() - start) / 1e9;
}
