/** What the parts of the contract share: what it is run against, the flow that it is about. */
import type { ErrorCode } from '@serval/api';
import type { Verdict } from './fake.js';
import type { Datapath, FlowRule, FlowTuple, PodSpec, PodStatus, Protocol } from './types.js';

export interface ContractHarness {
  datapath: Datapath;
  /** two pods that exist, in network namespaces of their own, each with a device `eth0` */
  pods: [PodSpec, PodSpec];
  /** capacity of the table in slots */
  slots: number;
  /** play one packet through a pod's program; a pod without a program passes it */
  send(
    pod: string,
    direction: 'egress' | 'ingress',
    protocol: Protocol,
    tuple: FlowTuple,
    /** a segment that opens a connection */
    opens?: boolean,
  ): Promise<Verdict>;
  end(): Promise<void>;
}

export const old = { address: '10.1.1.2', port: 6379 };
export const moved = { address: '10.2.1.2', port: 6379 };
export const movedAgain = { address: '10.3.1.2', port: 16379 };
export const client = { address: '10.9.1.2', port: 40001 };
export const tuple = (remote: typeof old, local = client): FlowTuple => ({ local, remote });

/** At the peer: the client's end of a flow to a server that moves. */
export function peerRule(changes: Partial<FlowRule> = {}): FlowRule {
  return {
    flowId: 1n,
    migration: 1n,
    protocol: 'tcp',
    identity: tuple(old),
    wire: tuple(moved),
    state: 'active',
    ...changes,
  };
}

export const passed = (result: FlowTuple): Verdict => ({ kind: 'pass', tuple: result });

export async function failureOf(work: Promise<unknown>): Promise<{ code: ErrorCode; message: string }> {
  try {
    await work;
  } catch (error) {
    return error as { code: ErrorCode; message: string };
  }
  throw new Error('it did not fail');
}

/** What the data plane says of a pod, beside who it is. */
export async function statusOf(
  datapath: Datapath,
  pod: string,
): Promise<Omit<PodStatus, keyof PodSpec | 'guests'>> {
  const found = (await datapath.pods()).find((entry) => entry.name === pod);
  if (found === undefined) throw new Error(`${pod} is not known`);
  const { attached, held, quiet, tracked, flows } = found;
  return { attached, held, quiet, tracked, flows };
}
