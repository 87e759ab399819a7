import { describe, expect, it } from 'vitest';
import { droppingChains, rulesFor } from '../../../src/network/foreign-firewall.ts';

describe('rulesFor()', () => {
  it('finds our own rules for this bridge, as arguments', () => {
    const text = `-P FORWARD DROP
-N DOCKER-USER
-A FORWARD -i docker0 -j ACCEPT
-A FORWARD -i tinyrun0 -j ACCEPT
-A DOCKER-USER -i tinyrun0 -m comment --comment tinyrun -j ACCEPT
-A DOCKER-USER -o tinyrun0 -m comment --comment "tinyrun" -j ACCEPT
-A DOCKER-USER -i tr-a1b2c3 -m comment --comment tinyrun -j ACCEPT
`;
    expect(rulesFor(text, 'tinyrun0')).toEqual([
      ['DOCKER-USER', '-i', 'tinyrun0', '-m', 'comment', '--comment', 'tinyrun', '-j', 'ACCEPT'],
      ['DOCKER-USER', '-o', 'tinyrun0', '-m', 'comment', '--comment', 'tinyrun', '-j', 'ACCEPT'],
    ]);
  });
});

describe('droppingChains()', () => {
  it('finds base chains of the forward hook that drop, but for our own table', () => {
    const chain = (name: string, hook: string, policy: string): string =>
      `\tchain ${name} {\n\t\ttype filter hook ${hook} priority filter; policy ${policy};\n\t}\n`;
    const text = `table ip filter {
${chain('INPUT', 'input', 'drop')}${chain('FORWARD', 'forward', 'drop')}}
table inet tinyrun {
${chain('forward', 'forward', 'drop')}}
table inet fw {
${chain('fine', 'forward', 'accept')}\tchain plain {\n\t}\n${chain('strict', 'forward', 'drop')}}
`;
    expect(droppingChains(text, 'tinyrun')).toEqual(['ip filter FORWARD', 'inet fw strict']);
    expect(droppingChains('', 'tinyrun')).toEqual([]);
  });
});
