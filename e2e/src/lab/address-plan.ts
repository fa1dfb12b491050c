import { ServalError } from '@serval/api';
import { canonicalAddress } from './ip-address.js';

/*
 * The same digits name a place everywhere: site 2, host 3, pod 7 is 10.2.3.7 and fd00:2:3::7. (The IPv6 groups
 * spell the decimal digits; they are hexadecimal to the kernel, which does no harm.)
 *
 *   pods           10.SITE.HOST.0/24            fd00:SITE:HOST::/64     gateway .1, pods .2 to .254
 *   router, host   172.17.SITE.(4*HOST)/30      fd01:SITE:HOST::/64     router .1, host .2
 *   core, router   172.16.SITE.0/30             fd01:SITE::/64          core .1, router .2
 */

export const limits = { sites: 200, hostsPerSite: 62, firstPod: 2, lastPod: 254 } as const;

/** A point-to-point link; `upper` is the end nearer to the core. */
export interface LinkPlan {
  upper4: string;
  upper6: string;
  lower4: string;
  lower6: string;
  /** prefix lengths, in bits */
  bits4: 30;
  bits6: 64;
}

export interface HostPlan {
  /** `s1-h1`: unique in the lab */
  name: string;
  site: string;
  router: string;
  /** the site router's interface towards this host */
  routerInterface: string;
  link: LinkPlan;
  podSubnet4: string;
  podSubnet6: string;
  gateway4: string;
  gateway6: string;
}

export interface SitePlan {
  /** `s1` */
  name: string;
  /** `s1-router` */
  router: string;
  /** the core's interface towards this site */
  coreInterface: string;
  link: LinkPlan;
  /** everything behind this site's router, as the core routes it */
  aggregates4: readonly string[];
  aggregates6: readonly string[];
  hosts: readonly HostPlan[];
}

export interface LabPlan {
  core: 'core';
  sites: readonly SitePlan[];
}

export interface PodAddresses {
  /** last number of both addresses */
  index: number;
  address4: string;
  address6: string;
  /** derived from address4, as CNI plugins do, so that a later owner of the address has the same */
  mac: string;
}

/**
 * Names and addresses of a lab's routers and hosts.
 * @throws ServalError ERR_BAD_INPUT when a count is out of range
 */
export function planLab(shape: { sites: number; hostsPerSite: number }): LabPlan {
  requireCount('sites', shape.sites, limits.sites);
  requireCount('hosts per site', shape.hostsPerSite, limits.hostsPerSite);
  const sites = Array.from({ length: shape.sites }, (_, index) => planSite(index + 1, shape.hostsPerSite));
  return { core: 'core', sites };
}

/**
 * Addresses of the pod with the number `index` on a host.
 * @throws ServalError ERR_BAD_INPUT when the pod subnet has no such address
 */
export function podAddresses(host: HostPlan, index: number): PodAddresses {
  if (!Number.isInteger(index) || index < limits.firstPod || index > limits.lastPod) {
    throw new ServalError('ERR_BAD_INPUT', {
      subject: `pod index ${index}`,
      reason: `pods of ${host.name} are numbered ${limits.firstPod} to ${limits.lastPod}`,
      remedy: 'Give another index, or none to have one chosen',
    });
  }
  const address4 = host.podSubnet4.replace(/0\/24$/, String(index));
  return { index, address4, address6: host.podSubnet6.replace('/64', String(index)), mac: macOf(address4) };
}

/**
 * Number of the pod that has this IPv4 address on a host: the inverse of podAddresses.
 * @throws ServalError ERR_BAD_INPUT when the address is outside of the host's pod subnet
 */
export function podIndexOf(host: HostPlan, address4: string): number {
  const prefix = host.podSubnet4.replace(/0\/24$/, '');
  const address = canonicalAddress(address4);
  if (!address.startsWith(prefix)) {
    throw new ServalError('ERR_BAD_INPUT', {
      subject: `address ${address4}`,
      reason: `it is not in ${host.podSubnet4}, the pod subnet of ${host.name}`,
      remedy: 'Give an address of that subnet, or create the pod on the host that the address belongs to',
    });
  }
  return podAddresses(host, Number(address.slice(prefix.length))).index;
}

/** `0a:58` and the four bytes of the address. */
export function macOf(address4: string): string {
  return `0a:58:${address4
    .split('.')
    .map((byte) => Number(byte).toString(16).padStart(2, '0'))
    .join(':')}`;
}

function planSite(site: number, hosts: number): SitePlan {
  const name = `s${site}`;
  return {
    name,
    router: `${name}-router`,
    coreInterface: name,
    link: planLink(`172.16.${site}.`, 0, `fd01:${site}::`),
    aggregates4: [`10.${site}.0.0/16`, `172.17.${site}.0/24`],
    aggregates6: [`fd00:${site}::/32`, `fd01:${site}::/32`],
    hosts: Array.from({ length: hosts }, (_, index) => planHost(site, index + 1)),
  };
}

function planHost(site: number, host: number): HostPlan {
  return {
    name: `s${site}-h${host}`,
    site: `s${site}`,
    router: `s${site}-router`,
    routerInterface: `h${host}`,
    link: planLink(`172.17.${site}.`, host * 4, `fd01:${site}:${host}::`),
    podSubnet4: `10.${site}.${host}.0/24`,
    podSubnet6: `fd00:${site}:${host}::/64`,
    gateway4: `10.${site}.${host}.1`,
    gateway6: `fd00:${site}:${host}::1`,
  };
}

function planLink(prefix4: string, base4: number, prefix6: string): LinkPlan {
  return {
    upper4: `${prefix4}${base4 + 1}`,
    upper6: `${prefix6}1`,
    lower4: `${prefix4}${base4 + 2}`,
    lower6: `${prefix6}2`,
    bits4: 30,
    bits6: 64,
  };
}

function requireCount(subject: string, count: number, most: number): void {
  if (Number.isInteger(count) && count >= 1 && count <= most) return;
  throw new ServalError('ERR_BAD_INPUT', {
    subject: `number of ${subject} (${count})`,
    reason: `a lab has 1 to ${most}`,
    remedy: 'Give a whole number in that range',
  });
}
