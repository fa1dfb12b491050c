import { describe, expect, it } from '@jest/globals';
import type { ResolveAnswer, ResolveView } from '@serval/api';
import type { Client } from './choice.js';
import type { ServiceState } from './controller.js';
import { resolve, type ResolveQuestion, type ResolveSources } from './resolve.js';
import { asRead, endpoints, servicesOf, stateOf, type Given } from './views.fixture.js';

interface Around {
  states?: ServiceState[];
  client?: Client | undefined;
  turn?: number;
  draw?: number;
  isInTable?: boolean;
}

const cookie = 4711n;

function asked(question: Partial<ResolveQuestion>, around: Around = {}): ResolveView {
  const { states = [stateOf()], turn = 0, draw = 0.5, isInTable = true } = around;
  const sources: ResolveSources = {
    services: servicesOf(...states),
    count: () => ({ turn, resolved: turn, refused: 0, waited: 0 }),
    seen: () => () => undefined,
    idOf: () => (isInTable ? 3 : undefined),
    left: (address) => (address === '10.1.1.2' ? { address: '10.2.1.3', node: 'far' } : undefined),
    client: 'client' in around ? around.client : { cookie, number: 7 },
    draw: () => draw,
  };
  return asRead(resolve({ name: 'cart', from: 'shop/web', ...question }, sources));
}

function only(given: Given, around: Around = {}): ResolveAnswer {
  const { answers } = asked({}, { states: [stateOf(given)], ...around });
  expect(answers).toHaveLength(1);
  return answers[0] as ResolveAnswer;
}

const two = endpoints.slice(1, 3);
const three = ['10.0.0.2', '10.0.0.4', '10.0.0.5'].map((address) => ({
  addresses: [address],
  nodeName: 'near',
}));

describe('what a connect() gets', () => {
  it('is the only one that is chosen', () => {
    expect(asked({})).toEqual({
      name: 'cart',
      from: 'shop/web',
      service: 'shop/cart',
      problems: [],
      answers: [
        {
          asked: { address: '10.96.0.1', port: 80 },
          protocol: 'tcp',
          service: 'shop/cart',
          rule: 'DEMUX',
          outcome: 'replica',
          fails: false,
          by: 'only',
          replica: expect.objectContaining({ address: '10.0.0.1', port: 8080, ring: 'node', weight: 1 }),
          reason: 'no other is chosen',
        },
      ],
    });
  });

  it('is drawn by chance, and the chances are told', () => {
    const low = only({ endpoints: three }, { draw: 0 });
    const others = [0.2, 0.4, 0.6, 0.8, 0.999].map(
      (draw) => only({ endpoints: three }, { draw }).replica?.address,
    );
    expect(low).toMatchObject({ by: 'chance', rule: 'FORWARD', reason: expect.stringMatching(/one draw$/) });
    expect(new Set([low.replica?.address, ...others]).size).toBe(3);
    expect(low.chances?.map(({ address }) => address)).toEqual(['10.0.0.2', '10.0.0.4', '10.0.0.5']);
    for (const { chance } of low.chances ?? []) expect(chance).toBeCloseTo(1 / 3, 1);
    expect(low.chances?.reduce((sum, { chance }) => sum + chance, 0)).toBeCloseTo(1);
  });

  it('comes in turn, as often as was asked before', () => {
    const turn = (at: number): string | undefined =>
      only({ endpoints: three, spec: { balance: 'RoundRobin' } }, { turn: at }).replica?.address;
    const found = [0, 1, 2, 3].map(turn);
    expect(new Set(found.slice(0, 3)).size).toBe(3);
    expect(found[3]).toBe(found[0]);
    // The kernel's number has 32 bits.
    expect(turn(2 ** 32)).toBe(found[0]);
    expect(turn(2 ** 32 + 1)).toBe(found[1]);
  });

  it('is its own for a client, draw what it may', () => {
    const by = (number: number, draw: number): ResolveAnswer =>
      only({ endpoints: three, spec: { affinity: 'Client' } }, { client: { cookie, number }, draw });
    const found = [1, 2, 3, 4, 5, 6].map((number) => by(number, 0).replica?.address);
    expect(new Set(found).size).toBeGreaterThan(1);
    expect([1, 2, 3, 4, 5, 6].map((number) => by(number, 0.9).replica?.address)).toEqual(found);
    expect(by(1, 0)).toMatchObject({
      by: 'client',
      reason: expect.stringMatching(/affinity is Client\): number 1 /),
    });
    expect(by(1, 0).chances).toBeUndefined();
  });

  it('is itself where it is a replica and the service wants that', () => {
    const own = { '10.0.0.4': cookie };
    const given: Given = { endpoints: three, own, spec: { ownReplica: 'Prefer' } };
    expect(only(given)).toMatchObject({ by: 'own', replica: { address: '10.0.0.4' } });
    expect(only(given, { client: { cookie: 1n, number: 7 } }).by).toBe('chance');
  });

  it('is nothing where nobody can be chosen, and why', () => {
    const notReady = two.map((each) => ({ ...each, conditions: { ready: false } }));
    expect(only({ endpoints: notReady })).toMatchObject({
      outcome: 'refused',
      rule: 'DROP',
      fails: true,
      reason: 'no replica takes flows (2: not ready): connect() fails at once',
    });
    expect(only({ endpoints: [] }).reason).toBe('it has no replicas: connect() fails at once');
  });

  it('waits where the service says so; datagrams do not', () => {
    const spec = { whenEmpty: 'Wait', maxDelayMs: 5_000 } as const;
    expect(only({ endpoints: [], spec })).toMatchObject({
      outcome: 'waits',
      rule: 'DELAY',
      fails: false,
      reason: expect.stringMatching(/5000 ms/),
    });
    const udp = only({ endpoints: [], spec: { ...spec, ports: [{ port: 53, protocol: 'UDP' }] } });
    expect(udp).toMatchObject({ outcome: 'refused', rule: 'DELAY', fails: true });
  });

  it('is one that is moving where all of them are', () => {
    const moving = { load: { established: 0, backlog: 0, moving: true } };
    expect(only({ endpoints: two, measured: { '10.0.0.2': moving, '10.0.0.3': moving } })).toMatchObject({
      outcome: 'replica',
      rule: 'DELAY',
      fails: false,
      replica: { reason: expect.stringMatching(/being moved/) },
    });
  });

  it.each([
    ['whoever is no client', { client: undefined }, /shop\/web is no client here/],
    ['a service that found no room', { isInTable: false }, /not in the kernel's table/],
  ])('leaves alone %s', (_, around, reason) => {
    expect(only({}, around)).toMatchObject({
      outcome: 'asItIs',
      fails: false,
      reason: expect.stringMatching(reason),
    });
  });
});

