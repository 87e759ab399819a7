import { describe, expect, test } from 'vitest';
import { TinyrunError } from '../../../src/errors.ts';
import { checkSysctl, sysctlPath } from '../../../src/runtime/sysctl.ts';

const OWN = { network: true, ipc: true, uts: true };
const HOST = { network: false, ipc: false, uts: false };

describe('checkSysctl()', () => {
  test.each([
    'net.ipv4.ip_forward',
    'net/ipv4/ip_forward',
    'net.ipv4.conf.eth0/100.forwarding',
    'kernel.msgmax',
    'kernel.sem',
    'kernel.shm_rmid_forced',
    'fs.mqueue.msg_max',
    'kernel.domainname',
  ])('allows %s in namespaces of its own', (key) => {
    expect(() => checkSysctl(key, '1', OWN)).not.toThrow();
  });

  test.each([
    ['net.ipv4.ip_forward', 'sysctl "net.ipv4.ip_forward" not allowed in host network namespace'],
    ['kernel.sem', 'sysctl "kernel.sem" is not allowed in the hosts ipc namespace'],
    ['fs.mqueue.msg_max', 'sysctl "fs.mqueue.msg_max" is not allowed in the hosts ipc namespace'],
    ['kernel.domainname', 'sysctl "kernel.domainname" is not in a separate kernel namespace'],
  ])('refuses %s in a namespace of the host', (key, message) => {
    expect(() => checkSysctl(key, '1', HOST)).toThrow(new TinyrunError('invalid', message));
  });

  test.each([
    ['kernel.core_pattern', '|/x', 'sysctl "kernel.core_pattern" is not in a separate kernel namespace'],
    ['vm.swappiness', '1', 'sysctl "vm.swappiness" is not in a separate kernel namespace'],
    [
      'user.max_user_namespaces',
      '1',
      'sysctl "user.max_user_namespaces" is not in a separate kernel namespace',
    ],
    [
      'kernel.hostname',
      'x',
      'sysctl "kernel.hostname" is not allowed as it conflicts with the OCI "hostname" field',
    ],
    ['net.ipv4.ip_forward\nkernel.core_pattern', '1', 'is not allowed'],
    ['net.ipv4.ip_forward', '1\n|x', 'is not allowed'],
    ['net/../kernel/core_pattern', '1', 'is not allowed'],
    ['net.ipv4.conf.//.//kernel', '1', 'is not allowed'],
    ['', '1', 'is not allowed'],
  ])('refuses %j = %j everywhere', (key, value, message) => {
    expect(() => checkSysctl(key, value, OWN)).toThrow(message);
  });
});

test.each([
  ['net.ipv4.ip_forward', 'net/ipv4/ip_forward'],
  ['net/ipv4/ip_forward', 'net/ipv4/ip_forward'],
  ['net.ipv4.conf.eth0/100.forwarding', 'net/ipv4/conf/eth0.100/forwarding'],
  ['net/ipv4/conf/eth0.100/forwarding', 'net/ipv4/conf/eth0.100/forwarding'],
])('sysctlPath() of %s', (key, path) => {
  expect(sysctlPath(key)).toBe(path);
});
