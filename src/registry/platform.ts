import { TinyrunError } from '../errors.ts';
import type { Descriptor, Index, Platform } from '../oci/image-spec.ts';
import { printable } from './printable.ts';

/** @see https://github.com/containerd/platforms/blob/main/database.go */
const ARCHITECTURES: Readonly<Record<string, readonly [architecture: string, variant?: string]>> = {
  x86_64: ['amd64'],
  'x86-64': ['amd64'],
  x64: ['amd64'],
  i386: ['386'],
  ia32: ['386'],
  aarch64: ['arm64'],
  armhf: ['arm', 'v7'],
  armel: ['arm', 'v6'],
  ppc64el: ['ppc64le'],
};
const KNOWN_ARCHITECTURES = new Set(
  '386 amd64 arm arm64 loong64 mips mips64 mips64le mipsle ppc64 ppc64le riscv64 s390x wasm'.split(' '),
);
const KNOWN_SYSTEMS = new Set(
  'aix android darwin dragonfly freebsd illumos ios js linux netbsd openbsd plan9 solaris wasip1 windows'.split(
    ' ',
  ),
);
const COMPONENT = /^[A-Za-z0-9_.-]+$/;

/** One way to write each platform: `x86_64` → `amd64`, arm64's v8 and amd64's v1 left out, arm without variant → v7. */
export function normalizePlatform(platform: Platform): Platform {
  const written = platform.architecture.toLowerCase();
  const known = Object.hasOwn(ARCHITECTURES, written) ? ARCHITECTURES[written] : undefined;
  const architecture = known?.[0] ?? written;
  const variant = normalizeVariant(architecture, known?.[1] ?? platform.variant?.toLowerCase() ?? '');
  const osVersion = platform['os.version'];
  return {
    os: platform.os.toLowerCase() === 'macos' ? 'darwin' : platform.os.toLowerCase(),
    architecture,
    ...(variant === '' ? {} : { variant }),
    ...(osVersion === undefined ? {} : { 'os.version': osVersion }),
  };
}

function normalizeVariant(architecture: string, variant: string): string {
  const withV = /^[0-9]/.test(variant) ? `v${variant}` : variant;
  if (architecture === 'arm64')
    return withV === 'v8' || withV === 'v8.0' ? '' : withV.replace(/^v9\.0$/, 'v9');
  if (architecture === 'amd64') return withV === 'v1' ? '' : withV;
  if (architecture === 'arm') return withV === '' ? 'v7' : withV;
  return withV;
}

/**
 * This machine.
 * @param architecture Node's word for it (`process.arch`), or any that normalizePlatform() knows
 * @param variant of the CPU where it is known, such as `v3`
 */
export function hostPlatform(architecture: string, variant?: string): Platform {
  return normalizePlatform({ os: 'linux', architecture, ...(variant === undefined ? {} : { variant }) });
}

/**
 * The value of `--platform`: `os`, `arch`, `os/arch` or `os/arch/variant`; what is not said is the host's.
 * @throws TinyrunError `invalid` with Docker's words
 */
export function parsePlatform(text: string, host: Platform): Platform {
  const parts = text.split('/');
  for (const part of parts) {
    if (COMPONENT.test(part)) continue;
    throw new TinyrunError(
      'invalid',
      `"${printable(part, 60)}" is an invalid component of "${printable(text, 60)}": platform specifier component must match "^[A-Za-z0-9_.-]+$"`,
    );
  }
  const [first = '', second, variant] = parts;
  if (parts.length > 3) {
    throw new TinyrunError('invalid', `"${text}": cannot parse platform specifier`);
  }
  if (second !== undefined) {
    return normalizePlatform({
      os: first,
      architecture: second,
      ...(variant === undefined ? {} : { variant }),
    });
  }
  const alone = normalizePlatform({ os: first, architecture: first });
  if (KNOWN_SYSTEMS.has(alone.os)) return { ...host, os: alone.os };
  if (KNOWN_ARCHITECTURES.has(alone.architecture)) return { ...alone, os: host.os };
  throw new TinyrunError('invalid', `"${text}": unknown operating system or architecture`);
}

/** Whether there are such machines, as far as is known here. */
export function isKnownPlatform({ os, architecture }: Platform): boolean {
  return KNOWN_SYSTEMS.has(os) && KNOWN_ARCHITECTURES.has(architecture);
}

