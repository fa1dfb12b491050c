import { describe, expect, it } from '@jest/globals';
import { andAlso, attempt, failure, held, observed } from './observed.fixture.js';
import { tally } from './tally.js';

describe('who served whom', () => {
  it('has new flows of both kinds by step, site and replica', () => {
    expect(tally(observed).steps.map(({ name, served }) => [name, served])).toEqual([
      [
        'even',
        [
          { clients: 's1', replicas: { 'web-1': 2 } },
          { clients: 's2', replicas: { 'web-2': 2, 'web-3': 1 } },
        ],
      ],
      [
        'crowded',
        [
          { clients: 's1', replicas: { 'web-1': 1, 'web-2': 1 } },
          { clients: 's2', replicas: { 'web-2': 1 } },
        ],
      ],
      [
        'killed',
        [
          { clients: 's1', replicas: {} },
          { clients: 's2', replicas: {} },
        ],
      ],
      [
        'moved',
        [
          { clients: 's1', replicas: { 'web-2': 1 } },
          { clients: 's2', replicas: { 'web-2': 1 } },
        ],
      ],
    ]);
  });

  it('adds up the pods of a site', () => {
    const { steps } = tally(andAlso({ attempts: [attempt(250, 'web-1')] }));
    expect(steps[1]?.served[0]).toEqual({ clients: 's1', replicas: { 'web-1': 2, 'web-2': 1 } });
  });

  it('tells what left its site while load was even, and of the crowded site', () => {
    expect(tally(observed)).toMatchObject({
      even: { flows: 5, elsewhere: 0 },
      crowded: { site: 's1', flows: 2, elsewhere: 1 },
    });
    expect(tally(andAlso({ attempts: [attempt(130, 'web-3')] })).even).toEqual({ flows: 6, elsewhere: 1 });
  });
});

describe('connects', () => {
  it('finds those that failed, of either kind, and the slowest in its step', () => {
    const result = tally(
      andAlso({
        attempts: [failure(310, 'connect: connection refused', { connectMs: 40 })],
        held: [held('lost', 350, '', { answers: 0, connectMs: 41 })],
      }),
    );
    expect(result).toMatchObject({ connects: 12, failedConnects: 2, slowestConnectMs: 41, unanswered: 0 });
    expect(result.steps[2]).toMatchObject({ failedConnects: 2, slowestConnectMs: 41 });
  });

  it('are not what was made and not answered', () => {
    const result = tally(andAlso({ attempts: [failure(250, 'ask: reset')] }));
    expect(result).toMatchObject({ failedConnects: 0, unanswered: 1, killed: { cut: 0 } });
  });
});

describe('the killed replica', () => {
  it('takes its connections along, and those that it was just serving', () => {
    const during = failure(299, 'ask: reset', { ms: 3 });
    expect(tally(andAlso({ attempts: [during] }))).toMatchObject({
      unanswered: 0,
      lostElsewhere: 0,
      killed: { replica: 'web-3', held: 1, lost: 1, cut: 1, lostWithinMs: 4 },
    });
  });

  it('is no excuse for what others lose, before or after', () => {
    const result = tally(
      andAlso({
        attempts: [failure(303, 'ask: reset'), failure(290, 'ask: reset', { ms: 5 })],
        held: [held('opened', 110, 'web-1'), held('lost', 301, 'web-1')],
      }),
    );
    expect(result).toMatchObject({ unanswered: 2, lostElsewhere: 1, killed: { lost: 1, cut: 0 } });
  });
});

describe('the moved replica', () => {
  it('keeps its connections, or not', () => {
    expect(tally(observed).moved).toMatchObject({ held: 1, lost: 0, worstWaitMs: 190.5, freezeMs: 150 });
    const lost = tally(andAlso({ held: [held('opened', 110, 'web-2'), held('lost', 420, 'web-2')] }));
    expect(lost).toMatchObject({ lostElsewhere: 0, moved: { held: 2, lost: 1 } });
  });
});
