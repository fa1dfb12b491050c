/**
 * Rules of the shape that kube-proxy 1.36 makes in its iptables mode: a list of all virtual IPs that is gone through one by
 * one, a chain for each service that tries its endpoints with rising probability, a chain for each endpoint. Without the
 * comments, as kube-proxy leaves them out where there are many.
 */
import { clientRange, endpointPort, endpoints, servicePort, virtualIp, type Plan } from '../plan.js';

const mark = '0x4000';

/** For `iptables-restore`: both tables whole. */
export function iptablesRules(plan: Plan): string {
  const services = Array.from({ length: plan.services }, (_, i) => i);
  const each = services.map((service) => ({ service, replicas: endpoints(plan, service) }));
  return [
    ...filter,
    '*nat',
    ...['KUBE-SERVICES', 'KUBE-NODEPORTS', 'KUBE-POSTROUTING', 'KUBE-MARK-MASQ'].map(declared),
    ...each.flatMap(({ service, replicas }) =>
      [serviceChain(service), ...replicas.map((address) => endpointChain(address))].map(declared),
    ),
    '-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
    '-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
    '-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING',
    `-A KUBE-POSTROUTING -m mark ! --mark ${mark}/${mark} -j RETURN`,
    `-A KUBE-POSTROUTING -j MARK --xor-mark ${mark}`,
    '-A KUBE-POSTROUTING -j MASQUERADE --random-fully',
    `-A KUBE-MARK-MASQ -j MARK --or-mark ${mark}`,
    ...each.flatMap(({ service, replicas }) => [
      `-A KUBE-SERVICES -m tcp -p tcp -d ${virtualIp(service)} --dport ${servicePort} -j ${serviceChain(service)}`,
      ...serviceRules(service, replicas),
      ...replicas.flatMap(endpointRules),
    ]),
    '-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS',
    'COMMIT',
    '',
  ].join('\n');
}

/** For `iptables-restore --noflush`: chains that are declared are written anew, the others stay. */
export function iptablesChange(before: Plan, after: Plan): string {
  const [old, now] = [endpoints(before, 0), endpoints(after, 0)];
  const gone = old.filter((address) => !now.includes(address)).map(endpointChain);
  return [
    '*nat',
    ...[serviceChain(0), ...now.map(endpointChain), ...gone].map(declared),
    ...serviceRules(0, now),
    ...now.flatMap(endpointRules),
    ...gone.map((chain) => `-X ${chain}`),
    'COMMIT',
    '',
  ].join('\n');
}

const filter = [
  '*filter',
  ...[
    'KUBE-SERVICES',
    'KUBE-EXTERNAL-SERVICES',
    'KUBE-NODEPORTS',
    'KUBE-FORWARD',
    'KUBE-PROXY-FIREWALL',
    'KUBE-FIREWALL',
  ].map(declared),
  '-A INPUT -m conntrack --ctstate NEW -j KUBE-PROXY-FIREWALL',
  '-A INPUT -j KUBE-NODEPORTS',
  '-A INPUT -m conntrack --ctstate NEW -j KUBE-EXTERNAL-SERVICES',
  '-A INPUT -j KUBE-FIREWALL',
  '-A FORWARD -m conntrack --ctstate NEW -j KUBE-PROXY-FIREWALL',
  '-A FORWARD -j KUBE-FORWARD',
  '-A FORWARD -m conntrack --ctstate NEW -j KUBE-SERVICES',
  '-A FORWARD -m conntrack --ctstate NEW -j KUBE-EXTERNAL-SERVICES',
  '-A OUTPUT -m conntrack --ctstate NEW -j KUBE-PROXY-FIREWALL',
  '-A OUTPUT -m conntrack --ctstate NEW -j KUBE-SERVICES',
  '-A OUTPUT -j KUBE-FIREWALL',
  '-A KUBE-FIREWALL -d 127.0.0.0/8 ! -s 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP',
  '-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP',
  `-A KUBE-FORWARD -m mark --mark ${mark}/${mark} -j ACCEPT`,
  '-A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
  'COMMIT',
];

function declared(chain: string): string {
  return `:${chain} - [0:0]`;
}

function serviceChain(service: number): string {
  return `KUBE-SVC-${String(service).padStart(16, '0')}`;
}

function endpointChain(address: string): string {
  return `KUBE-SEP-${address
    .split('.')
    .map((byte) => Number(byte).toString(16).padStart(2, '0'))
    .join('')
    .toUpperCase()
    .padStart(16, 'A')}`;
}

function serviceRules(service: number, replicas: readonly string[]): string[] {
  const chain = serviceChain(service);
  return [
    `-A ${chain} -m tcp -p tcp -d ${virtualIp(service)} --dport ${servicePort} ! -s ${clientRange} -j KUBE-MARK-MASQ`,
    ...replicas.map((address, i) => {
      const left = replicas.length - i;
      const share = left === 1 ? '' : `-m statistic --mode random --probability ${(1 / left).toFixed(10)} `;
      return `-A ${chain} ${share}-j ${endpointChain(address)}`;
    }),
  ];
}

function endpointRules(address: string): string[] {
  const chain = endpointChain(address);
  return [
    `-A ${chain} -s ${address} -j KUBE-MARK-MASQ`,
    `-A ${chain} -m tcp -p tcp -j DNAT --to-destination ${address}:${endpointPort}`,
  ];
}