/** `linux/arm64/v8`, as Docker writes it in messages. */
export function formatPlatform(platform: Platform): string {
  const variant = platform.variant ?? (platform.architecture === 'arm64' ? 'v8' : undefined);
  return printable(
    [platform.os, platform.architecture, variant].filter((part) => part !== undefined).join('/'),
    80,
  );
}

/**
 * What runs on a platform, best first.
 * @see https://github.com/containerd/platforms/blob/main/compare.go platformVector
 */
export function preferences(wanted: Platform): Platform[] {
  const { os, architecture, variant = '' } = normalizePlatform(wanted);
  const list = (of: string, variants: readonly string[]): Platform[] =>
    variants.map((one) =>
      normalizePlatform({ os, architecture: of, ...(one === '' ? {} : { variant: one }) }),
    );
  const level = Number(/^v([0-9]+)$/.exec(variant)?.[1] ?? Number.NaN);
  switch (architecture) {
    case 'amd64':
      return [...list('amd64', Number.isNaN(level) ? [variant] : down(level, 1)), ...list('386', [''])];
    case 'arm':
      return list('arm', Number.isNaN(level) ? [variant] : down(level, 5));
    case 'arm64':
      return [...list('arm64', arm64Variants(variant)), ...list('arm', down(8, 5))];
    default:
      return list(architecture, [variant]);
  }
}

/** `v<from>` … `v<to>`; only `v<from>` where it is the lower. Bounded, for the number may come from outside. */
function down(from: number, to: number): string[] {
  const length = Math.min(Math.max(from - to, 0), 16) + 1;
  return Array.from({ length }, (_, index) => `v${from - index}`);
}

/** v9.y runs all of v8.(y+5) and below: the architecture manual's correspondence of the two lines. */
function arm64Variants(variant: string): string[] {
  const match = /^v(8|9)(?:\.([0-9]))?$/.exec(variant === '' ? 'v8' : variant);
  if (match === null) return [variant];
  const minor = Number(match[2] ?? 0);
  const line = (major: number, highest: number): string[] =>
    Array.from({ length: Math.min(highest, 9) + 1 }, (_, index) => {
      const at = Math.min(highest, 9) - index;
      return at === 0 ? `v${major}` : `v${major}.${at}`;
    });
  return match[1] === '9' ? [...line(9, minor), ...line(8, minor + 5)] : line(8, minor);
}

function same(a: Platform, b: Platform): boolean {
  return a.os === b.os && a.architecture === b.architecture && (a.variant ?? '') === (b.variant ?? '');
}

/** True where an image made for `offered` runs on `wanted`. */
export function runsOn(offered: Platform, wanted: Platform): boolean {
  const one = normalizePlatform(offered);
  return preferences(wanted).some((platform) => same(platform, one));
}

/** BuildKit's attestations are entries of the index, though no images. */
function isAttestation(entry: Descriptor): boolean {
  return (
    entry.platform?.os === 'unknown' ||
    entry.platform?.architecture === 'unknown' ||
    entry.annotations?.['vnd.docker.reference.type'] === 'attestation-manifest'
  );
}

const IMAGE_ENTRY = /^application\/vnd\.(docker\.distribution\.manifest|oci\.image)\./;

/**
 * The entry of an index for a platform: first in the order of preference, then in the index's. An entry that names no
 * platform is taken only where none that does fits.
 * @throws TinyrunError `not_found` with Docker's sentence; the hint lists what there is
 */
export function selectManifest(index: Index, wanted: Platform): Descriptor {
  const entries = index.manifests.filter(
    (entry) => !isAttestation(entry) && IMAGE_ENTRY.test(entry.mediaType) && entry.artifactType === undefined,
  );
  for (const preferred of preferences(wanted)) {
    const found = entries.find(
      ({ platform }) => platform !== undefined && same(normalizePlatform(platform), preferred),
    );
    if (found !== undefined) return found;
  }
  const unlabelled = entries.find((entry) => entry.platform === undefined);
  if (unlabelled !== undefined) return unlabelled;
  const offered = [...new Set(entries.flatMap(({ platform }) => platform ?? []).map(formatPlatform))];
  throw new TinyrunError(
    'not_found',
    `no matching manifest for ${formatPlatform(wanted)} in the manifest list entries`,
    {
      hint: offered.length === 0 ? 'It has no image at all' : `It has ${printable(offered.join(', '), 400)}`,
    },
  );
}
