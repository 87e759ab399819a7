import { writeFileAtomic, writeJson } from '../disk/atomic.ts';
import { withLock } from '../disk/lock.ts';
import { TinyrunError } from '../errors.ts';
import type { Bandwidth } from '../network/bandwidth.ts';
import type { EndpointSettings } from '../network/plan.ts';
import { type Container, isUp, readContainer } from './containers.ts';
import type { Core } from './core.ts';
import { containerEvent } from './events.ts';
import { readSettings, writeSettings } from './network-facts.ts';
import type { NetworkRates } from './options.ts';
import { findContainer } from './query.ts';

/**
 * Changes the bandwidth of a container: now where it runs, and for all its starts.
 * @param changes what is not given stays
 * @throws TinyrunError `invalid` where it has no network of its own; `unsupported` where the kernel cannot
 */
export function updateRates(core: Core, text: string, changes: NetworkRates): Promise<void> {
  return withLock(core.paths.recordsLock, 'exclusive', async () => {
    const container = await findContainer(core, text);
    const { id, record, name } = container;
    const { network } = record.options;
    if (network.mode.type !== 'bridge') {
      throw new TinyrunError(
        'invalid',
        `Cannot limit the bandwidth of container "${name}": it has the network mode "${network.mode.type}"`,
      );
    }
    const rates = { ...network.rates, ...changes };
    if (isUp(container.status)) await changeNow(core, container, rates);
    const options = { ...record.options, network: { ...network, rates } };
    writeJson(core.paths.containerRecord(id), { ...record, options });
    await containerEvent(core, record, 'update');
  });
}

async function changeNow(core: Core, { id }: Container, rates: NetworkRates): Promise<void> {
  const { paths } = core;
  const settings = readSettings(paths, id);
  if (settings === undefined) return;
  const { more = [] } = settings;
  const lockIsHeld = await core.lockIsHeld();
  const networks = await core.networks();
  const [first, ...others] = await networks.changeRates({
    endpoints: [settings, ...more],
    rates,
    keep: (set, release) => {
      writeFileAtomic(paths.ratesRelease(id), release, { durable: false });
      writeFileAtomic(paths.rates(id), set, { durable: false });
    },
    isUp: () => isUp(readContainer(paths, id, lockIsHeld)?.status ?? 'exited'),
  });
  const changed = withBandwidth(settings, first);
  const changedMore = more.map((one, number) => withBandwidth(one, others[number]));
  writeSettings(paths, id, { ...changed, ...(more.length === 0 ? {} : { more: changedMore }) });
}

/** Without limits it says nothing. */
function withBandwidth<T extends EndpointSettings>(endpoint: T, bandwidth: Bandwidth = {}): T {
  const changed: T & { bandwidth?: Bandwidth } = { ...endpoint, bandwidth };
  if (Object.keys(bandwidth).length === 0) delete changed.bandwidth;
  return changed;
}
