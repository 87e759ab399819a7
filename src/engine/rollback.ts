/**
 * What is to be undone if the rest does not succeed, last first:
 * `await using undo = new Rollback(); …; undo.defer(() => release()); …; undo.commit();`
 * AsyncDisposableStack is not in Node 20.
 */
export class Rollback {
  #steps: (() => void | Promise<void>)[] = [];

  /** Call it right after the side effect that `step` takes back. */
  defer(step: () => void | Promise<void>): void {
    this.#steps.push(step);
  }

  /** All is well: nothing will be undone. */
  commit(): void {
    this.#steps = [];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const steps = this.#steps.reverse();
    this.#steps = [];
    for (const step of steps) {
      try {
        await step();
      } catch {
        // The error that made us roll back is the one to be told; recovery finds what is left.
      }
    }
  }
}
