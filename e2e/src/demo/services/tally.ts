/** Pure: what the clients of the second scene told, sorted: who served whom in which step, and what went wrong. */
import type { Attempt, Held } from '../../clients/index.js';

/** All times are CLOCK_REALTIME in ms, as the clients' own are. */
export interface Observed {
  replicas: ReadonlyArray<{ name: string; site: string }>;
  /** in their order; each lasts until the next one begins */
  steps: ReadonlyArray<{ name: string; at: number }>;
  clients: readonly ClientRows[];
  /** `at`: it was killed; `goneAt`: its process was gone */
  killed: { replica: string; at: number; goneAt: number };
  /** `at`: it was asked to move */
  moved: { replica: string; from: string; to: string; at: number; freezeMs: number };
  /** numbers of the steps in which load is even, and in which one site's clients are too many */
  even: number;
  crowded: { step: number; site: string };
  recorded: Recorded;
}

/** Of the clients of one site, in pods of their own. */
export interface ClientRows {
  site: string;
  attempts: readonly Attempt[];
  held: readonly Held[];
}

export interface Recorded {
  /** packets that opened a connection, at the clients' own interfaces */
  openings: number;
  /** packets that named a virtual IP, there or on the fabric */
  virtualIp: number;
  /** packets on the fabric, and what the audit objects to, in words */
  packets: number;
  violations: readonly string[];
}

/** What the scene is to show, and what it showed. Times in ms. */
export interface ServicesResult {
  replicas: Array<{ name: string; site: string }>;
  steps: StepResult[];
  connects: number;
  failedConnects: number;
  slowestConnectMs: number;
  /** asked on a connection that was there, and not answered; not those that were cut off with the killed replica */
  unanswered: number;
  /** while load was even */
  even: { flows: number; elsewhere: number };
  /** of the site whose clients became too many, from then on until the next step */
  crowded: { site: string; flows: number; elsewhere: number };
  /** connections that were held when it was killed; short ones that it was just serving; when the last of them knew */
  killed: { replica: string; held: number; lost: number; cut: number; lostWithinMs: number };
  moved: {
    replica: string;
    from: string;
    to: string;
    held: number;
    lost: number;
    freezeMs: number;
    /** longest that a question on one of them waited */
    worstWaitMs: number;
  };
  /** held connections that were lost, of other replicas */
  lostElsewhere: number;
  recorded: Recorded;
}

export interface StepResult {
  name: string;
  failedConnects: number;
  slowestConnectMs: number;
  /** one for each site with clients: new flows by the replica that served them */
  served: Array<{ clients: string; replicas: Record<string, number> }>;
}

/** A new connection, of either kind of client. */
interface Flow {
  site: string;
  at: number;
  connectMs: number;
  failed: boolean;
  replica?: string;
}

export function tally(observed: Observed): ServicesResult {
  const { replicas, clients, steps, killed, moved, recorded } = observed;
  const flows = clients.flatMap(flowsOf);
  const lists = steps.map(({ at }, i) => inStep(flows, at, steps[i + 1]?.at ?? Infinity));
  const sites = [...new Set(replicas.map(({ site }) => site))];
  const near = new Map(replicas.map(({ name, site }) => [name, site]));
  const elsewhere = (list: readonly Flow[]) =>
    list.filter(({ site, replica }) => near.get(replica ?? '') !== site);
  const even = served(lists[observed.even]);
  const { site } = observed.crowded;
  const crowded = served(lists[observed.crowded.step]).filter((flow) => flow.site === site);
  return {
    replicas: replicas.map(({ name, site: where }) => ({ name, site: where })),
    steps: steps.map(({ name }, i) => stepResult(name, lists[i] ?? [], sites)),
    ...connectsOf(flows),
    unanswered: clients.flatMap(({ attempts }) => attempts).filter((each) => isUnanswered(each, killed))
      .length,
    even: { flows: even.length, elsewhere: elsewhere(even).length },
    crowded: { site, flows: crowded.length, elsewhere: elsewhere(crowded).length },
    killed: killedOf(clients, killed),
    moved: movedOf(clients, moved),
    lostElsewhere: lostOf(clients).filter(({ name }) => name !== killed.replica && name !== moved.replica)
      .length,
    recorded,
  };
}

