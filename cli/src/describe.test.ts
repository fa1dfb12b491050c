import { describe, expect, it } from '@jest/globals';
import { apiVersion, type FlowView, type ServalMigration, type StatusView } from '@serval/api';
import { flowLines, migrationDetail, migrationLines, podLines, statusLines, summary } from './describe.js';
import { formatAge, formatCounts, formatMs, printable, renderTable } from './text.js';
import { renderTimeline } from './timeline.js';

const options = { wide: false, width: 60, now: Date.parse('2026-01-01T01:00:00Z') };

function migration(status?: Partial<NonNullable<ServalMigration['status']>>): ServalMigration {
  const object = { apiVersion, kind: 'ServalMigration', metadata: { name: 'm' } } as const;
  const spec = { workload: { name: 'redis-0' }, targetNode: 'host-2' };
  if (status === undefined) return { ...object, spec };
  const rest = { phase: 'hold', migration: '00000000000000aa', startedAt: '2026-01-01T00:00:00Z' };
  const none = { timeline: [], flows: 0, lost: {}, conditions: [] };
  return { ...object, spec, status: { ...rest, ...none, ...status } };
}

function ended(status: 'True' | 'False', message = ''): Partial<NonNullable<ServalMigration['status']>> {
  const condition = { type: 'Succeeded', status, reason: 'R', message, lastTransitionTime: '' };
  return { finishedAt: '2026-01-01T00:00:01Z', conditions: [condition] };
}

const timeline = [
  { name: 'quiesce', startMs: 100, durationMs: 50, frozen: false },
  { name: 'dump', startMs: 150, durationMs: 50, frozen: true },
  { name: 'switch', startMs: 200, durationMs: 0, frozen: false },
];

describe('renderTimeline', () => {
  it('draws each phase where and as long as it was', () => {
    expect(renderTimeline(timeline, { width: 60 })).toEqual([
      'quiesce |-----------------                 | +0.0 ms   50 ms',
      'dump    |                 #################|  +50 ms   50 ms',
      'switch  |                                 -| +100 ms  0.0 ms',
      '         0                           100 ms',
      '         # workload frozen',
    ]);
  });

  it('shows a phase that took no time', () => {
    const [line] = renderTimeline([
      { name: 'hold', startMs: 112, durationMs: 0, frozen: false },
      ...timeline,
    ]);
    expect(line).toMatch(/^hold +\| +- +\|/);
  });

  it('keeps to the width, whatever there is to draw', () => {
    const many = [...timeline, { name: 'x'.repeat(90), startMs: 1e7, durationMs: 1e9, frozen: true }];
    for (const width of [10, 40, 79, 200])
      for (const line of renderTimeline(many, { width }))
        expect(line.length).toBeLessThanOrEqual(Math.max(60, width));
    expect(renderTimeline([])).toEqual(['(no phases)']);
  });
});

describe('summary', () => {
  it.each([
    [migration(), 'm: default/redis-0 to host-2: waiting to begin'],
    [migration({}), 'm: default/redis-0 to host-2: hold'],
    [
      migration({ ...ended('True'), flows: 100, freezeMs: 180.4, switchMs: 3.21, replayed: 90 }),
      'm: default/redis-0 to host-2: moved; 100 flows, none lost, frozen for 180 ms, switched in 3.2 ms, 90 packets replayed',
    ],
    [
      migration({ ...ended('True'), flows: 3, lost: { foreign: 2, unknownPeer: 0 } }),
      'm: default/redis-0 to host-2: moved; 3 flows, 2 lost (foreign 2)',
    ],
    [
      migration({ ...ended('False', 'the restore failed'), phase: 'aborted' }),
      'm: default/redis-0 to host-2: not moved (aborted): the restore failed',
    ],
    [
      migration({ ...ended('False'), phase: 'aborted', reason: 'no room' }),
      'm: default/redis-0 to host-2: not moved (aborted): no room',
    ],
  ])('is one sentence', (object, sentence) => {
    expect(summary(object)).toBe(sentence);
  });

  it('follows the timeline in the detail', () => {
    const lines = migrationDetail(migration({ timeline }), options);
    expect(lines[0]).toMatch(/^quiesce/);
    expect(lines.slice(-2)).toEqual(['', 'm: default/redis-0 to host-2: hold']);
    expect(migrationDetail(migration(), options)).toHaveLength(1);
  });
});

