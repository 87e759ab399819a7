import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { endpointsFor } from '../../../src/registry/mirrors.ts';
import { parseReference } from '../../../src/registry/reference.ts';
import { loadRegistriesConf, parseRegistriesConf } from '../../../src/registry/registries-conf.ts';
import { expandShortName } from '../../../src/registry/short-names.ts';

const DIGEST = `sha256:${'a'.repeat(64)}`;

const CONF = `
unqualified-search-registries = ["r.example.com", "docker.io"]

[aliases]
"fedora" = "registry.fedoraproject.org/fedora"
"team/app" = "r.example.com/team/app"

[[registry]]
location = "docker.io"
[[registry.mirror]]
location = "mirror.local:5000/hub"
insecure = true
[[registry.mirror]]
location = "digests.local"
pull-from-mirror = "digest-only"
[[registry.mirror]]
location = "tags.local"
pull-from-mirror = "tag-only"

[[registry]]
prefix = "r.io/a"
location = "other.io/b"

[[registry]]
prefix = "r.io/a/deep"
location = "deep.io"
insecure = true

[[registry]]
prefix = "*.example.net"
location = "wild.io"

[[registry]]
location = "bad.io"
blocked = true

[[registry]]
location = "strict.io"
mirror-by-digest-only = true
[[registry.mirror]]
location = "m.strict.io"
`;

describe('endpointsFor()', () => {
  it.each([
    [
      'busybox',
      ['mirror.local:5000/hub/library/busybox!', 'tags.local/library/busybox', 'docker.io/library/busybox'],
    ],
    [
      `busybox@${DIGEST}`,
      [
        'mirror.local:5000/hub/library/busybox!',
        'digests.local/library/busybox',
        'docker.io/library/busybox',
      ],
    ],
    ['r.io/a/x', ['other.io/b/x']],
    ['r.io/a', ['other.io/b']],
    ['r.io/ab', ['r.io/ab']],
    ['r.io/a/deep/x:1', ['deep.io/x!']],
    ['x.example.net/i', ['wild.io/i']],
    ['x.y.example.net/i', ['wild.io/i']],
    ['example.net/i', ['example.net/i']],
    ['strict.io/x', ['strict.io/x']],
    [`strict.io/x@${DIGEST}`, ['m.strict.io/x', 'strict.io/x']],
    ['unknown.io/x', ['unknown.io/x']],
  ])('leads %s to %j', async (text, expected) => {
    const config = await parseRegistriesConf(CONF, 'test.conf');
    const found = endpointsFor(parseReference(text), config);
    expect(
      found.map(({ host, repository, insecure }) => `${host}/${repository}${insecure ? '!' : ''}`),
    ).toEqual(expected);
    expect(found.map(({ isMirror }) => isMirror).indexOf(false)).toBe(found.length - 1);
  });

  it('refuses a blocked registry, naming the file', async () => {
    const config = await parseRegistriesConf(CONF, 'test.conf');
    expect(() => endpointsFor(parseReference('bad.io/x'), config)).toThrow(
      'Cannot pull "bad.io/x": registry "bad.io" is blocked in "test.conf"',
    );
  });
});

describe('expandShortName()', () => {
  it.each([
    ['fedora', ['registry.fedoraproject.org/fedora']],
    ['team/app', ['r.example.com/team/app']],
    ['busybox', ['r.example.com/busybox', 'docker.io/library/busybox']],
    ['docker.io/busybox', ['docker.io/library/busybox']],
    ['localhost/x', ['localhost/x']],
  ])('%s may be %j', async (text, expected) => {
    const config = await parseRegistriesConf(CONF, 'test.conf');
    const found = expandShortName(text, parseReference(text), config);
    expect(found.map(({ registry, repository }) => `${registry}/${repository}`)).toEqual(expected);
  });

  it('keeps the tag', async () => {
    const config = await parseRegistriesConf(CONF, 'test.conf');
    expect(expandShortName('fedora:40', parseReference('fedora:40'), config)).toMatchObject([{ tag: '40' }]);
  });
});

