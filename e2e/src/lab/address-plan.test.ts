import { describe, expect, it } from '@jest/globals';
import { limits, planLab, podAddresses, podIndexOf, type HostPlan } from './address-plan.js';

function hostOf(sites: number, hostsPerSite: number): HostPlan {
  const host = planLab({ sites, hostsPerSite }).sites.at(-1)?.hosts.at(-1);
  if (host === undefined) throw new Error('no host');
  return host;
}

describe('planLab', () => {
  it('spells the place of a host in all of its addresses', () => {
    expect(hostOf(2, 3)).toEqual({
      name: 's2-h3',
      site: 's2',
      router: 's2-router',
      routerInterface: 'h3',
      link: {
        upper4: '172.17.2.13',
        upper6: 'fd01:2:3::1',
        lower4: '172.17.2.14',
        lower6: 'fd01:2:3::2',
        bits4: 30,
        bits6: 64,
      },
      podSubnet4: '10.2.3.0/24',
      podSubnet6: 'fd00:2:3::/64',
      gateway4: '10.2.3.1',
      gateway6: 'fd00:2:3::1',
    });
  });

  it('gives no address and no subnet twice in the largest lab', () => {
    const plan = planLab({ sites: limits.sites, hostsPerSite: limits.hostsPerSite });
    const hosts = plan.sites.flatMap((site) => site.hosts);
    const links = [...plan.sites.map((site) => site.link), ...hosts.map((host) => host.link)];
    const addresses = [
      ...links.flatMap((link) => [link.upper4, link.upper6, link.lower4, link.lower6]),
      ...hosts.flatMap((host) => [host.gateway4, host.gateway6, host.podSubnet4, host.podSubnet6]),
    ];
    expect(new Set(addresses).size).toBe(addresses.length);
  });

  it('keeps links within the aggregates that the core routes to their site, and in a /30 of their own', () => {
    for (const site of planLab({ sites: 3, hostsPerSite: limits.hostsPerSite }).sites) {
      const lastBytes = site.hosts.map((host) => Number(host.link.upper4.split('.')[3]));
      expect(lastBytes.every((byte) => byte % 4 === 1 && byte < 254)).toBe(true);
      expect(site.hosts.every((host) => host.link.upper4.startsWith(`172.17.${site.name.slice(1)}.`))).toBe(
        true,
      );
    }
  });

  it.each([
    [0, 1],
    [limits.sites + 1, 1],
    [1, limits.hostsPerSite + 1],
    [1.5, 1],
    [1, Number.NaN],
  ])('refuses %d sites with %d hosts', (sites, hostsPerSite) => {
    expect(() => planLab({ sites, hostsPerSite })).toThrow(
      expect.objectContaining({ code: 'ERR_BAD_INPUT' }),
    );
  });
});

describe('podAddresses', () => {
  it('gives the same number in both families, and the MAC of CNI plugins', () => {
    expect(podAddresses(hostOf(2, 3), 17)).toEqual({
      index: 17,
      address4: '10.2.3.17',
      address6: 'fd00:2:3::17',
      mac: '0a:58:0a:02:03:11',
    });
  });

  it.each([0, 1, 255, 2.5])('refuses index %d', (index) => {
    expect(() => podAddresses(hostOf(1, 1), index)).toThrow(
      expect.objectContaining({ code: 'ERR_BAD_INPUT' }),
    );
  });
});

describe('podIndexOf', () => {
  it('is the inverse of podAddresses', () => {
    expect(podIndexOf(hostOf(2, 3), podAddresses(hostOf(2, 3), 200).address4)).toBe(200);
  });

  it.each(['10.2.31.7', '10.1.3.7', '10.2.3.1', '10.2.3.255', 'fd00:2:3::7', 'nonsense'])(
    'refuses %s',
    (address) => {
      expect(() => podIndexOf(hostOf(2, 3), address)).toThrow(
        expect.objectContaining({ code: 'ERR_BAD_INPUT' }),
      );
    },
  );
});
