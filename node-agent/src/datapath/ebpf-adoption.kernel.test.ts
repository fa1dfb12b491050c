/** What an agent leaves behind, the next one finds. */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { KernelFixture } from './ebpf.fixture.js';
import { EbpfDatapath } from './ebpf.js';

const client = { address: '10.9.1.2', port: 40001 };
const server = { address: '10.1.1.2', port: 6379 };
const tuple = { local: client, remote: server };

describe.each(['tcx', 'clsact'] as const)('the next agent, attached by %s,', (attach) => {
  let fixture: KernelFixture;

  beforeEach(() => {
    fixture = new KernelFixture(`adopt-${attach}`, 1);
  });
  afterEach(() => fixture.dispose());

  it.each([
    ['holdPod', 'held', 'HELD_POD'],
    ['quiescePod', 'quiet', 'HELD_NEW'],
  ] as const)('finds what %s did, and ends it', async (operation, mark, reason) => {
    const [spec, options] = [fixture.pod(0), { bpffs: fixture.bpffs, slots: 64, attach }];
    const knock = () => fixture.send(spec.name, 'ingress', 'tcp', tuple, true);
    const first = await EbpfDatapath.open(options);
    await first.addPod(spec);
    await first[operation](spec.name, true);
    await first.close();
    expect(await knock()).toEqual({ kind: 'drop', reason });

    const next = await EbpfDatapath.open(options);
    expect(await next.pods()).toMatchObject([{ name: spec.name, attached: true, [mark]: true }]);
    // Kept while no agent was there; the ring buffer has it still.
    expect((await next.takeKept(spec.name)).map(({ direction, kind }) => [direction, kind])).toEqual([
      ['ingress', 'segment'],
    ]);
    await next[operation](spec.name, false);
    expect(await next.pods()).toMatchObject([{ attached: false, [mark]: false }]);
    expect(await knock()).toEqual({ kind: 'pass', tuple });
    await next.uninstall();
  });

  it('finds the sessions that were noted while no agent was there', async () => {
    const [spec, options] = [fixture.pod(0), { bpffs: fixture.bpffs, slots: 64, attach }];
    const first = await EbpfDatapath.open(options);
    await first.addPod(spec);
    await first.trackUdp(spec.name, true);
    await first.close();
    await fixture.send(spec.name, 'ingress', 'udp', tuple);
    const next = await EbpfDatapath.open(options);
    expect(await next.sessions(spec.name, 60_000)).toMatchObject([{ tuple }]);
    await next.uninstall();
  });
});