describe('tables', () => {
  const flow: FlowView = {
    flowId: '0000000000000abc',
    pod: 'default/a',
    protocol: 'tcp',
    identity: { local: { address: '10.1.0.5', port: 1 }, remote: { address: '2001:db8::1', port: 2 } },
    wire: { local: { address: '10.9.0.5', port: 1 }, remote: { address: '2001:db8::1', port: 2 } },
    state: 'active',
    migration: '00000000000000aa',
    ...{ packetsOut: 1, bytesOut: 2, packetsIn: 3, bytesIn: 4 },
  };

  it('shows flows by identity and wire', () => {
    const [, line = ''] = flowLines([flow], options);
    expect(line.split(/ {2,}/)).toEqual([
      ...['0000000000000abc', 'default/a', 'tcp', '10.1.0.5:1 - [2001:db8::1]:2'],
      ...['10.9.0.5:1 - [2001:db8::1]:2', 'active', '1', '3'],
    ]);
    const [heads = '', wide = ''] = flowLines([flow], { ...options, wide: true });
    expect(wide.split(/ {2,}/)).toHaveLength(heads.split(/ {2,}/).length);
    expect(wide).toMatch(/2 +4 +00000000000000aa$/);
    expect(flowLines([], options)).toHaveLength(1);
  });

  it('shows migrations that have no status yet, and those that have', () => {
    const [heads, waiting = '', running = ''] = migrationLines(
      [migration(), migration({ freezeMs: 12 })],
      options,
    );
    expect(heads).toMatch(/^NAME +WORKLOAD +TO/);
    expect(waiting.split(/ {2,}/)).toEqual([
      'm',
      'default/redis-0',
      'host-2',
      'running',
      'waiting',
      '-',
      '-',
      '-',
      '-',
      '-',
    ]);
    expect(running.split(/ {2,}/).slice(4)).toEqual(['hold', '0', '0', '12 ms', '-', '1h']);
    expect(migrationLines([migration({ reason: 'why' })], { ...options, wide: true })[1]).toMatch(/aa +why$/);
  });

  it('shows pods', () => {
    const pod = {
      name: 'default/a',
      addresses: ['10.1.0.5'],
      netns: '/n',
      epoch: 2,
      attached: true,
      held: false,
      flows: 7,
    };
    expect(podLines([pod], options)[1]?.split(/ {2,}/)).toEqual([
      'default/a',
      '10.1.0.5',
      '2',
      '7',
      'attached',
      'no',
      '-',
    ]);
  });

  it('shows a status, with what is wrong', () => {
    const status: StatusView = {
      ...{
        node: 'host-1',
        version: '1.2.3',
        startedAt: '2026-01-01T00:58:00Z',
        ready: false,
        pods: 3,
        nodes: 2,
      },
      checks: [
        { name: 'datapath', ok: true },
        { name: 'signalling', ok: false, reason: 'no listener' },
      ],
      flows: { active: 5, held: 0 },
      drops: {},
      openMigrations: { source: 1 },
    };
    const text = statusLines(status, options).join('\n');
    expect(text).toMatch(/^node host-1, agent 1\.2\.3, up 2m, NOT READY$/m);
    expect(text).toMatch(/FAIL {2}signalling: no listener/);
    expect(text).toMatch(/flows +active 5\nmigrations +source 1\ndrops +none/);
  });
});

describe('text', () => {
  it('formats', () => {
    expect([1.26, 9.94, 12.3, 9999, 12_345, NaN].map(formatMs)).toEqual([
      '1.3 ms',
      '9.9 ms',
      '12 ms',
      '9999 ms',
      '12.3 s',
      '?',
    ]);
    expect([-5, 900, 61_000, 7_200_000, 200_000_000].map(formatAge)).toEqual(['0s', '0s', '1m', '2h', '2d']);
    expect(formatCounts({ a: 0 })).toBe('none');
    expect(renderTable([['a', 'b'], ['ccc']])).toEqual(['a    b', 'ccc']);
    expect(renderTable([])).toEqual([]);
  });

  it('lets nothing move the cursor', () => {
    expect(printable('a\u001b[2Jb\rc\u009bd\te')).toBe('a?[2Jb?c?d?e');
  });
});
