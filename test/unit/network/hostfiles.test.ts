import { describe, expect, it, test } from 'vitest';
import { hostnameFile, hostsFile, parseExtraHost, resolvFile } from '../../../src/network/hostfiles.ts';

const hosts = { addresses: ['172.29.0.2'], hostname: 'web', extraHosts: [] };

describe('hostsFile()', () => {
  it("is Docker's, with the extra hosts before the own name", () => {
    const text = hostsFile({
      addresses: ['172.29.0.2', 'fd00::2'],
      hostname: 'web',
      domainname: 'example.org',
      extraHosts: ['db:10.0.0.5', 'six:[fd00::9]', 'host.docker.internal:host-gateway'],
      hostGateway: '172.29.0.1',
    });
    expect(text).toBe(`127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
10.0.0.5\tdb
fd00::9\tsix
172.29.0.1\thost.docker.internal
172.29.0.2\tweb.example.org web
fd00::2\tweb.example.org web
`);
  });

  it("starts with the host's own file in the host's network", () => {
    const text = hostsFile({
      addresses: [],
      hostname: 'web',
      extraHosts: ['a:1.2.3.4'],
      base: '127.0.0.1 localhost',
    });
    expect(text).toBe('127.0.0.1 localhost\n1.2.3.4\ta\n');
  });

  test.each(['web\nevil', 'a b', 'a\tb', '', 'x\0', 'a#b', 'a\u2028b', `${'x'.repeat(256)}`])(
    'refuses the hostname %j',
    (hostname) => {
      expect(() => hostsFile({ ...hosts, hostname })).toThrow('Cannot use the hostname');
      expect(() => hostnameFile(hostname)).toThrow('Cannot use the hostname');
    },
  );
});

describe('parseExtraHost()', () => {
  it('takes `=` too, and IPv6 with and without brackets', () => {
    expect(parseExtraHost('a=1.2.3.4', undefined)).toEqual({ name: 'a', address: '1.2.3.4' });
    expect(parseExtraHost('a:fd00::1', undefined)).toEqual({ name: 'a', address: 'fd00::1' });
  });
  test.each([
    ['a', 'bad format for add-host: "a"'],
    [':1.2.3.4', 'bad format for add-host: ":1.2.3.4"'],
    ['a:', 'bad format for add-host: "a:"'],
    ['a\nb:1.2.3.4', 'bad format for add-host: "a\\nb:1.2.3.4"'],
    ['a:1.2.3', 'invalid IP address in add-host: "1.2.3"'],
    ['a:1.2.3.4\n5.6.7.8 b', 'invalid IP address in add-host: "1.2.3.4\\n5.6.7.8 b"'],
    ['a:host-gateway', 'Cannot add the host "a": this network has no gateway to the host'],
  ])('refuses %j', (text, message) => {
    expect(() => parseExtraHost(text, undefined)).toThrow(message);
  });
});

describe('resolvFile()', () => {
  const input = {
    host: 'nameserver 192.0.2.53\n',
    resolved: () => undefined,
    dns: [],
    dnsSearch: [],
    dnsOptions: [],
    ipv6: true,
    sameNetwork: false,
  };

  it('names the container’s own resolver, and keeps search and options', () => {
    const host = 'nameserver 127.0.0.53\nsearch lan\noptions timeout:1\n';
    expect(resolvFile({ ...input, host, ownResolver: true })).toBe(
      'nameserver 127.0.0.11\nsearch lan\noptions timeout:1 ndots:0\n',
    );
    expect(resolvFile({ ...input, host, ownResolver: true, dnsOptions: ['ndots:3'] })).toBe(
      'nameserver 127.0.0.11\nsearch lan\noptions ndots:3\n',
    );
  });

  it('keeps what a container can reach', () => {
    const host = `# comment
domain example.net
nameserver 127.0.0.1
nameserver 192.0.2.53 ; near
nameserver fe80::1%eth0
nameserver 2001:db8::53
search example.org example.com
options ndots:2
options timeout:1
`;
    expect(resolvFile({ ...input, host })).toBe(
      'nameserver 192.0.2.53\nnameserver 2001:db8::53\nsearch example.org example.com\noptions ndots:2 timeout:1\n',
    );
    expect(resolvFile({ ...input, host, ipv6: false })).not.toContain('2001:db8::53');
  });

  it('asks for the real servers where the host names only a stub', () => {
    const host = 'nameserver 127.0.0.53\noptions edns0\nsearch lan\n';
    const resolved = (): string => 'nameserver 10.0.0.1\nsearch lan\n';
    expect(resolvFile({ ...input, host, resolved })).toBe('nameserver 10.0.0.1\nsearch lan\n');
    expect(resolvFile({ ...input, host })).toBe(
      'nameserver 8.8.8.8\nnameserver 8.8.4.4\nsearch lan\noptions edns0\n',
    );
  });

  it("leaves the stub to a container in the host's network", () => {
    expect(resolvFile({ ...input, host: 'nameserver 127.0.0.53\n', sameNetwork: true })).toBe(
      'nameserver 127.0.0.53\n',
    );
  });

  it('falls back to public servers without a file', () => {
    expect(resolvFile({ ...input, host: undefined })).toBe('nameserver 8.8.8.8\nnameserver 8.8.4.4\n');
  });

  it('replaces what is given', () => {
    const text = resolvFile({
      ...input,
      dns: ['1.1.1.1', '127.0.0.1'],
      dnsSearch: ['.'],
      dnsOptions: ['ndots:5'],
    });
    expect(text).toBe('nameserver 1.1.1.1\nnameserver 127.0.0.1\noptions ndots:5\n');
  });

  test.each([
    [{ dns: ['one'] }, 'one is not an ip address'],
    [{ dns: ['1.1.1.1\nnameserver 6.6.6.6'] }, '1.1.1.1\\nnameserver 6.6.6.6 is not an ip address'],
    [{ dnsSearch: ['a\nb'] }, 'Cannot use the DNS search domain "a\\nb"'],
    [{ dnsOptions: ['a b'] }, 'Cannot use the DNS option "a b"'],
  ])('refuses %j', (given, message) => {
    expect(() => resolvFile({ ...input, ...given })).toThrow(message);
  });
});
