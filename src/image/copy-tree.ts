import { spawn } from 'node:child_process';
import { Readable } from 'node:stream';
import { TinyrunError } from '../errors.ts';
import { unpackArchive } from './unpack-archive.ts';

export interface CopyTree {
  /** The programs tinyrun-pack and tinyrun-unpack. */
  readonly packer: string;
  readonly unpacker: string;
  /** A detached mount, or a directory of the host. */
  readonly root: { readonly mountFd: number } | { readonly directory: string };
  /** The directory of that root which is copied; links in it are the root's. */
  readonly path: string;
  /** An empty directory, which gets the owner, mode and content of the other. After a failure it holds any part of them. */
  readonly target: string;
  /** For messages: `the volume "data"`. */
  readonly what: string;
}

/**
 * Copies a directory of an image into one of the host with owners, modes, times, links and extended attributes: packed in
 * one sandbox and unpacked in another, so that no name or link of the image reaches anything else (CVE-2022-23648).
 */
export async function copyTree(copy: CopyTree): Promise<void> {
  const { packer, unpacker, root, path, target, what } = copy;
  const from = 'mountFd' in root ? ['--mount', '4'] : ['--tree', root.directory];
  const args = [...from, '--path', path, '--follow', '1', '--name', '.', '--compression', 'none'];
  const child = spawn(packer, [...args, '--blob', '3'], {
    stdio: ['ignore', 'pipe', 'ignore', 'pipe', ...('mountFd' in root ? [root.mountFd] : [])],
    env: {},
  });
  const ended = new Promise<string>((resolve, reject) => {
    let report = '';
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      if (report.length < REPORT_MAX) report += text;
    });
    child.once('error', reject);
    child.once('close', (code) =>
      resolve(code === 0 ? '' : report || `the packer ended with status ${code}`),
    );
  });
  const tar = child.stdio[3];
  if (!(tar instanceof Readable)) throw new TinyrunError('internal', 'the packer has no output');
  try {
    const unpacking = unpackArchive({ unpacker, directory: target, body: tar, maxBytes: MAX_BYTES, what });
    const [problem] = await Promise.all([ended, unpacking]);
    if (problem !== '')
      throw new TinyrunError('internal', `Cannot copy "${path}" of the image into ${what}: ${problem}`);
  } finally {
    child.kill('SIGKILL');
  }
}

const REPORT_MAX = 64 * 1024;
/** What the layers of an image may hold is bounded already: this only has to be a number. */
const MAX_BYTES = 2 ** 50;
