import { describe, expect, it } from 'vitest';
import { inspectNetwork } from '../../../src/network/inspect.ts';

describe('inspectNetwork()', () => {
  it('has the fields that scripts ask for, in both places', () => {
    const ports = { '80/tcp': [{ HostIp: '0.0.0.0', HostPort: '8080' }] };
    const facts = inspectNetwork({
      mode: 'bridge',
      network: 'bridge',
      networkId: 'ab',
      ip: '172.29.0.2',
      prefix: 20,
      gateway: '172.29.0.1',
      mac: '02:42:ac:1d:00:02',
      ports,
    });
    const endpoint = {
      IPAddress: '172.29.0.2',
      IPPrefixLen: 20,
      Gateway: '172.29.0.1',
      MacAddress: '02:42:ac:1d:00:02',
    };
    expect(facts).toMatchObject({ ...endpoint, GlobalIPv6Address: '', Ports: ports });
    expect(facts.Networks).toMatchObject({ bridge: { ...endpoint, NetworkID: 'ab' } });
  });

  it('names the modes without a network of ours as Docker does', () => {
    expect(Object.keys(inspectNetwork({ mode: 'host', ports: {} }).Networks as object)).toEqual(['host']);
    expect(Object.keys(inspectNetwork({ mode: 'none', ports: {} }).Networks as object)).toEqual(['none']);
    expect(inspectNetwork({ mode: 'container', ports: {} }).Networks).toEqual({});
  });

  it('is empty for a container that does not run', () => {
    expect(inspectNetwork(undefined)).toMatchObject({
      Ports: {},
      IPAddress: '',
      IPPrefixLen: 0,
      Networks: {},
    });
  });
});
