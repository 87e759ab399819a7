import { openLibrary } from './library.ts';

/** Offset and bit in struct termios, the same on x86-64 and arm64, in glibc and musl: bits/termios.h. */
const OUTPUT_FLAGS = 4;
const OPOST = 1;
const SIZE = 128;
const NOW = 0;

/**
 * Stops a terminal from turning line feeds into carriage return and line feed. Node's raw mode leaves that on, but the
 * container's own terminal does it already, and a full-screen program's bare line feeds would move the cursor to the left.
 * Node puts everything back when its raw mode ends.
 * @param fd a terminal; for anything else nothing happens
 */
export function leaveOutputAlone(fd: number): void {
  const libc = openLibrary(null);
  const settings = Buffer.alloc(SIZE);
  if (libc.func('int tcgetattr(int fd, _Out_ void *settings)')(fd, settings) !== 0) return;
  settings.writeUInt32LE(settings.readUInt32LE(OUTPUT_FLAGS) & ~OPOST, OUTPUT_FLAGS);
  libc.func('int tcsetattr(int fd, int when, const void *settings)')(fd, NOW, settings);
}
