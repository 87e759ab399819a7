import { errorCode, TinyrunError } from '../errors.ts';
import { isUnpackError } from './unpack.ts';

/** True where an error, or what caused it, is that the disk or the quota is used up. */
export function isDiskFull(error: unknown): boolean {
  for (let current = error, depth = 0; current instanceof Error && depth < 8; depth += 1) {
    if (['ENOSPC', 'EDQUOT'].includes(errorCode(current) ?? '') || isUnpackError(current, 'space'))
      return true;
    current = current.cause;
  }
  return false;
}

/**
 * @param image as the user knows it
 * @param root the store's directory
 */
export function diskFullError(image: string, root: string, cause: unknown): TinyrunError {
  return new TinyrunError('unavailable', `Cannot pull "${image}": no space left on the device of "${root}"`, {
    cause,
    hint: 'Free some space, for example with "tinyrun rmi"; nothing of this pull was kept',
  });
}
