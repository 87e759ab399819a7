/**
 * Firewalls of others. An accept in tinyrun's table is final only there: where another table drops what is forwarded (Docker and
 * ufw set the policy of iptables' FORWARD to DROP), containers would reach nothing. So the bridge is let through there, in
 * DOCKER-USER where Docker has made that chain for such rules. Done once, when the bridge is made.
 */
import type { NetworkHost } from './host.ts';

const COMMENT = ['-m', 'comment', '--comment', 'tinyrun'];
const WAIT = ['-w', '5'];

/** Lets the bridge's packets through; which of them a container gets is decided by tinyrun's own table. @returns warnings */
export async function letThrough(host: NetworkHost, bridge: string, table: string): Promise<string[]> {
  const chains = (await host.run('nft', ['list', 'chains'])) ?? '';
  const programs = await iptablesInUse(host, chains);
  for (const program of programs) {
    const forward = (await host.run(program, [...WAIT, '-S', 'FORWARD'])) ?? '';
    if (!/^-P FORWARD DROP$/m.test(forward)) continue;
    const dockers = await host.run(program, [...WAIT, '-S', 'DOCKER-USER']);
    const [chain, rules] = dockers === undefined ? ['FORWARD', forward] : ['DOCKER-USER', dockers];
    for (const direction of ['-i', '-o']) {
      if (rules.includes(` ${direction} ${bridge} `)) continue;
      await host.run(program, [...WAIT, '-I', chain, direction, bridge, ...COMMENT, '-j', 'ACCEPT']);
    }
  }
  return droppingChains(chains, table)
    .filter((chain) => !(/^ip6? filter FORWARD$/.test(chain) && programs.length > 0))
    .map(
      (chain) =>
        `The firewall's chain "${chain}" drops what is forwarded: containers reach nothing beyond this host. ` +
        `Let them through with: nft insert rule ${chain} iifname ${bridge} accept; nft insert rule ${chain} oifname ${bridge} accept`,
    );
}

/** Takes the bridge's rules out of iptables again. */
export async function forgetForeignRules(host: NetworkHost, bridge: string): Promise<void> {
  const chains = (await host.run('nft', ['list', 'chains'])) ?? '';
  for (const program of await iptablesInUse(host, chains)) {
    const rules = (await host.run(program, [...WAIT, '-S'])) ?? '';
    for (const rule of rulesFor(rules, bridge)) await host.run(program, [...WAIT, '-D', ...rule]);
  }
}

/**
 * The programs for those tables `filter` of iptables that exist: merely asking for a table that does not would make it. The old
 * ones of the kernel and those in nf_tables may exist side by side, each with a program of its own.
 */
async function iptablesInUse(host: NetworkHost, chains: string): Promise<string[]> {
  const programs: string[] = [];
  for (const [program, family, names] of [
    ['iptables', 'ip', '/proc/net/ip_tables_names'],
    ['ip6tables', 'ip6', '/proc/net/ip6_tables_names'],
  ] as const) {
    const variants: string[] = [];
    if (/^filter$/m.test(host.readText(names) ?? '')) variants.push('legacy');
    if (new RegExp(`^table ${family} filter \\{`, 'm').test(chains)) variants.push('nft');
    for (const variant of variants) {
      const own = `${program}-${variant}`;
      const exists = (await host.run(own, ['--version'])) !== undefined;
      if (exists) programs.push(own);
      else if ((await host.run(program, ['--version'])) !== undefined) programs.push(program);
    }
  }
  return programs;
}

/** Pure: the arguments of our rules in the text of `iptables -S`, without the leading `-A`. */
export function rulesFor(text: string, bridge: string): string[][] {
  return text
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(
      ([append, , , name, ...rest]) =>
        append === '-A' && name === bridge && /--comment "?tinyrun"?( |$)/.test(rest.join(' ')),
    )
    .map(([, ...rule]) => rule.map((word) => word.replace(/^"(.*)"$/, '$1')));
}

/** Pure: base chains of the hook `forward` with policy drop, as `family table chain`, in the text of `nft list chains`. */
export function droppingChains(text: string, ownTable: string): string[] {
  const found: string[] = [];
  let table = '';
  let chain = '';
  for (const line of text.split('\n')) {
    table = /^table (\S+ \S+) \{/.exec(line)?.[1] ?? table;
    chain = /^\s+chain (\S+) \{/.exec(line)?.[1] ?? chain;
    if (/hook forward .*policy drop;/.test(line) && table !== `inet ${ownTable}`)
      found.push(`${table} ${chain}`);
  }
  return found;
}
