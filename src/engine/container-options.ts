import type { CreateOptions } from './options.ts';

/** An image, and whatever else is asked for. */
export type ContainerRequest = Pick<CreateOptions, 'image'> & Partial<CreateOptions>;

/** What is asked for where nothing is said: nothing. Values that follow from the image or the machine are for spec.ts. */
const NOTHING_ASKED: Omit<CreateOptions, 'image'> = {
  command: [],
  env: [],
  labels: {},
  annotations: {},
  groupAdd: [],
  tty: false,
  openStdin: false,
  attach: ['stdout', 'stderr'],
  remove: false,
  init: false,
  readonlyRootfs: false,
  privileged: false,
  capAdd: [],
  capDrop: [],
  securityOpt: [],
  mounts: [],
  devices: [],
  deviceCgroupRules: [],
  ulimits: [],
  sysctls: {},
  pidMode: 'private',
  ipcMode: 'private',
  utsMode: 'private',
  cgroupnsMode: 'private',
  network: {
    mode: { type: 'bridge', network: 'bridge' },
    publish: [],
    publishAll: false,
    expose: [],
    dns: [],
    dnsSearch: [],
    dnsOptions: [],
    extraHosts: [],
  },
  limits: {},
  logDriver: 'json-file',
  logOptions: {},
};

/** A request with all that it leaves open. */
export function completeOptions(request: ContainerRequest): CreateOptions {
  return { ...NOTHING_ASKED, ...request };
}