describe('an address', () => {
  it('is a service by its virtual IP, with all its ports or one', () => {
    const ports = [
      { name: 'http', port: 80 },
      { name: 'dns', port: 53, protocol: 'UDP' as const },
    ];
    const around = { states: [stateOf({ spec: { ports } })] };
    const places = (question: Partial<ResolveQuestion>): unknown =>
      asked(question, around).answers.map(({ asked: { port }, protocol }) => `${port}/${protocol}`);
    expect(places({ name: '10.96.0.1' })).toEqual(['80/tcp', '53/udp']);
    expect(places({ name: '10.96.0.1:53' })).toEqual(['53/udp']);
    expect(places({ name: '10.96.0.1', protocol: 'tcp' })).toEqual(['80/tcp']);
    expect(places({})).toEqual(['80/tcp', '53/udp']);
    expect(places({ port: 'dns' })).toEqual(['53/udp']);
    expect(places({ name: 'cart:80' })).toEqual(['80/tcp']);
  });

  it('that a workload has left leads to where it is', () => {
    expect(asked({ name: '10.1.1.2:6379' })).toMatchObject({
      answers: [
        {
          outcome: 'moved',
          fails: false,
          asked: { address: '10.1.1.2', port: 6379 },
          replica: { address: '10.2.1.3', port: 6379, node: 'far' },
        },
      ],
    });
  });

  it('of nobody is left alone', () => {
    const { answers } = asked({ name: '10.96.0.1:81' });
    expect(answers).toMatchObject([{ outcome: 'asItIs', fails: false, asked: { port: 81 } }]);
  });
});

describe('a name', () => {
  it('is one of the namespace of who asks, and "default" for the host', () => {
    expect(asked({ name: 'cart', from: 'shop/web' }).service).toBe('shop/cart');
    expect(() => asked({ name: 'cart', from: 'host/processes' })).toThrow(/default\/cart/);
    expect(asked({ name: 'cart.shop.svc.cluster.local', from: 'host/processes' }).service).toBe('shop/cart');
  });

  it.each([
    [{ name: 'a b' }, 'ERR_BAD_INPUT'],
    [{ name: 'nothing' }, 'ERR_NOT_FOUND'],
    [{ name: 'cart', port: '81' }, 'ERR_NOT_FOUND'],
    [{ name: 'cart', protocol: 'udp' }, 'ERR_NOT_FOUND'],
    [{ name: 'cart:80', port: '81' }, 'ERR_BAD_INPUT'],
    [{ name: '10.9.9.9' }, 'ERR_NOT_FOUND'],
    [{ name: '10.9.9.9', port: 'http' }, 'ERR_BAD_INPUT'],
    [{ name: '10.1.1.2' }, 'ERR_BAD_INPUT'],
  ] as const)('%j fails with %s', (question, code) => {
    const failure = (): unknown => {
      try {
        return asked(question);
      } catch (error) {
        return error;
      }
    };
    expect(failure()).toMatchObject({ code, remedy: expect.anything() });
  });

  it('of a service with problems tells them, and who is there instead', () => {
    const other = stateOf({ name: 'older' });
    const cart = { ...stateOf(), ports: [], problems: [{ subject: 's', reason: 'r', remedy: 'm' }] };
    const view = asked({}, { states: [cart, other] });
    expect(view.problems).toEqual(['s: r. m.']);
    expect(view.answers).toMatchObject([
      {
        service: 'shop/older',
        outcome: 'replica',
        note: expect.stringMatching(/shop\/older, not to shop\/cart/),
      },
    ]);
    const none = asked({}, { states: [stateOf({ spec: { virtualIPs: [] } })] });
    expect(none).toMatchObject({ answers: [], problems: [expect.stringMatching(/no virtual IP/)] });
  });
});
