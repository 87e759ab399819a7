import type { CreateHow, PullPolicy } from '../engine/index.ts';
import type { Context } from './context.ts';

/** Shows on stderr what `run` and `create` pull: stdout is the container's. */
export function pullReporter(
  context: Context,
  how: { readonly policy: PullPolicy; readonly quiet: boolean },
): CreateHow {
  let progress: Promise<import('./progress.ts').Progress> | undefined;
  return {
    pull: how.policy,
    // Only asked for where something is pulled: from then on SIGINT ends the pull, not the process.
    get signal() {
      return context.signal;
    },
    onMissing: (name) => {
      if (!how.quiet) context.stderr.write(`Unable to find image '${name}' locally\n`);
    },
    onPullEvent: (event) => {
      // Loaded with the first event; those that come meanwhile wait for it in order.
      progress ??= import('./progress.ts').then(({ openProgress }) =>
        openProgress(context.stderr, { quiet: how.quiet, now: context.now }),
      );
      void progress.then((shown) => shown.event(event));
    },
  };
}
