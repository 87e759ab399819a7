import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { SecureContextOptions } from 'node:tls';
import { errorCode, TinyrunError } from '../errors.ts';
import type { Environment } from './proxy.ts';

/** What a registry's certs.d directories say. */
export interface HostCertificates {
  /** PEM of further authorities. */
  readonly authorities: readonly string[];
  readonly client?: { readonly cert: string; readonly key: string };
}

/**
 * `<dir>/<host[:port]>/`: `*.crt` are authorities, `*.cert` with `*.key` of the same name are client certificates.
 * @param directories in order of precedence; the first client certificate wins
 * @throws TinyrunError `invalid` for a certificate without key, or a file that cannot be read
 * @see https://github.com/containers/image/blob/main/docs/containers-certs.d.5.md
 */
export function hostCertificates(host: string, directories: readonly string[]): HostCertificates {
  const authorities: string[] = [];
  let client: HostCertificates['client'];
  for (const directory of directories) {
    const at = join(directory, host);
    const names = listing(at);
    for (const name of names) {
      if (name.endsWith('.crt')) authorities.push(read(join(at, name)));
      if (name.endsWith('.cert')) client ??= clientPair(at, name, names);
      if (name.endsWith('.key') && !names.includes(name.replace(/key$/, 'cert'))) {
        throw new TinyrunError(
          'invalid',
          `missing client certificate ${name.replace(/key$/, 'cert')} for key ${name} in "${at}"`,
        );
      }
    }
  }
  return { authorities, ...(client === undefined ? {} : { client }) };
}

function clientPair(
  directory: string,
  name: string,
  names: readonly string[],
): { cert: string; key: string } {
  const keyName = name.replace(/cert$/, 'key');
  if (!names.includes(keyName)) {
    throw new TinyrunError(
      'invalid',
      `missing key ${keyName} for client certificate ${name} in "${directory}": CA certificates must use the extension .crt`,
    );
  }
  return { cert: read(join(directory, name)), key: read(join(directory, keyName)) };
}

/** Names in a directory in order; none where it is missing. A name may end in a port, so it never leaves the parent. */
function listing(directory: string): string[] {
  try {
    return readdirSync(directory).sort();
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'EACCES'].includes(errorCode(error) ?? '')) return [];
    throw error;
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw new TinyrunError('invalid', `Cannot read certificate "${path}"`, { cause });
  }
}

/** Where distributions keep their trusted authorities; the list of Go's crypto/x509. */
const SYSTEM_BUNDLES = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/pki/tls/cacert.pem',
  '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem',
  '/etc/ssl/cert.pem',
];

/** The operating system's authorities, or undefined where it has none. Node brings its own and looks at no system file. */
export function systemAuthorities(): string | undefined {
  for (const path of SYSTEM_BUNDLES) {
    if (listing(join(path, '..')).includes(path.slice(path.lastIndexOf('/') + 1))) return read(path);
  }
  return undefined;
}

/**
 * Authorities that the environment adds. The launcher moves NODE_EXTRA_CA_CERTS to TINYRUN_EXTRA_CA_CERTS, because
 * Node 20 spends 40 ms on it at every start.
 */
export function environmentAuthorities(env: Environment): string[] {
  const paths = [env.TINYRUN_EXTRA_CA_CERTS ?? env.NODE_EXTRA_CA_CERTS, env.SSL_CERT_FILE];
  return paths.filter((path): path is string => path !== undefined && path !== '').map(read);
}

/**
 * The TLS options for a host. Giving Node any authority replaces its own list (and costs it 40 ms to parse again), so
 * nothing is said where there is nothing to add.
 * @param extra PEM texts besides the host's own
 */
export async function secureContextOptions(
  certificates: HostCertificates,
  extra: readonly string[],
): Promise<SecureContextOptions> {
  const added = [...certificates.authorities, ...extra];
  const client = certificates.client ?? {};
  if (added.length === 0) return client;
  const { rootCertificates } = await import('node:tls');
  return { ...client, ca: [...rootCertificates, ...added] };
}
