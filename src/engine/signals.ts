import { TinyrunError } from '../errors.ts';

/** The signals of Linux on x86-64 and arm64, numbers by name. */
const NUMBERS: Readonly<Record<string, number>> = {
  HUP: 1,
  INT: 2,
  QUIT: 3,
  ILL: 4,
  TRAP: 5,
  ABRT: 6,
  IOT: 6,
  BUS: 7,
  FPE: 8,
  KILL: 9,
  USR1: 10,
  SEGV: 11,
  USR2: 12,
  PIPE: 13,
  ALRM: 14,
  TERM: 15,
  STKFLT: 16,
  CHLD: 17,
  CLD: 17,
  CONT: 18,
  STOP: 19,
  TSTP: 20,
  TTIN: 21,
  TTOU: 22,
  URG: 23,
  XCPU: 24,
  XFSZ: 25,
  VTALRM: 26,
  PROF: 27,
  WINCH: 28,
  IO: 29,
  POLL: 29,
  PWR: 30,
  SYS: 31,
};

/** The numbers of SIGRTMIN and SIGRTMAX, as Docker and glibc count them. */
const REALTIME = { first: 34, last: 64 };

/**
 * A signal as users write it: `9`, `KILL`, `SIGKILL`, `sigkill`, `SIGRTMIN+3`.
 * @throws TinyrunError `invalid` in Docker's words
 */
export function signalNumber(text: string): number {
  if (/^[0-9]+$/.test(text)) {
    const number = Number(text);
    if (number >= 1 && number <= REALTIME.last) return number;
  }
  const name = text.toUpperCase().replace(/^SIG/, '');
  const known = Object.hasOwn(NUMBERS, name) ? NUMBERS[name] : realtime(name);
  if (known === undefined) throw new TinyrunError('invalid', `invalid signal: ${text}`);
  return known;
}

function realtime(name: string): number | undefined {
  const match = /^RT(MIN|MAX)([+-][0-9]{1,2})?$/.exec(name);
  if (match === null) return undefined;
  const number = (match[1] === 'MIN' ? REALTIME.first : REALTIME.last) + Number(match[2] ?? 0);
  return number >= REALTIME.first && number <= REALTIME.last ? number : undefined;
}
