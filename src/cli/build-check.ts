import { excerptOf } from '../build/dockerfile/build-file-error.ts';
import type { CheckedBuild } from '../engine/index.ts';

/** What `build --check` prints, as buildx: each finding with its lines of the Dockerfile. */
export function checkReport({ dockerfile, warnings }: CheckedBuild): string {
  if (warnings.length === 0) return 'Check complete, no warnings found.\n';
  const count =
    warnings.length === 1 ? '1 warning has been found' : `${warnings.length} warnings have been found`;
  const findings = warnings.map(({ rule, url, message, location }) => {
    const heading = `WARNING: ${rule}${url === undefined ? '' : ` - ${url}`}\n${message}\n`;
    return location === undefined ? heading : `${heading}${excerptOf(dockerfile, location)}\n`;
  });
  return `Check complete, ${count}!\n\n${findings.join('\n')}`;
}
