import { describe, expect, it } from '@jest/globals';
import type { ReplicaView, ResolveAnswer, ResolveView, ServicePortView, ServiceView } from '@serval/api';
import { resolveFails, resolveLines, serviceDetail, serviceLines } from './describe-services.js';

const narrow = { wide: false, width: 80, now: 0 };
const wide = { ...narrow, wide: true };

function replica(number: number, more: Partial<ReplicaView> = {}): ReplicaView {
  return {
    address: `10.0.0.${number}`,
    port: 8080,
    node: `host-${number}`,
    zone: 'a',
    ring: 'zone',
    weight: 0.5,
    health: 'good',
    ready: true,
    draining: false,
    reason: 'the nearest: zone takes all',
    ...more,
  };
}

function port(more: Partial<ServicePortView> = {}): ServicePortView {
  return {
    port: 80,
    protocol: 'tcp',
    family: 4,
    virtualIPs: ['10.96.0.1'],
    rule: 'FORWARD',
    balance: 'RANDOM',
    resolved: 12,
    refused: 0,
    waited: 0,
    replicas: [replica(1), replica(2)],
    ...more,
  };
}

function service(more: Partial<ServiceView> = {}): ServiceView {
  return {
    name: 'shop/cart',
    virtualIPs: ['10.96.0.1'],
    policy: {
      locality: 'Prefer',
      balance: 'LeastLoad',
      affinity: 'None',
      ownReplica: 'Ignore',
      whenEmpty: 'Fail',
      attempts: 3,
      synTimeoutMs: 100,
      maxDelayMs: 30_000,
    },
    inUse: true,
    ports: [port()],
    problems: [],
    ...more,
  };
}

describe('the service table', () => {
  it('has a line for each port and family, and what is wrong after it', () => {
    const spills = [
      replica(1, { weight: 0.823, load: { established: 7, backlog: 0, moving: false } }),
      replica(2, { ring: 'region', weight: 0.177, load: { established: 2, backlog: 1, moving: false } }),
      replica(3, { weight: 0, health: 'silent' }),
    ];
    const lines = serviceLines(
      [
        service({
          ports: [
            port({ replicas: spills }),
            port({
              family: 6,
              virtualIPs: ['fd00::1', 'fd00::2'],
              replicas: [],
              rule: 'DROP',
              balance: 'BY_CLIENT',
            }),
          ],
        }),
        service({
          name: 'shop/none',
          ports: [],
          problems: ['service shop/none: it has no ports. Name one.'],
        }),
        service({
          name: 'shop/lost',
          ports: [port({ virtualIPs: [], protocol: 'udp', balance: 'IN_TURN' })],
        }),
      ],
      narrow,
    );
    expect(lines).toEqual([
      'SERVICE    ADDRESS                            RULE     BALANCE    CHOSEN  RINGS                   FLOWS  HEALTH            CONNECTS',
      'shop/cart  10.96.0.1:80/tcp                   FORWARD  by chance  2 of 3  zone 82 %, region 18 %  9      good 2, silent 1  12',
      'shop/cart  [fd00::1]:80/tcp,[fd00::2]:80/tcp  DROP     by client  0 of 0  -                       -      -                 12',
      'shop/none  -                                  -        -          -       -                       -      -                 -',
      'shop/lost  - (port 80/udp)                    FORWARD  in turn    2 of 2  zone 100 %              -      good 2            12',
      'PROBLEM  service shop/none: it has no ports. Name one.',
    ]);
    expect(serviceLines([], narrow)).toEqual(['This node knows no services.']);
  });

  it('has a line for each replica where it is wide', () => {
    const moved = replica(2, {
      identity: '10.1.0.9',
      weight: 0.0004,
      load: { established: 3, backlog: 1, moving: true },
      ...{ rttUs: 240, connections: 9, failures: 1 },
    });
    delete moved.node;
    delete moved.zone;
    const lines = serviceLines(
      [
        service({
          ports: [port({ replicas: [replica(1, { draining: true }), moved] }), port({ replicas: [] })],
        }),
      ],
      wide,
    );
    expect(lines.map((line) => line.split(/ {2,}/))).toEqual([
      [
        'SERVICE',
        'ADDRESS',
        'RULE',
        'REPLICA',
        'NODE',
        'ZONE',
        'RING',
        'WEIGHT',
        'STATE',
        'HEALTH',
        'FLOWS',
        'BACKLOG',
        'RTT',
        'CONNECTS',
        'FAILED',
        'REASON',
      ],
      [
        'shop/cart',
        '10.96.0.1:80/tcp',
        'FORWARD',
        '10.0.0.1:8080',
        'host-1',
        'a',
        'zone',
        '50 %',
        'draining',
        'good',
        '-',
        '-',
        '-',
        '-',
        '-',
        'the nearest: zone takes all',
      ],
      [
        'shop/cart',
        '10.96.0.1:80/tcp',
        'FORWARD',
        '10.0.0.2:8080 (was 10.1.0.9)',
        '-',
        '-',
        'zone',
        '<0.1 %',
        'moving',
        'good',
        '3',
        '1',
        '0.2 ms',
        '9',
        '1',
        'the nearest: zone takes all',
      ],
      ['shop/cart', '10.96.0.1:80/tcp', 'FORWARD', ...Array<string>(13).fill('-')],
    ]);
  });

  it('can be very long', () => {
    const replicas = Array.from({ length: 150_000 }, (_, i) => replica(i));
    expect(serviceLines([service({ ports: [port({ replicas })] })], wide)).toHaveLength(150_001);
  });
});

