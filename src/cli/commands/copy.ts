import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { TinyrunError } from '../../errors.ts';
import type { Command } from '../command.ts';
import { openProgress } from '../progress.ts';
import { PushProgress } from '../push-progress.ts';
import { patienceOf, RETRY_OPTIONS } from '../retry-flags.ts';

export const copy: Command = {
  name: 'copy',
  summary: 'Copy an image between registries, layouts, archives and this store',
  usage: '[OPTIONS] SOURCE DESTINATION',
  options: [
    { long: 'all-platforms', type: 'bool', help: 'Copy the whole index, not only the image of one platform' },
    {
      long: 'dest-tls-verify',
      type: 'bool',
      default: true,
      help: 'Require HTTPS and a certificate that can be verified, of the destination',
    },
    {
      long: 'digestfile',
      type: 'string',
      value: 'file',
      help: 'Write the digest of the copied image to a file',
    },
    {
      long: 'format',
      short: 'f',
      type: 'string',
      value: 'oci|v2s2',
      help: 'Write the manifest in this format (default: as it is, which keeps the digest)',
    },
    { long: 'platform', type: 'string', help: 'Which image of a multi-platform image to copy' },
    { long: 'quiet', short: 'q', type: 'bool', help: 'Suppress verbose output' },
    ...RETRY_OPTIONS,
    {
      long: 'signature-policy',
      type: 'string',
      value: 'file',
      help: 'Use this signature policy, in place of ~/.config/containers/policy.json or /etc/containers/policy.json',
    },
    {
      long: 'src-tls-verify',
      type: 'bool',
      default: true,
      help: 'Require HTTPS and a certificate that can be verified, of the source',
    },
  ],
  operands: { min: 2, max: 2 },
  async run({ context, parsed, engine: open }) {
    const engine = await open();
    const [source = '', destination = ''] = parsed.operands;
    const platform = parsed.string('platform');
    if (platform !== undefined && parsed.bool('all-platforms'))
      throw new TinyrunError('invalid', '--all-platforms and --platform exclude each other');
    const format = parsed.one('format', parseFormat);
    const quiet = parsed.bool('quiet');
    const policy = parsed.string('signature-policy');
    const pushing = new PushProgress(context, 'Copy');
    const pulling = openProgress(context.stdout, { quiet, now: context.now });
    const { digest } = await engine
      .copy(source, destination, {
        ...patienceOf(parsed),
        ...(policy === undefined ? {} : { signaturePolicy: resolve(context.cwd, policy) }),
        allPlatforms: parsed.bool('all-platforms'),
        ...(platform === undefined || platform === '' ? {} : { platform }),
        ...(format === undefined ? {} : { format }),
        sourceInsecure: !parsed.bool('src-tls-verify', true),
        destinationInsecure: !parsed.bool('dest-tls-verify', true),
        cwd: context.cwd,
        onEvent: (event) => {
          if (!quiet) pushing.event(event);
        },
        onPullEvent: (event) => pulling.event(event),
        signal: context.signal,
      })
      .finally(() => {
        pushing.finish();
        pulling.finish();
      });
    const file = parsed.string('digestfile');
    if (file !== undefined) await writeFile(resolve(context.cwd, file), digest);
    return 0;
  },
};

function parseFormat(text: string): 'oci' | 'v2s2' {
  if (text === 'oci' || text === 'v2s2') return text;
  throw new Error('expected oci or v2s2');
}
