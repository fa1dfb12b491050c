/**
 * Rules of the shape that kube-proxy 1.36 makes in its nftables mode: one verdict map of all virtual IPs, a chain for each
 * service that draws one of its endpoints by number, a chain for each endpoint that marks hairpins and translates.
 */
import {
  clientRange,
  endpointPort,
  endpoints,
  replicasEach,
  serviceName,
  servicePort,
  virtualIp,
  virtualRange,
  type Plan,
} from '../plan.js';

const table = 'ip kube-proxy';
const mark = '0x4000';

const base = `
table ${table} {
  set cluster-ips { type ipv4_addr; }
  set nodeport-ips { type ipv4_addr; }
  map service-ips { type ipv4_addr . inet_proto . inet_service : verdict; }
  map no-endpoint-services { type ipv4_addr . inet_proto . inet_service : verdict; }
  map firewall-ips { type ipv4_addr . inet_proto . inet_service : verdict; }
  map service-nodeports { type inet_proto . inet_service : verdict; }
  chain mark-for-masquerade { mark set mark or ${mark}; }
  chain masquerading {
    mark and ${mark} == 0 return
    mark set mark xor ${mark}
    masquerade fully-random
  }
  chain services {
    ip daddr . meta l4proto . th dport vmap @service-ips
    ip daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports
  }
  chain cluster-ips-check {
    ip daddr @cluster-ips reject
    ip daddr { ${virtualRange} } drop
  }
  chain service-endpoints-check { ip daddr . meta l4proto . th dport vmap @no-endpoint-services; }
  chain firewall-check { ip daddr . meta l4proto . th dport vmap @firewall-ips; }
  chain filter-prerouting { type filter hook prerouting priority -110; ct state new jump firewall-check; }
  chain filter-forward {
    type filter hook forward priority -110
    ct state new jump service-endpoints-check
    ct state new jump cluster-ips-check
  }
  chain filter-output {
    type filter hook output priority -110
    ct state new jump service-endpoints-check
    ct state new jump firewall-check
  }
  chain filter-output-post-dnat { type filter hook output priority -90; ct state new jump cluster-ips-check; }
  chain nat-prerouting { type nat hook prerouting priority -100; jump services; }
  chain nat-output { type nat hook output priority -100; jump services; }
  chain nat-postrouting { type nat hook postrouting priority 100; jump masquerading; }
}`;

/** For `nft -f`: all of it in one transaction. */
export function nftRules(plan: Plan): string {
  const services = Array.from({ length: plan.services }, (_, i) => i);
  return [
    base,
    ...services.flatMap((service) => endpoints(plan, service).flatMap((each) => endpointChain(service, each))),
    ...services.flatMap((service) => [
      `add chain ${table} ${serviceChain(service)}`,
      ...serviceRules(service, endpoints(plan, service)),
      `add element ${table} cluster-ips { ${virtualIp(service)} }`,
      `add element ${table} service-ips { ${virtualIp(service)} . tcp . ${servicePort} : goto ${serviceChain(service)} }`,
    ]),
    '',
  ].join('\n');
}

/** The first service's replicas as they are after the change instead of before. */
export function nftChange(before: Plan, after: Plan): string {
  const [old, now] = [endpoints(before, 0), endpoints(after, 0)];
  const gone = old.filter((each) => !now.includes(each));
  const added = now.filter((each) => !old.includes(each));
  return [
    ...added.flatMap((each) => endpointChain(0, each)),
    `flush chain ${table} ${serviceChain(0)}`,
    ...serviceRules(0, now),
    ...gone.flatMap((each) => [
      `flush chain ${table} ${endpointChainName(0, each)}`,
      `delete chain ${table} ${endpointChainName(0, each)}`,
    ]),
    '',
  ].join('\n');
}

function serviceChain(service: number): string {
  return `service-${code(service)}-default/${serviceName(service)}/tcp/`;
}

function endpointChainName(service: number, address: string): string {
  return `endpoint-${code(service)}-default/${serviceName(service)}/tcp/__${address}/${endpointPort}`;
}

/** Eight letters and digits, as kube-proxy makes them of a hash. */
function code(service: number): string {
  return `A${String(service).padStart(7, '0')}`;
}

function serviceRules(service: number, addresses: readonly string[]): string[] {
  const chain = `${table} ${serviceChain(service)}`;
  const choices = addresses.map((each, i) => `${i} : goto ${endpointChainName(service, each)}`);
  return [
    `add rule ${chain} ip daddr ${virtualIp(service)} tcp dport ${servicePort} ip saddr != ${clientRange} jump mark-for-masquerade`,
    `add rule ${chain} numgen random mod ${replicasEach} vmap { ${choices.join(', ')} }`,
  ];
}

function endpointChain(service: number, address: string): string[] {
  const chain = `${table} ${endpointChainName(service, address)}`;
  return [
    `add chain ${chain}`,
    `add rule ${chain} ip saddr ${address} jump mark-for-masquerade`,
    `add rule ${chain} meta l4proto tcp dnat to ${address}:${endpointPort}`,
  ];
}
