import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const PATIENCE_MS = 15_000;

/** A real terminal with a program in it: tmux keeps the screen that a person would see. */
export class Terminal {
  readonly #directory = mkdtempSync(join(tmpdir(), 'tinyrun-terminal-'));
  readonly #env: Readonly<Record<string, string>>;

  /** @param command for the shell; `exit N` on the screen says how it ended */
  constructor(command: string, env: Readonly<Record<string, string>>, size = { columns: 80, rows: 24 }) {
    this.#env = env;
    const { columns, rows } = size;
    const script = `${command}; echo "exit $?"; exec sleep 1000`;
    this.#tmux('-f', '/dev/null', 'new-session', '-d', '-x', `${columns}`, '-y', `${rows}`, script);
  }

  /** The screen's lines, without the blanks at their ends. */
  screen(): string {
    return this.#tmux('capture-pane', '-p');
  }

  /** Types letters as they are. */
  type(text: string): void {
    this.#tmux('send-keys', '-l', text);
  }

  /** Presses keys by their names: `Enter`, `Escape`, `C-c`. */
  press(...keys: readonly string[]): void {
    this.#tmux('send-keys', ...keys);
  }

  resize(columns: number, rows: number): void {
    this.#tmux('resize-window', '-x', `${columns}`, '-y', `${rows}`);
  }

  /** Waits until the screen shows it. @returns the screen @throws Error with the screen, where it never does */
  async shows(wanted: RegExp): Promise<string> {
    const deadline = Date.now() + PATIENCE_MS;
    for (;;) {
      const screen = this.screen();
      if (wanted.test(screen)) return screen;
      if (Date.now() > deadline) throw new Error(`The terminal never showed ${wanted}:\n${screen}`);
      await sleep(50);
    }
  }

  close(): void {
    try {
      this.#tmux('kill-server');
    } finally {
      rmSync(this.#directory, { recursive: true, force: true });
    }
  }

  #tmux(...args: readonly string[]): string {
    return execFileSync('tmux', ['-S', join(this.#directory, 'socket'), ...args], {
      encoding: 'utf8',
      env: this.#env,
      timeout: PATIENCE_MS,
    });
  }
}