describe('one service', () => {
  it('is told with its policy and replicas, those with the most flows first', () => {
    const lines = serviceDetail(
      service({
        inUse: false,
        ports: [
          port({
            name: 'http',
            refused: 2,
            replicas: [replica(1, { weight: 0.05 }), replica(2, { weight: 0.95, ready: false })],
          }),
          port({ replicas: [] }),
        ],
        problems: ['p'],
      }),
    );
    expect(lines).toEqual([
      'shop/cart: locality Prefer, balance LeastLoad, affinity None, own replica Ignore, when empty Fail, failover after 100 ms, 3 attempts',
      'nobody here has connected of late: the load of its replicas is not followed',
      '',
      '10.96.0.1:80/tcp (http): FORWARD, by chance; 12 connects, 2 refused, 0 waited',
      expect.stringMatching(/^REPLICA .* REASON$/),
      expect.stringMatching(/^10\.0\.0\.2:8080 .* 95 % +not ready/),
      expect.stringMatching(/^10\.0\.0\.1:8080 .* 5\.0 % +ready/),
      '',
      '10.96.0.1:80/tcp: FORWARD, by chance; 12 connects, 0 refused, 0 waited',
      'no replicas',
      'PROBLEM  p',
    ]);
    const { policy } = service();
    const other = serviceDetail(
      service({ policy: { ...policy, attempts: 1, whenEmpty: 'Wait' }, ports: [] }),
    );
    expect(other).toEqual([expect.stringMatching(/when empty Wait \(30\.0 s\), no failover$/)]);
  });
});

function resolved(...answers: Array<Partial<ResolveAnswer>>): ResolveView {
  const common: ResolveAnswer = {
    asked: { address: '10.96.0.1', port: 80 },
    protocol: 'tcp',
    service: 'shop/cart',
    rule: 'FORWARD',
    outcome: 'replica',
    fails: false,
    reason: 'why',
  };
  return {
    name: 'cart',
    from: 'shop/web',
    service: 'shop/cart',
    problems: [],
    answers: answers.map((each) => ({ ...common, ...each })),
  };
}

describe('what a connect() would get', () => {
  it('is a replica, with how it was chosen and why it has its weight', () => {
    expect(resolveLines(resolved({ by: 'client', replica: replica(1), note: 'n' }), narrow)).toEqual([
      '10.96.0.1:80/tcp (shop/cart) from shop/web: 10.0.0.1:8080 on host-1 (zone)',
      '  why',
      '  it has 50 % of the flows: the nearest: zone takes all',
      '  n',
    ]);
  });

  it('is one of several by chance, the likeliest first', () => {
    const { address, port: at, ring, health, reason } = replica(1);
    const one = { address, port: at, ring, health, reason };
    const chances = Array.from({ length: 25 }, (_, i) => ({
      ...one,
      address: `10.0.1.${i}`,
      chance: i / 300,
    }));
    const view = resolved({ by: 'chance', replica: replica(1), chances });
    const lines = resolveLines(view, narrow);
    expect(lines.slice(3, 5)).toEqual([
      '  CHANCE  REPLICA         NODE  RING  HEALTH  REASON',
      '  8.0 %   10.0.1.24:8080  -     zone  good    the nearest: zone takes all',
    ]);
    expect(lines).toHaveLength(25);
    expect(lines.at(-1)).toBe('  and 5 others, see -o wide');
    expect(resolveLines(view, wide)).toHaveLength(29);
  });

  it.each([
    [{ outcome: 'refused', rule: 'DROP', fails: true }, 'refused (DROP)', true],
    [{ outcome: 'waits', rule: 'DELAY' }, 'waits (DELAY)', false],
    [{ outcome: 'asItIs' }, '10.96.0.1:80/tcp, as it is', false],
    [{ outcome: 'moved', replica: { address: 'fd00::9', port: 80 } }, '[fd00::9]:80', false],
  ] as const)('may be none: %j', (answer, text, fails) => {
    const view = resolved({ replica: replica(1) }, answer);
    const lines = resolveLines(view, narrow);
    expect(lines.slice(3)).toEqual(['', `10.96.0.1:80/tcp (shop/cart) from shop/web: ${text}`, '  why']);
    expect(resolveFails(view)).toBe(fails);
  });

  it('is nothing where the service is served nowhere', () => {
    const view = { ...resolved(), problems: ['p'] };
    expect(resolveLines(view, narrow)).toEqual(['cart is served nowhere', 'PROBLEM  p']);
    expect(resolveFails(view)).toBe(true);
  });
});
