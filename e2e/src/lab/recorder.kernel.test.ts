import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { auditRecording, createLab, packetsTo, tcpFlag, type Lab, type Pod } from './index.js';
import { requireRoot } from './processes.js';
import { pidsOf, ping, traces } from './testing.js';

/* Works on the real kernel. Without root the first hook fails and says what to do. */
beforeAll(() => requireRoot());
jest.setTimeout(30_000);

const code = (value: string): unknown => expect.objectContaining({ code: value });

function tcpdumpOf(id: string): number {
  const pid = pidsOf(id).find((candidate) => readFileSync(`/proc/${candidate}/comm`, 'utf8') === 'tcpdump\n');
  if (pid === undefined) throw new Error('no tcpdump runs in the lab');
  return pid;
}

/** Sends some thousand datagrams, faster than anybody could stop for them. */
async function burst(from: Pod, address: string): Promise<void> {
  const send = `exec 3>/dev/udp/${address}/9; for ((i = 0; i < 5000; i += 1)); do echo >&3; done 2>/dev/null; exit 0`;
  await from.run('bash', ['-c', send]);
}

describe('the recorder', () => {
  let lab: Lab;
  let near: Pod;
  let far: Pod;

  beforeAll(async () => {
    lab = await createLab({ sites: 2, podsPerHost: 1, reversePathFilter: 'off' });
    near = lab.pod('p1');
    far = lab.pod('p2');
  });
  afterAll(() => lab.remove());

  it('sees each packet of clean traffic once, and nothing wrong in it', async () => {
    const recorder = await lab.recordFabric();
    const before = Date.now();
    await ping(near, far.address4);
    await ping(near, far.address6);
    await near.run('bash', ['-c', `exec 3<>/dev/tcp/${far.address4}/9`]).catch(() => undefined); // refused
    const recording = await recorder.stop();
    expect(recording.dropped).toBe(0);
    expect(auditRecording(recording, lab.assignments)).toEqual([]);
    expect(packetsTo(recording.packets, far.address4, { protocol: 'icmp' })).toHaveLength(1);
    expect(packetsTo(recording.packets, near.address4, { protocol: 'icmp' })).toHaveLength(1);
    expect(packetsTo(recording.packets, far.address6, { from: near.address6 })).toHaveLength(1);
    const [syn] = packetsTo(recording.packets, far.address4, { protocol: 'tcp' });
    expect(syn).toMatchObject({
      destinationPort: 9,
      tcpFlags: tcpFlag.syn,
      point: 's1-router/h1/in',
      behind: 's1-h1',
      payloadLength: 0,
    });
    const [reset] = packetsTo(recording.packets, near.address4, { protocol: 'tcp' });
    expect(reset).toMatchObject({
      sourcePort: 9,
      tcpFlags: tcpFlag.rst | tcpFlag.ack,
      ack: (syn?.seq ?? 0) + 1,
    });
    for (const packet of [syn, reset]) expect(packet?.time).toBeGreaterThanOrEqual(before);
    expect(reset?.time).toBeLessThanOrEqual(Date.now() + 1);
    expect(await recorder.stop()).toBe(recording);
    expect(traces(lab.id).filter((trace) => trace.endsWith('.pcap'))).toEqual([]);
  });

  it('flags a spoofed source, in IPv4 and IPv6', async () => {
    const recorder = await lab.recordFabric();
    await near.run('ip', ['address', 'add', '10.2.1.99/32', 'dev', 'lo']);
    await near.run('ip', ['address', 'add', 'fd00:2:1::99/128', 'dev', 'lo', 'nodad']);
    await near.run('ping', ['-c1', '-W1', '-I', '10.2.1.99', far.address4]).catch(() => undefined);
    await near.run('ping', ['-c1', '-W1', '-I', 'fd00:2:1::99', far.address6]).catch(() => undefined);
    const violations = auditRecording(await recorder.stop(), lab.assignments);
    expect(violations.map(({ kind, point, packet }) => [kind, point, packet?.source])).toEqual([
      ['unassigned-source', 's1-router/h1/in', '10.2.1.99'],
      ['unassigned-source', 's1-router/h1/in', 'fd00:2:1::99'],
    ]);
  });

  it("flags a pod's packets that arrive from another pod's host", async () => {
    const recorder = await lab.recordFabric();
    await near.run('ip', ['address', 'add', `${far.address4}/32`, 'dev', 'lo']);
    await near
      .run('ping', ['-c1', '-W1', '-I', far.address4, lab.host('s2-h1').address4])
      .catch(() => undefined);
    await near.run('ip', ['address', 'del', `${far.address4}/32`, 'dev', 'lo']);
    const violations = auditRecording(await recorder.stop(), lab.assignments);
    expect(violations).toMatchObject([
      { kind: 'unassigned-source', packet: { source: far.address4, behind: 's1-h1' } },
    ]);
  });

  it('flags an overlay', async () => {
    const vxlan = 'link add vx0 type vxlan id 7 dstport 4789 remote 172.17.2.6 local 172.17.1.6';
    const host = lab.host('s1-h1');
    await host.run('ip', vxlan.split(' '));
    await host.run('ip', ['address', 'add', '192.168.7.1/24', 'dev', 'vx0']);
    const recorder = await lab.recordFabric({ filter: 'udp port 4789' });
    await host.run('ip', ['link', 'set', 'vx0', 'up']);
    await host.run('ping', ['-c1', '-W1', '192.168.7.2']).catch(() => undefined);
    const recording = await recorder.stop();
    await host.run('ip', ['link', 'del', 'vx0']);
    const kinds = auditRecording(recording, lab.assignments).map(({ kind, reason }) => `${kind}: ${reason}`);
    expect(new Set(kinds)).toEqual(new Set(['encapsulation: VXLAN']));
    expect(kinds).toHaveLength(recording.packets.length);
  });

  it('records at chosen points in one direction or both', async () => {
    const at = (direction: 'in' | 'out' | 'both') => ({ at: near, interface: 'eth0', direction });
    const recorder = await lab.record([at('in'), at('out'), at('both')], { filter: 'icmp', snaplen: 64 });
    await ping(near, far.address4);
    const { points, packets } = await recorder.stop();
    expect(points.map(({ name, captured }) => [name, captured])).toEqual([
      ['p1/eth0/in', 1],
      ['p1/eth0/out', 1],
      ['p1/eth0/both', 2],
    ]);
    expect(packets[0]).toMatchObject({ length: 98, source: near.address4 });
  });

  it('has everything that passed before stop was called, also what tcpdump had no time for yet', async () => {
    const recorder = await lab.record([{ at: near, interface: 'eth0', direction: 'out' }], {
      filter: 'udp port 9',
    });
    const tcpdump = tcpdumpOf(lab.id);
    process.kill(tcpdump, 'SIGSTOP');
    await burst(near, far.address4);
    const stopped = recorder.stop();
    await delay(300);
    process.kill(tcpdump, 'SIGCONT');
    const { points, dropped } = await stopped;
    const sent = Number(
      /OutDatagrams.*\nUdp: (?:\d+ ){3}(\d+)/.exec(await near.run('cat', ['/proc/net/snmp']))?.[1],
    );
    expect(sent).toBeGreaterThan(1000);
    expect({ captured: points[0]?.captured, dropped }).toEqual({ captured: sent, dropped: 0 });
  });

  it('says how many packets the kernel had to drop, and the audit says so too', async () => {
    const point = { at: near, interface: 'eth0', direction: 'out' as const };
    const recorder = await lab.record([point], { filter: 'udp port 9', buffer: 64 });
    const tcpdump = tcpdumpOf(lab.id);
    process.kill(tcpdump, 'SIGSTOP');
    await burst(near, far.address4);
    process.kill(tcpdump, 'SIGCONT');
    const recording = await recorder.stop();
    expect(recording.dropped).toBeGreaterThan(0);
    expect(recording.points[0]?.dropped).toBe(recording.dropped);
    expect(auditRecording(recording, lab.assignments)).toMatchObject([
      { kind: 'incomplete', point: 'p1/eth0/out' },
    ]);
  });

  it('says what is wrong with an interface or a filter, and ends what it had started', async () => {
    const good = { at: near, interface: 'eth0' };
    await expect(lab.record([good, { at: near, interface: 'eth7' }])).rejects.toThrow(/eth7/);
    await expect(lab.record([good], { filter: 'no such filter' })).rejects.toThrow(code('ERR_BAD_INPUT'));
    await delay(100);
    const names = pidsOf(lab.id).map((pid) => readFileSync(`/proc/${pid}/comm`, 'utf8').trim());
    expect(names).not.toContain('tcpdump');
  });

  it('does not pass off a capture that ended early as a whole one', async () => {
    const pod = await lab.createPod({ name: 'short', host: 's1-h1' });
    const recorder = await lab.record([{ at: pod, interface: 'eth0' }]);
    await pod.remove();
    await expect(recorder.stop()).rejects.toThrow(/tcpdump ended early/);
  });
});