function flowsOf({ site, attempts, held }: ClientRows): Flow[] {
  const short = attempts.map(({ at, connectMs, error, name }): Flow => {
    const failed = error?.startsWith('connect') === true;
    return { site, at, connectMs, failed, ...(name === undefined ? {} : { replica: name }) };
  });
  // A held connection is told of when it is answered for the first time, or when it could not be made.
  const long = held
    .filter(({ event, answers }) => event === 'opened' || answers === 0)
    .map(({ at, connectMs, event, name }): Flow => {
      const failed = event === 'lost';
      return {
        site,
        at: at - connectMs,
        connectMs,
        failed,
        ...(name === undefined ? {} : { replica: name }),
      };
    });
  return [...short, ...long];
}

function inStep(flows: readonly Flow[], from: number, until: number): Flow[] {
  return flows.filter(({ at }) => at >= from && at < until);
}

function served(flows: readonly Flow[] = []): Flow[] {
  return flows.filter(({ replica }) => replica !== undefined);
}

function connectsOf(flows: readonly Flow[]) {
  return {
    connects: flows.length,
    failedConnects: flows.filter(({ failed }) => failed).length,
    slowestConnectMs: flows.reduce((slowest, { connectMs }) => Math.max(slowest, connectMs), 0),
  };
}

function stepResult(name: string, flows: readonly Flow[], sites: readonly string[]): StepResult {
  const { failedConnects, slowestConnectMs } = connectsOf(flows);
  return {
    name,
    failedConnects,
    slowestConnectMs,
    served: sites.map((site) => ({
      clients: site,
      replicas: counts(served(flows).filter((flow) => flow.site === site)),
    })),
  };
}

function counts(flows: readonly Flow[]): Record<string, number> {
  const found: Record<string, number> = {};
  for (const { replica = '' } of flows) found[replica] = (found[replica] ?? 0) + 1;
  return found;
}

/** Whoever was just being served when the replica was killed is told by its kernel, and no kernel can help it. */
function isCut({ at, ms }: Attempt, killed: Observed['killed']): boolean {
  return at <= killed.goneAt && at + ms >= killed.at;
}

function isUnanswered(attempt: Attempt, killed: Observed['killed']): boolean {
  const { error } = attempt;
  return error !== undefined && !error.startsWith('connect') && !isCut(attempt, killed);
}

function lostOf(clients: readonly ClientRows[]): Held[] {
  return clients.flatMap(({ held }) => held).filter(({ event, answers }) => event === 'lost' && answers > 0);
}

/** Held connections of a replica that were open at that moment. */
function openAt(clients: readonly ClientRows[], replica: string, at: number): number {
  const rows = clients.flatMap(({ held }) => held).filter(({ name }) => name === replica);
  const opened = rows.filter((row) => row.event === 'opened' && row.at <= at).length;
  return opened - rows.filter((row) => row.event !== 'opened' && row.at < at).length;
}

function killedOf(clients: readonly ClientRows[], killed: Observed['killed']): ServicesResult['killed'] {
  const { replica, at } = killed;
  const lost = lostOf(clients).filter(({ name }) => name === replica);
  const cut = clients
    .flatMap(({ attempts }) => attempts)
    .filter((each) => each.error?.startsWith('ask') === true && isCut(each, killed));
  const last = lost.reduce((latest, row) => Math.max(latest, row.at), at);
  return {
    replica,
    held: openAt(clients, replica, at),
    lost: lost.length,
    cut: cut.length,
    lostWithinMs: last - at,
  };
}

function movedOf(clients: readonly ClientRows[], moved: Observed['moved']): ServicesResult['moved'] {
  const { replica, from, to, at, freezeMs } = moved;
  const rows = clients.flatMap(({ held }) => held).filter(({ name }) => name === replica);
  return {
    replica,
    from,
    to,
    held: openAt(clients, replica, at),
    lost: rows.filter(({ event }) => event === 'lost').length,
    freezeMs,
    worstWaitMs: rows
      .filter(({ event }) => event !== 'opened')
      .reduce((worst, row) => Math.max(worst, row.worstMs), 0),
  };
}
