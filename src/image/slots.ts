/** Places for so many at a time; who waits is served in order. */
export class Slots {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(count: number) {
    this.#free = count;
  }

  async take(): Promise<Slot> {
    const slot = this.tryTake();
    if (slot !== undefined) return slot;
    await new Promise<void>((resolve) => {
      this.#waiting.push(resolve);
    });
    return this.#slot();
  }

  tryTake(): Slot | undefined {
    if (this.#free === 0) return undefined;
    this.#free -= 1;
    return this.#slot();
  }

  #slot(): Slot {
    let isHeld = true;
    return {
      release: () => {
        if (!isHeld) return;
        isHeld = false;
        const next = this.#waiting.shift();
        if (next === undefined) this.#free += 1;
        else next();
      },
    };
  }
}

export interface Slot {
  /** May be called more than once. */
  release(): void;
}
