import { TinyrunError } from '../errors.ts';

const KNOWN = new Set(['type', 'device', 'o']);

/**
 * The options of Docker's local driver: `type`, `device`, `o`. Mounted are directories of the host (`type=none o=bind`) and
 * tmpfs. Others would be mounted in the container's network, not the host's: refused, with what does the job.
 * @throws TinyrunError `invalid`, `unsupported`
 * @see https://docs.docker.com/reference/cli/docker/volume/create/#driver-specific-options
 */
export function checkDriverOptions(options: Readonly<Record<string, string>>): void {
  for (const key of Object.keys(options)) {
    if (!KNOWN.has(key)) throw new TinyrunError('invalid', `create: invalid option: ${JSON.stringify(key)}`);
  }
  const { type = '', device = '', o = '' } = options;
  if (type === '' && device === '' && o === '') return;
  if (type === 'tmpfs') return;
  const isBind = o.split(',').some((word) => word === 'bind' || word === 'rbind');
  if ((type === 'none' || type === '' || type === 'bind') && isBind) {
    if (device.startsWith('/')) return;
    throw new TinyrunError(
      'invalid',
      `create: missing or relative device in volume options: ${JSON.stringify(device)}`,
    );
  }
  throw new TinyrunError('unsupported', `create: volumes of type ${JSON.stringify(type)} are not supported`, {
    hint: 'Mount it on the host and use --opt type=none --opt o=bind --opt device=/the/mount/point',
  });
}
