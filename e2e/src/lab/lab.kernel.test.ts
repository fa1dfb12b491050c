import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { createLab, openLab, packetsTo, type Lab, type Pod } from './index.js';
import { requireRoot } from './processes.js';
import { ping } from './testing.js';

/* Works on the real kernel. Without root the first hook fails and says what to do. */
beforeAll(() => requireRoot());
jest.setTimeout(30_000);

const code = (value: string): unknown => expect.objectContaining({ code: value });

describe('a lab', () => {
  let lab: Lab;
  let near: Pod;
  let far: Pod;

  beforeAll(async () => {
    lab = await createLab({ sites: 2, hostsPerSite: 2 });
    near = await lab.createPod({ name: 'near', host: 's1-h1' });
    far = await lab.createPod({ name: 'far', host: 's2-h2' });
  });
  afterAll(() => lab.remove());

  it('connects pods of different sites over IPv4 and IPv6, through every router between them', async () => {
    for (const address of [far.address4, far.address6]) {
      expect(await ping(near, address)).toMatch(/ttl=59/); // 64 less two hosts and three routers
    }
  });

  it('connects pods of one site, and pods with hosts', async () => {
    const beside = await lab.createPod({ name: 'beside', host: 's1-h2' });
    await ping(near, beside.address4);
    await ping(near, lab.host('s2-h1').address4);
    await ping(near, lab.host('s2-h1').address6);
    await beside.remove();
  });

  it('spans no two subnets with one bridge', async () => {
    for (const node of [lab.core, ...lab.sites.map((site) => site.router)]) {
      expect(await node.run('ip', ['-o', 'link', 'show', 'type', 'bridge'])).toBe('');
    }
    const subnets = lab.hosts.flatMap((host) => [host.podSubnet4, host.podSubnet6]);
    expect(new Set(subnets).size).toBe(lab.hosts.length * 2);
  });

  it('drops what a pod sends under a foreign address, as rp_filter does', async () => {
    await near.run('ip', ['address', 'add', '10.9.9.9/32', 'dev', 'lo']);
    const recorder = await lab.recordFabric();
    await expect(near.run('ping', ['-c1', '-W1', '-I', '10.9.9.9', far.address4])).rejects.toThrow(
      code('ERR_KERNEL'),
    );
    await near.run('ip', ['address', 'del', '10.9.9.9/32', 'dev', 'lo']);
    expect(packetsTo((await recorder.stop()).packets, far.address4, { from: '10.9.9.9' })).toEqual([]);
  });

  it('answers for addresses that no host has instead of letting packets go in circles', async () => {
    await expect(ping(near, '10.2.77.7')).rejects.toMatchObject({
      details: { stdout: expect.stringMatching(/Unreachable/) },
    });
  });

  it('loses what is sent over a cut cable without an answer, and nothing after it was mended', async () => {
    const all = ['-c', 'ip route; ip -6 route; ip -br address'];
    const routes = async () => (await lab.sites[1]?.router.run('sh', all))?.split('\n').sort();
    const before = await routes();
    for (const address of [far.address4, far.address6, lab.host('s2-h2').address4]) {
      await lab.cut('s2-h2');
      const lost = ping(near, address);
      await expect(lost).rejects.toMatchObject({
        details: { stdout: expect.not.stringMatching(/Unreachable/) },
      });
      await lab.mend('s2-h2');
      await ping(near, address);
    }
    expect(await routes()).toEqual(before);
  });

  it('draws itself', () => {
    expect(lab.describe()).toContain(
      '    `-- s2-h2  172.17.2.10  fd01:2:2::2  pods 10.2.2.0/24  fd00:2:2::/64\n',
    );
    expect(lab.describe()).toMatch(/`-- far {2}10\.2\.2\.2 {2}fd00:2:2::2$/);
  });

  it('can be opened by another process, or again', async () => {
    const again = openLab(lab.id);
    expect(again.describe()).toBe(lab.describe());
    await ping(again.pod('near'), far.address4);
  });

  it('names the hosts and pods that exist when asked for another', async () => {
    expect(() => lab.host('h9')).toThrow(/the lab has s1-h1, s1-h2, s2-h1, s2-h2/);
    expect(() => lab.pod('p9')).toThrow(/the lab has near, far/);
    await expect(lab.createPod({ name: 'x', host: 's3-h1' })).rejects.toThrow(code('ERR_NOT_FOUND'));
  });
});
