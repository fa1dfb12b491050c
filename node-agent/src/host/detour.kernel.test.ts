/** Detours around addresses that nobody on the segment has any more. Needs root. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { A, makeNamespaces, netns, removeNamespaces, run } from '../native-netns.fixture.js';
import { detour, endDetour } from './detour.js';

/** The way that a packet of the namespace's own takes. */
function wayTo(address: string): { gateway?: string; dev?: string } {
  const [route] = JSON.parse(run(A, 'ip', '-json', 'route', 'get', address)) as [
    { gateway?: string; dev?: string },
  ];
  return route;
}

const rules = (family: string): string => run(A, 'ip', family, 'rule', 'show');

describe.each([
  {
    family: '-4',
    own: '10.77.0.1',
    gateway: '10.77.0.2',
    old: '10.77.0.50',
    lost: '10.88.0.1',
    behind: '203.0.113.9',
  },
  { family: '-6', own: 'fd77::1', gateway: 'fd77::2', old: 'fd77::50', lost: 'fd88::1', behind: 'fd99::9' },
] as const)('a detour ($family)', ({ family, own, gateway, old, lost, behind }) => {
  let before: string;

  beforeAll(() => {
    makeNamespaces();
    run(A, 'ip', family, 'route', 'add', 'default', 'via', gateway);
    run(A, 'ip', family, 'route', 'add', 'blackhole', lost);
    before = rules(family);
  });
  afterAll(removeNamespaces);

  it('leads what the stack sends to an address of its own segment by the way to another', async () => {
    expect(wayTo(old).gateway).toBeUndefined();
    expect(await detour(netns(A), old, behind)).toBe(true);
    expect(wayTo(old)).toMatchObject({ gateway, dev: 'eth0' });
    const neighbour = old.replace(/50$/, '51');
    expect(wayTo(neighbour).gateway).toBeUndefined();
    await endDetour(netns(A), old);
    await endDetour(netns(A), old);
    expect(wayTo(old).gateway).toBeUndefined();
    expect(rules(family)).toBe(before);
  });

  it('follows the flow, and leads over the next address itself where that is on the segment', async () => {
    await detour(netns(A), old, behind);
    expect(await detour(netns(A), old, gateway)).toBe(true);
    expect(wayTo(old)).toMatchObject({ gateway });
    await endDetour(netns(A), old);
  });

  it('helps where the route to the old address went away with its pod', async () => {
    expect(() => wayTo(lost)).toThrow();
    expect(await detour(netns(A), lost, behind)).toBe(true);
    expect(wayTo(lost)).toMatchObject({ gateway });
    await endDetour(netns(A), lost);
  });

  it('is not made where the old address lies behind a gateway, or is an address of its own', async () => {
    const other = behind.replace(/9$/, '8');
    expect(await detour(netns(A), behind, other)).toBe(false);
    expect(await detour(netns(A), own, behind)).toBe(false);
    expect(rules(family)).toBe(before);
  });

  it('is refused by name where it can not be made', async () => {
    await expect(detour(netns(A), old, lost)).rejects.toMatchObject({ code: 'ERR_KERNEL' });
    await expect(detour(netns(A), `${old}/32`, behind)).rejects.toMatchObject({ code: 'ERR_BAD_INPUT' });
    await expect(detour('/run/netns/serval-gone', old, behind)).rejects.toMatchObject({ code: 'ERR_KERNEL' });
    expect(rules(family)).toBe(before);
  });
});
