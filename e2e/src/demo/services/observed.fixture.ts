/** A second scene in which every promise is kept. */
import type { Attempt, Held } from '../../clients/index.js';
import type { ClientRows, Observed } from './tally.js';

export const attempt = (at: number, name: string, more: Partial<Attempt> = {}): Attempt => ({
  at,
  connectMs: 1,
  ms: 2,
  name,
  ...more,
});

/** An attempt that failed. */
export const failure = (at: number, error: string, more: Partial<Attempt> = {}): Attempt => ({
  at,
  connectMs: 1,
  ms: 2,
  error,
  ...more,
});

export const held = (event: Held['event'], at: number, name: string, more: Partial<Held> = {}): Held => ({
  event,
  connection: 0,
  at,
  connectMs: 3,
  name,
  answers: 1,
  worstMs: 5,
  ...more,
});

export const clients: ClientRows[] = [
  {
    site: 's1',
    attempts: [attempt(110, 'web-1'), attempt(210, 'web-1'), attempt(220, 'web-2'), attempt(430, 'web-2')],
    held: [held('opened', 105, 'web-1'), held('closed', 500, 'web-1', { worstMs: 9 })],
  },
  {
    site: 's2',
    attempts: [attempt(120, 'web-2'), attempt(230, 'web-2'), attempt(420, 'web-2')],
    held: [
      held('opened', 106, 'web-2'),
      held('closed', 501, 'web-2', { worstMs: 190.5 }),
      held('opened', 107, 'web-3'),
      held('lost', 304, 'web-3', { error: 'EOF' }),
    ],
  },
];

export const observed: Observed = {
  replicas: [
    { name: 'web-1', site: 's1' },
    { name: 'web-2', site: 's2' },
    { name: 'web-3', site: 's2' },
  ],
  steps: [
    { name: 'even', at: 100 },
    { name: 'crowded', at: 200 },
    { name: 'killed', at: 300 },
    { name: 'moved', at: 400 },
  ],
  clients,
  killed: { replica: 'web-3', at: 300, goneAt: 302 },
  moved: { replica: 'web-2', from: 's2', to: 's1', at: 400, freezeMs: 150 },
  even: 0,
  crowded: { step: 1, site: 's1' },
  recorded: { openings: 9, virtualIp: 0, packets: 20, violations: [] },
};

/** The same, and another pod with clients in the first site. */
export const andAlso = (rows: Partial<ClientRows>): Observed => ({
  ...observed,
  clients: [...clients, { site: 's1', attempts: [], held: [], ...rows }],
});
