const SPACE = /^[\s\u0085]$/u;

/** Words as they come together: unquoted spaces end one. */
export class Words {
  readonly #done: string[] = [];
  #word = '';

  /** Unquoted: spaces in it split. */
  split(text: string): void {
    for (const character of text) {
      if (!SPACE.test(character)) this.#word += character;
      else this.#end();
    }
  }

  raw(text: string): void {
    this.#word += text;
  }

  all(): string[] {
    this.#end();
    return this.#done;
  }

  #end(): void {
    if (this.#word === '') return;
    this.#done.push(this.#word);
    this.#word = '';
  }
}
