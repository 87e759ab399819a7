import type { Paths } from '../disk/paths.ts';
import type { Store } from '../image/store.ts';
import type { Networks } from '../network/networks.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

/** Where an engine works. Everything it needs of the world is here: it never looks at the process it runs in. */
export interface EngineOptions {
  /** `--root`; default `/var/lib/tinyrun`. */
  readonly root?: string;
  /** `--runroot`; default `/run/tinyrun`. */
  readonly runRoot?: string;
  /** Proxies, registries and credentials are found through it; default: empty. */
  readonly env?: Environment;
  /** Directory with tinyrun-monitor, tinyrun-unpack and libtinyrun.so; default: the package's own. */
  readonly nativeDirectory?: string;
  /** Told how long each phase took (`TINYRUN_DEBUG=timing`). */
  readonly onPhase?: (name: string) => void;
  /** Told every launch plan before it is carried out (`TINYRUN_DEBUG=plan`). */
  readonly onPlan?: (text: string) => void;
}

/** What the use cases share. Modules below are loaded when they are first needed: `ps` never loads the network. */
export interface Core {
  readonly paths: Paths;
  readonly env: Environment;
  /** As `process.arch` has it. */
  readonly arch: 'x64' | 'arm64';
  phase(name: string): void;
  /** Absent: nobody wants to see plans. */
  readonly showPlan?: (text: string) => void;
  store(): Promise<Store>;
  networks(): Promise<Networks>;
  lockIsHeld(): Promise<(path: string) => boolean>;
}