describe('parseRegistriesConf()', () => {
  it.each([
    ['broken TOML', '[[registry', 'Cannot read "test.conf"'],
    ['version 1', '[registries.search]\nregistries = ["x"]', 'version 1 format'],
    ['no place', '[[registry]]\ninsecure = true', '"registry[0].prefix" is not there'],
    ['a URL', '[[registry]]\nlocation = "https://r.io"', '"registry[0].location" is not a host'],
    [
      'a flag as text',
      '[[registry]]\nlocation = "r.io"\nblocked = "yes"',
      '"registry[0].blocked" is not true or false',
    ],
    [
      'a wild path',
      '[[registry]]\nprefix = "*.r.io/x"\nlocation = "y"',
      '"registry[0].prefix" is not a host',
    ],
    [
      'a mirror without place',
      '[[registry]]\nlocation = "r.io"\n[[registry.mirror]]\ninsecure = true',
      '"registry[0].mirror[0].location"',
    ],
    [
      'an odd pull-from-mirror',
      '[[registry]]\nlocation = "r.io"\n[[registry.mirror]]\nlocation = "m"\npull-from-mirror = "x"',
      'pull-from-mirror',
    ],
    ['an alias that is short', '[aliases]\nx = "y"', '"aliases.x" is not a full name'],
  ])('refuses %s', async (_name, text, message) => {
    await expect(parseRegistriesConf(text, 'test.conf')).rejects.toThrow(message);
  });
});

describe('loadRegistriesConf()', () => {
  let home: string;
  beforeEach(() => {
    home = mkdtempSync(join(tmpdir(), 'tinyrun-conf-'));
    mkdirSync(join(home, 'containers', 'registries.conf.d'), { recursive: true });
  });
  afterEach(() => rmSync(home, { recursive: true, force: true }));
  const rule = (prefix: string, location: string) =>
    `[[registry]]\nprefix = "${prefix}"\nlocation = "${location}"\n`;
  const write = (name: string, text: string) => writeFileSync(join(home, name), text);

  it('reads nothing where there is nothing', async () => {
    const config = await loadRegistriesConf({}, [join(home, 'none')], join(home, 'none'));
    expect(config).toEqual({ rules: [], aliases: new Map(), searchRegistries: [] });
  });

  it("takes the first file's word for a prefix: own, drop-ins, the file", async () => {
    write('own.conf', rule('a.io', 'own'));
    write('containers/registries.conf', rule('a.io', 'user') + rule('b.io', 'user') + rule('c.io', 'user'));
    write('containers/registries.conf.d/10.conf', rule('b.io', 'ten') + rule('c.io', 'ten'));
    write('containers/registries.conf.d/20.conf', rule('c.io', 'twenty'));
    write('containers/registries.conf.d/30.off', rule('c.io', 'off'));
    const { rules } = await loadRegistriesConf({ XDG_CONFIG_HOME: home }, undefined, join(home, 'own.conf'));
    const location = (prefix: string) => rules.find((one) => one.prefix === prefix)?.location;
    expect([location('a.io'), location('b.io'), location('c.io')]).toEqual(['own', 'ten', 'twenty']);
  });

  it('takes short names from its own file only', async () => {
    const names = 'unqualified-search-registries = ["evil.io"]\n[aliases]\nbusybox = "evil.io/x"\n';
    write('containers/registries.conf', names);
    const others = await loadRegistriesConf({ XDG_CONFIG_HOME: home }, undefined, join(home, 'none'));
    expect(others).toMatchObject({ aliases: new Map(), searchRegistries: [] });
    const own = await loadRegistriesConf({}, [], join(home, 'containers/registries.conf'));
    expect(own).toMatchObject({
      aliases: new Map([['busybox', 'evil.io/x']]),
      searchRegistries: ['evil.io'],
    });
  });

  it('reads CONTAINERS_REGISTRIES_CONF in place of all others', async () => {
    write('given.conf', rule('a.io', 'given'));
    write('containers/registries.conf', rule('b.io', 'user'));
    const env = { XDG_CONFIG_HOME: home, CONTAINERS_REGISTRIES_CONF: join(home, 'given.conf') };
    const { rules } = await loadRegistriesConf(env, undefined, join(home, 'none'));
    expect(rules.map(({ prefix }) => prefix)).toEqual(['a.io']);
  });
});
