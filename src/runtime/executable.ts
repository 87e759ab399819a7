/** What the first bytes of a file say about how it wants to be started. */
export type Executable =
  | { readonly type: 'elf'; readonly machine: string; readonly kind: number; readonly interpreter?: string }
  | {
      readonly type: 'script';
      readonly interpreter: string;
      readonly argument?: string;
      readonly crlf: boolean;
    }
  | { readonly type: 'empty' }
  | { readonly type: 'text' }
  | { readonly type: 'foreign'; readonly format: string }
  | { readonly type: 'unknown' };

/** e_type of what can be started. */
export const ET_EXEC = 2;
export const ET_DYN = 3;

/** e_machine as GOARCH, which image configs use. */
const MACHINES: Readonly<Record<number, string>> = {
  2: 'sparc',
  3: '386',
  8: 'mips',
  20: 'ppc',
  21: 'ppc64le',
  22: 's390x',
  40: 'arm',
  43: 'sparc64',
  62: 'amd64',
  183: 'arm64',
  243: 'riscv64',
  258: 'loong64',
};

const PT_INTERP = 3;
/** The kernel's BINPRM_BUF_SIZE: more of a script's first line is not looked at. */
const SHEBANG_MAX = 256;
const PATH_MAX = 4096;

/**
 * Takes the head of a file apart. The file is hostile: every offset is checked, nothing is trusted to be there.
 * @param bytes from the file's beginning; as much as there is
 */
export function inspectExecutable(bytes: Uint8Array): Executable {
  if (bytes.length === 0) return { type: 'empty' };
  const head = latin1(bytes.subarray(0, SHEBANG_MAX));
  if (head.startsWith('\x7fELF')) return inspectElf(bytes);
  if (head.startsWith('#!')) return inspectScript(head);
  if (head.startsWith('MZ')) return { type: 'foreign', format: 'a Windows program' };
  if (/^(\xca\xfe\xba\xbe|\xcf\xfa\xed\xfe|\xce\xfa\xed\xfe)/.test(head)) {
    return { type: 'foreign', format: 'a macOS program or a Java class' };
  }
  if (head.startsWith('PK\x03\x04')) return { type: 'foreign', format: 'a zip or jar archive' };
  if (head.startsWith('\0asm')) return { type: 'foreign', format: 'a WebAssembly module' };
  // A byte-order mark in front of `#!` hides it from the kernel.
  if (head.startsWith('\xef\xbb\xbf#!'))
    return { type: 'foreign', format: 'a script that begins with a byte-order mark' };
  return /[\0-\x08\x0e-\x1a\x1c-\x1f]/.test(head) ? { type: 'unknown' } : { type: 'text' };
}

/** As the kernel's load_script(): blanks around, one optional argument, the line's end is LF and nothing else. */
function inspectScript(head: string): Executable {
  const [line = ''] = head.slice(2).split('\n', 1);
  const crlf = line.endsWith('\r') && head.charAt(line.length + 2) === '\n';
  const [, interpreter = '', argument = ''] = /^[ \t]*([^ \t]*)[ \t]*(.*?)[ \t]*$/s.exec(line) ?? [];
  return { type: 'script', interpreter, crlf, ...(argument === '' ? {} : { argument }) };
}

function inspectElf(bytes: Uint8Array): Executable {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const wide = bytes[4] === 2;
  const little = bytes[5] !== 2;
  if (bytes.length < (wide ? 64 : 52)) return { type: 'unknown' };
  const number = view.getUint16(18, little);
  const machine = MACHINES[number] ?? `machine ${number}`;
  const interpreter = interpreterOf(view, wide, little);
  return {
    type: 'elf',
    machine: machine === 'ppc64le' && !little ? 'ppc64' : machine,
    kind: view.getUint16(16, little),
    ...(interpreter === undefined ? {} : { interpreter }),
  };
}

/** The path in PT_INTERP: the dynamic loader. */
function interpreterOf(view: DataView, wide: boolean, little: boolean): string | undefined {
  const word = (offset: number): number =>
    wide ? Number(view.getBigUint64(offset, little)) : view.getUint32(offset, little);
  const table = word(wide ? 32 : 28);
  const entrySize = view.getUint16(wide ? 54 : 42, little);
  const count = view.getUint16(wide ? 56 : 44, little);
  for (let index = 0; index < count; index += 1) {
    const entry = table + index * entrySize;
    if (entrySize < (wide ? 56 : 32) || entry + entrySize > view.byteLength) return undefined;
    if (view.getUint32(entry, little) !== PT_INTERP) continue;
    const offset = word(entry + (wide ? 8 : 4));
    const size = word(entry + (wide ? 32 : 16));
    if (size < 2 || size > PATH_MAX || offset + size > view.byteLength) return undefined;
    return latin1(new Uint8Array(view.buffer, view.byteOffset + offset, size)).replace(/\0.*$/s, '');
  }
  return undefined;
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}
