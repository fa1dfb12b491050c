/** A pod for tests. */
import type { AgentPod } from '../pods.js';

export function podAt(addresses: string | string[], more: Partial<AgentPod> = {}): AgentPod {
  const list = [addresses].flat();
  return {
    name: `shop/${list[0]}`,
    netns: `/run/netns/${list[0]}`,
    interfaces: ['eth0'],
    addresses: list,
    hostNetwork: false,
    trackUdp: false,
    ...more,
  };
}

/** With a process; `uid` tells it from others. */
export function workloadAt(
  addresses: string | string[],
  workload: Partial<NonNullable<AgentPod['workload']>> = {},
  more: Partial<AgentPod> = {},
): AgentPod {
  const process = { pausePid: 1, pid: 2, cgroup: `/cgroup/${[addresses].flat()[0]}` };
  return podAt(addresses, {
    workload: { uid: 'u', epoch: 0, mover: 'criu', identityAddresses: [], process, ...workload },
    ...more,
  });
}
