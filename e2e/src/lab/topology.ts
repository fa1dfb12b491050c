import type { HostPlan, LabPlan, LinkPlan, SitePlan } from './address-plan.js';
import { batchScript } from './namespaces.js';

/* What is done in which namespace, as text: nothing here touches the kernel. */

/** Plain Ethernet everywhere: whoever adds bytes to a packet is found out. */
export const mtu = 1500;

export type ReversePathFilter = 'strict' | 'off';

/** One router or host, and the script that makes a fresh namespace into it. */
export interface NodeSetup {
  /** as in the plan: core, s1-router, s1-h1 */
  node: string;
  script: string;
}

/** The `ip -batch` lines that make all namespaces of routers and hosts, and the links between them. */
export function creationLines(plan: LabPlan, namespaceOf: (node: string) => string): string[] {
  const link = (upper: string, upperName: string, lower: string, lowerName: string) =>
    `link add name ${upperName} mtu ${mtu} netns ${namespaceOf(upper)} type veth ` +
    `peer name ${lowerName} mtu ${mtu} netns ${namespaceOf(lower)}`;
  const hosts = plan.sites.flatMap((site) => site.hosts);
  return [
    ...nodeNames(plan).map((node) => `netns add ${namespaceOf(node)}`),
    ...plan.sites.map((site) => link(plan.core, site.coreInterface, site.router, 'core')),
    ...hosts.map((host) => link(host.router, host.routerInterface, host.name, 'eth0')),
  ];
}

/** Names of all routers and hosts, the core first. */
export function nodeNames(plan: LabPlan): string[] {
  return [plan.core, ...plan.sites.flatMap((site) => [site.router, ...site.hosts.map((host) => host.name)])];
}

/** The setup of every router and host. */
export function nodeSetups(plan: LabPlan, filter: ReversePathFilter): NodeSetup[] {
  const setup = (node: string, lines: readonly string[]) => ({
    node,
    script: forwardingScript(filter) + batchScript(['link set lo up', ...lines]),
  });
  return [
    setup(plan.core, plan.sites.flatMap(coreLines)),
    ...plan.sites.map((site) => setup(site.router, routerLines(site))),
    ...plan.sites.flatMap((site) => site.hosts.map((host) => setup(host.name, hostLines(host)))),
  ];
}

/** Takes a host's link down at the site router; what is for the host is lost there without an answer. */
export function cutLines(host: HostPlan): string[] {
  return [
    `link set ${host.routerInterface} down`,
    ...behindHost(host).map((subnet) => `route replace blackhole ${subnet}`),
  ];
}

/** Undoes cutLines. */
export function mendLines(host: HostPlan): string[] {
  return [...behindHost(host).map((subnet) => `route del blackhole ${subnet}`), ...routerLinesToHost(host)];
}

/** The site router's side of the link to a host. */
function routerLinesToHost(host: HostPlan): string[] {
  const device = host.routerInterface;
  return [
    ...addressLines(device, host.link.upper4, host.link.upper6, host.link),
    `route replace ${host.podSubnet4} via ${host.link.lower4} dev ${device}`,
    `route replace ${host.podSubnet6} via ${host.link.lower6} dev ${device}`,
  ];
}

function behindHost(host: HostPlan): string[] {
  return [host.podSubnet4, host.podSubnet6, `${host.link.lower4}/32`, `${host.link.lower6}/128`];
}

/** Shell lines for sysctls that every namespace of the lab has. */
export function quietScript(): string {
  return [
    set('net/ipv6/conf/*/disable_ipv6', 0),
    set('net/ipv6/conf/*/accept_dad', 0), // addresses can be used at once
    set('net/ipv6/conf/*/accept_ra', 0),
    set('net/ipv6/conf/*/router_solicitations', 0),
    set('net/ipv6/conf/*/keep_addr_on_down', 1), // as IPv4 does
    '',
  ].join('\n');
}

function forwardingScript(filter: ReversePathFilter): string {
  return [
    quietScript(),
    set('net/ipv4/ip_forward', 1),
    set('net/ipv6/conf/all/forwarding', 1),
    set('net/ipv4/conf/*/rp_filter', filter === 'strict' ? 1 : 0),
    '',
  ].join('\n');
}

function coreLines(site: SitePlan): string[] {
  const { link, coreInterface } = site;
  return [
    ...addressLines(coreInterface, link.upper4, link.upper6, link),
    ...site.aggregates4.map((subnet) => `route replace ${subnet} via ${link.lower4} dev ${coreInterface}`),
    ...site.aggregates6.map((subnet) => `route replace ${subnet} via ${link.lower6} dev ${coreInterface}`),
  ];
}

function routerLines(site: SitePlan): string[] {
  const { link } = site;
  return [
    ...addressLines('core', link.lower4, link.lower6, link),
    ...defaultRoutes('core', link.upper4, link.upper6),
    // What no host of the site has must not go back to the core.
    ...site.aggregates4.map((subnet) => `route replace unreachable ${subnet}`),
    ...site.aggregates6.map((subnet) => `route replace unreachable ${subnet}`),
    ...site.hosts.flatMap(routerLinesToHost),
  ];
}

function hostLines(host: HostPlan): string[] {
  const { link } = host;
  return [
    ...addressLines('eth0', link.lower4, link.lower6, link),
    ...defaultRoutes('eth0', link.upper4, link.upper6),
    // A fixed address: left alone, a bridge takes the lowest of its ports', and changes it as pods come and go.
    `link add cni0 address 02:00:00:00:00:01 mtu ${mtu} type bridge mcast_snooping 0`,
    `address replace ${host.gateway4}/24 dev cni0`,
    `address replace ${host.gateway6}/64 dev cni0 nodad`,
    'link set cni0 up',
  ];
}

/** Default routes over a link or a gateway. */
export function defaultRoutes(device: string, via4: string, via6: string): string[] {
  return [
    `route replace default via ${via4} dev ${device}`,
    `route replace default via ${via6} dev ${device}`,
  ];
}

function addressLines(device: string, address4: string, address6: string, link: LinkPlan): string[] {
  return [
    `address replace ${address4}/${link.bits4} dev ${device}`,
    `address replace ${address6}/${link.bits6} dev ${device} nodad`,
    `link set ${device} up`,
  ];
}

function set(pattern: string, value: number): string {
  return `for file in /proc/sys/${pattern}; do echo ${value} > $file; done`;
}
