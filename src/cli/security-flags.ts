import type { SecurityOption } from '../engine/options.ts';
import { parseBool } from './flag-values.ts';

/** One `--security-opt`. @param readFile the text of a file named on the command line */
export function parseSecurityOption(text: string, readFile: (path: string) => string): SecurityOption {
  const separator = /[=:]/.exec(text)?.index;
  const key = separator === undefined ? text : text.slice(0, separator);
  const value = separator === undefined ? undefined : text.slice(separator + 1);
  switch (key) {
    case 'no-new-privileges':
      return { type: 'no-new-privileges', on: value === undefined ? true : parseBool(value) };
    case 'seccomp':
      return { type: 'seccomp', profile: seccompProfile(value ?? '', readFile) };
    case 'systempaths':
      if (value !== 'unconfined') break;
      return { type: 'unmask', paths: 'all' };
    case 'unmask':
      if (value === undefined) break;
      return { type: 'unmask', paths: value.toUpperCase() === 'ALL' ? 'all' : value.split(':') };
    case 'mask':
      if (value === undefined) break;
      return { type: 'mask', paths: value.split(':') };
    case 'label':
    case 'apparmor':
      return { type: 'ignored', text };
  }
  throw new Error(`invalid --security-opt: ${JSON.stringify(text)}`);
}

function seccompProfile(value: string, readFile: (path: string) => string): string {
  if (value === 'unconfined') return value;
  if (value === 'default' || value === 'builtin') return 'default';
  let text: string;
  try {
    text = readFile(value);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`opening seccomp profile (${value}) failed: ${reason}`, { cause });
  }
  try {
    return JSON.stringify(JSON.parse(text));
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`compacting json for seccomp profile (${value}) failed: ${reason}`, { cause });
  }
}
