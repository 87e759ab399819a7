import { describe, expect, it } from 'vitest';
import { parseMount, rawMount } from '../../../../src/build/dockerfile/run-mount.ts';

const read = (text: string): unknown => parseMount(rawMount(text), (value) => value.replace('$dir', '/d'));

describe('parseMount()', () => {
  it.each<[string, object]>([
    ['target=/x', { type: 'bind', target: '/x', readOnly: true }],
    ['type=bind,src=a,dst=$dir,rw', { type: 'bind', source: 'a', target: '/d', readOnly: false }],
    ['type=bind,from=b,target=/x,readwrite=true', { from: 'b', readOnly: false }],
    ['type=cache,target=/c', { type: 'cache', target: '/c', readOnly: false, sharing: 'shared' }],
    [
      'TYPE=cache,id=i,destination=/c,sharing=LOCKED,mode=0700,uid=1,gid=2,ro',
      { id: 'i', sharing: 'locked', mode: 0o700, uid: 1, gid: 2, readOnly: true },
    ],
    ['type=tmpfs,target=/t,size=1.5g', { type: 'tmpfs', target: '/t', size: 1610612736 }],
    ['type=secret,id=s', { type: 'secret', id: 's', target: '/run/secrets/s', required: false }],
    ['type=secret,id=s,env=TOKEN,required', { id: 's', env: 'TOKEN', required: true }],
    ['type=secret,target=/a/key', { id: 'key', target: '/a/key' }],
    ['type=ssh', { type: 'ssh', id: 'default', required: false }],
    ['"type=bind","target=/a,b"', { target: '/a,b' }],
  ])('reads %s', (text, expected) => {
    expect(read(text)).toMatchObject(expected);
  });

  it('makes no file of a secret that is asked for as a variable', () => {
    expect(read('type=secret,id=s,env=TOKEN')).not.toHaveProperty('target');
  });

  it.each([
    ['type=bnd,target=/x', 'unsupported mount type "bnd" (did you mean bind?)'],
    ['type=bind', 'invalid mount target ""'],
    ['type=bind,target=/x,required', "unexpected key 'required' for mount type 'bind'"],
    ['type=bind,target=/x,size=1', "unexpected key 'size' for mount type 'bind'"],
    ['type=bind,target=/x,sharing=shared', 'invalid cache sharing set for bind mount'],
    ['type=bind,target=/x,mode=0777', 'mode not allowed for "bind" type mounts'],
    ['type=cache,target=/x,sharing=some', 'unsupported sharing value "some"'],
    ['type=cache,target=/x,mode=9', 'invalid value 9 for mode'],
    ['type=cache,target=/x,uid=-1', 'invalid value -1 for uid'],
    ['type=secret', 'one of source, target required'],
    ['type=secret,id=a,src=b', "both source and id can't be set"],
    ['type=ssh,src=a', 'ssh does not support source'],
    ['target=/x,readonly=maybe', 'invalid value for readonly: maybe'],
    // What would make the mount leave the sandbox is no option (CVE-2024-9407).
    ['type=bind,target=/x,bind-propagation=shared', "unexpected key 'bind-propagation'"],
    ['type=bind,target=/x,propagation=rshared', "unexpected key 'propagation'"],
    ['target', "invalid field 'target' must be a key=value pair"],
    ['a"b', 'failed to parse csv mounts'],
  ])('refuses %s', (text, message) => {
    expect(() => read(text)).toThrow(message);
  });
});
