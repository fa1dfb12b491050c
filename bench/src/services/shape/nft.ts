/**
 * Rules of the shape that kube-proxy 1.36 makes in its nftables mode: one verdict map of all virtual IPs, and a chain for each
 * service whose one rule draws the replica's address by number and translates to it. (Earlier versions had a chain for each
 * endpoint, too.)
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
  set hairpin-connections { type ipv4_addr . ipv4_addr . inet_proto . inet_service; }
  map service-ips { type ipv4_addr . inet_proto . inet_service : verdict; }
  map service-nodeports { type inet_proto . inet_service : verdict; }
  map firewall-ips { type ipv4_addr . inet_proto . inet_service : verdict; }
  map no-endpoint-services { type ipv4_addr . inet_proto . inet_service : verdict; }
  map no-endpoint-nodeports { type inet_proto . inet_service : verdict; }
  chain services {
    ip daddr @cluster-ips ip saddr != ${clientRange} mark set mark or ${mark}
    ip daddr . meta l4proto . th dport vmap @service-ips
    fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @service-nodeports
  }
  chain masquerading {
    mark and ${mark} != 0 mark set mark xor ${mark} masquerade fully-random
    ct status dnat ip saddr . ip daddr . meta l4proto . th dport @hairpin-connections masquerade fully-random
  }
  chain cluster-ips-check {
    ip daddr @cluster-ips reject
    ip daddr { ${virtualRange} } drop
  }
  chain firewall-check { ip daddr . meta l4proto . th dport vmap @firewall-ips; }
  chain service-endpoints-check { ip daddr . meta l4proto . th dport vmap @no-endpoint-services; }
  chain nodeport-endpoints-check {
    fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @no-endpoint-nodeports
  }
  chain filter-prerouting-pre-dnat {
    type filter hook prerouting priority -110
    ct state new jump firewall-check
  }
  chain filter-output-pre-dnat {
    type filter hook output priority -110
    ct state new jump firewall-check
  }
  chain filter-input {
    type filter hook input priority 0
    ct state new jump nodeport-endpoints-check
    ct state new jump service-endpoints-check
  }
  chain filter-forward {
    type filter hook forward priority 0
    ct state new jump service-endpoints-check
    ct state new jump cluster-ips-check
  }
  chain filter-output {
    type filter hook output priority 0
    ct state new jump service-endpoints-check
    ct state new jump cluster-ips-check
  }
  chain nat-prerouting { type nat hook prerouting priority -100; jump services; }
  chain nat-output { type nat hook output priority -100; jump services; }
  chain nat-postrouting { type nat hook postrouting priority 100; jump masquerading; }
}`;

/** For `nft -f`: all of it in one transaction, as kube-proxy does it. */
export function nftRules(plan: Plan): string {
  const services = Array.from({ length: plan.services }, (_, i) => i);
  return [
    base,
    ...services.flatMap((service) => [
      `add chain ${table} ${chainOf(service)}`,
      ruleOf(service, endpoints(plan, service)),
      `add element ${table} cluster-ips { ${virtualIp(service)} }`,
      `add element ${table} service-ips { ${virtualIp(service)} . tcp . ${servicePort} : goto ${chainOf(service)} }`,
    ]),
    '',
  ].join('\n');
}

/** The first service's replicas as they are after a change. */
export function nftChange(after: Plan): string {
  return [`flush chain ${table} ${chainOf(0)}`, ruleOf(0, endpoints(after, 0)), ''].join('\n');
}

/** With eight letters and digits before the name, as kube-proxy makes them of a hash. */
function chainOf(service: number): string {
  return `service-A${String(service).padStart(7, '0')}-default/${serviceName(service)}/tcp/`;
}

function ruleOf(service: number, addresses: readonly string[]): string {
  const choices = addresses.map((address, i) => `${i} : ${address} . ${endpointPort}`).join(', ');
  return `add rule ${table} ${chainOf(service)} meta l4proto tcp dnat ip addr . port to numgen random mod ${replicasEach} map { ${choices} }`;
}
