/** The figures that issue 3 promises, against what was measured. */
import { above, atLeast, atMost, type Promised } from '../promises.js';
import type { ApplyResult } from './apply-cost.js';
import type { NetworkResult } from './network-cost.js';
import { ruleCounts, type PerPacketNs } from './packet-cost.js';

export interface Results {
  packet?: PerPacketNs;
  network?: NetworkResult;
  apply?: ApplyResult;
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
      above(`throughput ${name}, ${label}, ahead of nftables DNAT`, ratios[name], ratios.nftDnat),
      above(`throughput ${name}, ${label}, ahead of VXLAN`, ratios[name], ratios.vxlan),
    ]),
  );
}
