/**
 * The messages of traffic control that tinyrun sends: what `tc` sends for `tbf`, `ingress` and a `u32` filter with `mirred`. Pure.
 * @see https://man7.org/linux/man-pages/man8/tc-tbf.8.html, include/uapi/linux/pkt_sched.h
 */
import {
  ACK,
  type Attribute,
  CREATE,
  EXCLUSIVE,
  type Message,
  REPLACE,
  REQUEST,
  text,
  u32,
} from './netlink.ts';

const RTM = { newQdisc: 36, delQdisc: 37, newFilter: 44 } as const;
const TCA = { kind: 1, options: 2 } as const;
const TBF = { params: 1, rate64: 4, burst: 6 } as const;
const U32 = { selector: 5, actions: 7 } as const;
const ACTION = { kind: 1, options: 2 } as const;
const MIRRED_PARAMS = 2;

const TCMSG = 20;
const ROOT = 0xffffffff;
const INGRESS = 0xfffffff1;
const INGRESS_HANDLE = 0xffff0000;
const LINKLAYER_ETHERNET = 1;
const ETH_P_ALL_BE = 0x0300;
const PRIORITY = 1;
const TC_ACT_STOLEN = 4;
const TCA_EGRESS_REDIR = 1;
const TC_U32_TERMINAL = 1;
const U32_MAX = 0xffffffff;

/** Bytes, and bytes a second, with the headers of Ethernet. */
export interface TokenBucket {
  readonly rate: number;
  readonly burst: number;
  /** What may wait for tokens; what comes then is dropped. */
  readonly limit: number;
}

/** Limits what leaves an interface; what it had instead is replaced. */
export function setTokenBucket(index: number, { rate, burst, limit }: TokenBucket): Message {
  // struct tc_tbf_qopt: two tc_ratespec of 12 bytes, limit, buffer, mtu. The kernel takes `burst` for `buffer`, which is in its ticks.
  const params = new Uint8Array(36);
  const view = new DataView(params.buffer);
  view.setUint8(1, LINKLAYER_ETHERNET);
  view.setUint32(8, Math.min(rate, U32_MAX), true);
  view.setUint32(24, limit, true);
  const options: Attribute[] = [
    [TBF.params, params],
    ...(rate > U32_MAX ? [[TBF.rate64, u64(rate)] as const] : []),
    [TBF.burst, u32(burst)],
  ];
  return qdisc(RTM.newQdisc, CREATE | REPLACE, { index, parent: ROOT, handle: 0 }, [
    [TCA.kind, text('tbf')],
    [TCA.options, options],
  ]);
}

/** Nothing holds back what leaves an interface. Answered with ENOENT where nothing did. */
export function deleteRootQdisc(index: number): Message {
  return qdisc(RTM.delQdisc, 0, { index, parent: ROOT, handle: 0 }, []);
}

/** All that comes in by one interface goes out by another. */
export function redirectIngress(index: number, to: number): Message[] {
  const ingress = { index, parent: INGRESS, handle: INGRESS_HANDLE };
  // struct tc_u32_sel with one key that every packet matches: no bit of its first word counts.
  const selector = new Uint8Array(32);
  selector[0] = TC_U32_TERMINAL;
  selector[2] = 1;
  // struct tc_mirred: index, capabilities, action, two counts, what to do, interface.
  const mirred = new Uint8Array(28);
  const view = new DataView(mirred.buffer);
  view.setUint32(8, TC_ACT_STOLEN, true);
  view.setUint32(20, TCA_EGRESS_REDIR, true);
  view.setUint32(24, to, true);
  const action: Attribute[] = [
    [ACTION.kind, text('mirred')],
    [ACTION.options, [[MIRRED_PARAMS, mirred]]],
  ];
  return [
    qdisc(RTM.newQdisc, CREATE | EXCLUSIVE, ingress, [[TCA.kind, text('ingress')]]),
    qdisc(
      RTM.newFilter,
      CREATE | EXCLUSIVE,
      { index, parent: INGRESS_HANDLE, handle: 0, info: (PRIORITY << 16) | ETH_P_ALL_BE },
      [
        [TCA.kind, text('u32')],
        [
          TCA.options,
          [
            [U32.actions, [[1, action]]],
            [U32.selector, selector],
          ],
        ],
      ],
    ),
  ];
}

/** With its filters. Answered with ENOENT or EINVAL where there is none. */
export function deleteIngress(index: number): Message {
  return qdisc(RTM.delQdisc, 0, { index, parent: INGRESS, handle: INGRESS_HANDLE }, []);
}

function qdisc(
  type: number,
  flags: number,
  at: { readonly index: number; readonly parent: number; readonly handle: number; readonly info?: number },
  attributes: readonly Attribute[],
): Message {
  // struct tcmsg: family, interface, handle, parent, info.
  const body = new Uint8Array(TCMSG);
  const view = new DataView(body.buffer);
  view.setInt32(4, at.index, true);
  view.setUint32(8, at.handle, true);
  view.setUint32(12, at.parent, true);
  view.setUint32(16, at.info ?? 0, true);
  return { type, flags: REQUEST | ACK | flags, body, attributes };
}

function u64(value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(Math.round(value)), true);
  return bytes;
}
