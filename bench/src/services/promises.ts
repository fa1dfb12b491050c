/** The figures that issue 5 promises, against what was measured. */
import { above, atLeast, atMost, type Promised } from '../promises.js';
import { idleSeconds } from './idle.js';
import { slowMs, type CutResult } from './cut.js';
import type { ProgramResult, Results, SizeResult } from './measure.js';

const peers = { kubeProxyNft: "kube-proxy's nftables mode", kubeProxyIptables: "kube-proxy's iptables mode" };

export function promises({ sizes, program, cut }: Results): Promised[] {
  return [
    ...sizes.flatMap(sizePromises),
    ...(program === undefined ? [] : programPromises(program)),
    ...(cut === undefined ? [] : cutPromises(cut)),
  ];
}

function sizePromises({
  services,
  overDirectUs,
  ofDirect,
  connectionsPerSecond: all,
}: SizeResult): Promised[] {
  const { sal } = all;
  // Where the SAL was left out nothing was asked.
  if (sal === undefined) return [];
  const label = `${services.toLocaleString('en')} service${services === 1 ? '' : 's'}`;
  return [
    atMost(`connect() over direct, ${label}`, overDirectUs.sal, 1, 'us'),
    atLeast(`connections per second of direct, ${label}`, ofDirect.sal ?? NaN, 0.97),
    ...(['kubeProxyNft', 'kubeProxyIptables'] as const).flatMap((way) => {
      const other = all[way];
      return other === undefined
        ? []
        : [above(`connections per second, ${label}, ahead of ${peers[way]}`, sal, other)];
    }),
  ];
}

function programPromises({ services, costs: { sal } }: ProgramResult): Promised[] {
  if (sal === undefined) return [];
  const label = `${services.toLocaleString('en')} services`;
  return [
    atMost(`${label} programmed from nothing`, sal.fullMs, 5_000, 'ms'),
    atMost(`one endpoint's change seen, ${label}`, sal.oneChangeMs, 50, 'ms'),
    atMost(`memory of the agent, ${label}`, sal.memory.processMb, 250, 'MB'),
    atMost(`memory of the agent after ${idleSeconds} s of idling, ${label}`, sal.idle?.residentMb, 250, 'MB'),
  ];
}

function cutPromises({ ways: { sal } }: CutResult): Promised[] {
  if (sal === undefined) return [];
  const label = "while a replica's host is cut off";
  return [
    atMost(`failed connects ${label}`, sal.failed, 0, ''),
    atMost(`slowest connect() ${label}`, sal.slowestMs, slowMs, 'ms'),
  ];
}
