import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { EbpfDatapath } from '../../datapath/ebpf.js';
import type { EbpfServices, ServiceRule } from '../../datapath/services/index.js';
import { ServiceFixture, type Talk } from '../../datapath/services/services.fixture.js';
import { choiceOf, shares, type Choice } from './choice.js';

const replicas = ['10.99.0.1', '10.99.0.2', '10.99.0.3'].map((address) => ({ address, port: 8080 }));

function rule(changes: Partial<ServiceRule> = {}): ServiceRule {
  return {
    address: '10.200.0.1',
    port: 80,
    protocol: 'tcp',
    rule: 'FORWARD',
    balance: 'BY_CLIENT',
    replicas,
    choices: Uint32Array.from({ length: 127 }, (_, i) => (i + (i >> 2)) % 3),
    synTimeoutMs: 100,
    own: new Map(),
    ...changes,
  };
}

/** What is said of a choice, beside what the kernel chooses. */
describe('choices', () => {
  let fixture: ServiceFixture;
  let datapath: EbpfDatapath;
  let services: EbpfServices;
  let talk: Talk;
  let cookie: bigint;

  beforeAll(async () => {
    fixture = new ServiceFixture('choice');
    for (const [i, { address }] of replicas.entries()) await fixture.serve(`r${i}`, 8080, address);
    talk = await fixture.talk();
    cookie = await fixture.cookie(fixture.near);
  }, 30_000);

  afterAll(() => fixture?.dispose());

  beforeEach(async () => {
    datapath = await EbpfDatapath.open({ bpffs: fixture.bpffs, slots: 1024 });
    services = await datapath.openServices({ choices: 8192, replicas: 1024 });
  });

  afterEach(async () => {
    services.close();
    await datapath.uninstall();
  });

  const said = (of: ServiceRule, number: number): Choice | undefined => {
    const id = services.table.idOf(of) as number;
    return choiceOf({ rule: of, id, client: { cookie, number }, count: services.table.count(of), draw: 0.5 });
  };

  it.each(['tcp', 'udp', 'datagram'] as const)(
    'by client are those of the kernel, whatever the service and the client (%s)',
    async (how) => {
      const protocol = how === 'tcp' ? 'tcp' : 'udp';
      const all = Array.from({ length: 6 }, (_, i) => rule({ address: `10.200.0.${i + 1}`, protocol }));
      await services.table.change(all);
      expect(new Set(all.map((each) => services.table.idOf(each))).size).toBe(6);
      const met = new Set<string>();
      for (const number of [0, 1, 7, 0x7fffffff, 0x80000000, 0xdeadbeef, 0xffffffff]) {
        services.setClients([{ cookie, number }]);
        for (const each of all) {
          const { who } = await talk.ask(how, each.address, 80);
          met.add(String(who));
          expect([each.address, number, who]).toEqual([
            each.address,
            number,
            `r${said(each, number)?.replica}`,
          ]);
        }
      }
      expect(met.size).toBe(3);
    },
  );

  it('in turn are those of the kernel, one after the other', async () => {
    const turns = rule({ balance: 'IN_TURN', choices: Uint32Array.of(0, 2, 1, 2, 2) });
    await services.table.change([turns]);
    services.setClients([{ cookie, number: 7 }]);
    const [expected, met]: [unknown[], unknown[]] = [[], []];
    for (let i = 0; i < 12; i++) {
      expected.push(`r${said(turns, 7)?.replica}`);
      met.push((await talk.ask('tcp', '10.200.0.1', 80)).who);
    }
    expect(met).toEqual(expected);
    expect(met.slice(0, 5)).toEqual(['r0', 'r2', 'r1', 'r2', 'r2']);
  });

  it('of its own replica, of the only one, and of none are those of the kernel', async () => {
    services.setClients([{ cookie, number: 7 }]);
    const cases = [
      rule({ address: '10.200.0.1', own: new Map([[cookie, 2]]) }),
      rule({ address: '10.200.0.2', choices: Uint32Array.of(1), balance: 'RANDOM' }),
      rule({ address: '10.200.0.3', rule: 'DROP', own: new Map([[cookie, 2]]) }),
      rule({ address: '10.200.0.4', choices: new Uint32Array(), own: new Map([[cookie, 2]]) }),
      // While all are moving a table says DELAY, and names them.
      rule({ address: '10.200.0.5', rule: 'DELAY', choices: Uint32Array.of(2) }),
    ];
    await services.table.change(cases);
    const found = [];
    for (const each of cases)
      found.push([said(each, 7)?.replica, (await talk.ask('tcp', each.address, 80)).who]);
    expect(found).toEqual([
      [2, 'r2'],
      [1, 'r1'],
      [undefined, undefined],
      [undefined, undefined],
      [2, 'r2'],
    ]);
  });

  it('by chance come as often as it is said', async () => {
    const drawn = rule({ balance: 'RANDOM', choices: Uint32Array.of(0, 1, 1, 1, 1, 1, 1, 1, 1, 1) });
    await services.table.change([drawn]);
    services.setClients([{ cookie, number: 7 }]);
    const counts = [0, 0, 0];
    for (let i = 0; i < 300; i++) {
      const { who } = await talk.ask('tcp', '10.200.0.1', 80);
      const at = Number(who?.slice(1));
      counts[at] = (counts[at] as number) + 1;
    }
    expect([...shares(drawn)].map((share) => Math.round(share * 100) / 100)).toEqual([0.1, 0.9, 0]);
    // Six standard deviations from 30.
    expect(counts[0]).toBeGreaterThan(0);
    expect(counts[0]).toBeLessThan(62);
    expect(counts[2]).toBe(0);
  });
});
