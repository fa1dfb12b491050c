/** The figures that issue 3 promises, against what was measured. */
import type { ApplyResult } from './apply-cost.js';
import type { NetworkResult } from './network-cost.js';
import { ruleCounts, type PerPacketNs } from './packet-cost.js';

export interface Results {
  packet?: PerPacketNs;
  network?: NetworkResult;
  apply?: ApplyResult;
}

export interface Promised {
  what: string;
  promised: string;
  measured: string;
  kept: boolean;
}

export function promises({ packet, network, apply }: Results): Promised[] {
  return [
    ...(packet === undefined ? [] : packetPromises(packet)),
    ...(network === undefined ? [] : networkPromises(network)),
    ...(apply === undefined ? [] : [atMost('10,000 flows applied', apply.applyMs.apply[10_000], 15, 'ms')]),
  ];
}

/** Hot, whatever the number of rules. */
function packetPromises(packet: PerPacketNs): Promised[] {
  return ruleCounts.flatMap((rules) => {
    const costs = packet.ipv4Tcp.rules[String(rules)];
    const label = `${rules.toLocaleString('en')} rule${rules === 1 ? '' : 's'}, hot, over an empty program`;
    return [
      atMost(`a miss, ${label}`, costs?.missHot.overEmpty, 20, 'ns'),
      atMost(`an IPv4 TCP translation, ${label}`, costs?.translationHot.overEmpty, 60, 'ns'),
    ];
  });
}

function networkPromises({ throughputRatio: { eightStreams, ...oneStream } }: NetworkResult): Promised[] {
  const loads = [
    { label: 'one stream', ratios: oneStream },
    { label: 'eight streams', ratios: eightStreams },
  ];
  return loads.flatMap(({ label, ratios }) =>
    (['attached', 'translated'] as const).flatMap((name) => [
      atLeast(`throughput ${name}, ${label}, of native`, ratios[name], 0.98),
      ahead(`throughput ${name}, ${label}, ahead of nftables DNAT`, ratios[name], ratios.nftDnat),
      ahead(`throughput ${name}, ${label}, ahead of VXLAN`, ratios[name], ratios.vxlan),
    ]),
  );
}

function atMost(what: string, value: number | undefined, limit: number, unit: string): Promised {
  const measured = value ?? NaN;
  return {
    what,
    promised: `at most ${limit} ${unit}`,
    measured: `${measured} ${unit}`,
    kept: measured <= limit,
  };
}

function atLeast(what: string, measured: number, limit: number): Promised {
  return { what, promised: `at least ${limit}`, measured: String(measured), kept: measured >= limit };
}

function ahead(what: string, measured: number, other: number): Promised {
  return { what, promised: `above ${other}`, measured: String(measured), kept: measured > other };
}
