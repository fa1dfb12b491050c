/** What a connect() would get, and why: the same steps as bpf/lib/resolve.h, from what the agent has put into the kernel. */
import {
  ServalError,
  virtualIPsOf,
  type ReplicaChance,
  type ResolveAnswer,
  type ResolveView,
} from '@serval/api';
import type { Protocol } from '../../datapath/types.js';
import { canonical } from '../../services/addresses.js';
import type { WeightedReplica } from '../../services/types.js';
import type { Lazily } from '../json-stream.js';
import { choiceOf, shares, type Choice, type Client } from './choice.js';
import type { ServedPort, ServiceController, ServiceState } from './controller.js';
import { meant } from './names.js';
import { answerReasons } from './resolve-reasons.js';
import { inWords, replicaView, type ViewSources } from './views.js';
import type { ServiceRule, ServiceAddress } from '../../datapath/services/types.js';

export interface ResolveQuestion {
  /** names.ts has what may stand here */
  name: string;
  /** `namespace/name` of a pod, or `host/processes` */
  from: string;
  /** number, or name, of the service's port */
  port?: string;
  protocol?: Protocol;
}

export interface ResolveSources extends ViewSources {
  services: Pick<ServiceController, 'state' | 'at' | 'served'>;
  /** the kernel's number of a service; undefined where it is not in the table */
  idOf: (address: ServiceAddress) => number | undefined;
  /** where a workload is that has left this address */
  left: (address: string) => { address: string; node?: string } | undefined;
  /** undefined where nothing is resolved for whoever asks */
  client: Client | undefined;
  /** 0 to below 1 */
  draw: () => number;
}

/** @throws ServalError ERR_BAD_INPUT, ERR_NOT_FOUND (the service, or its port) */
export function resolve(question: ResolveQuestion, sources: ResolveSources): Lazily<ResolveView> {
  const { name, from } = question;
  const { state, places } = placesOf(question, sources);
  const service = state && `${state.service.metadata.namespace ?? 'default'}/${state.service.metadata.name}`;
  return {
    name,
    from,
    ...(service === undefined ? {} : { service }),
    answers: places.map((place) => answerAt(place, { service, from, sources })),
    problems: state?.problems.map(inWords) ?? [],
  };
}

// --- what the name stands for

interface Places {
  state?: ServiceState;
  places: ServiceAddress[];
}

function placesOf(question: ResolveQuestion, sources: ResolveSources): Places {
  const { name, from } = question;
  const found = meant(name, from.startsWith('host/') ? 'default' : (from.split('/')[0] ?? 'default'));
  if (found === undefined)
    throw new ServalError('ERR_BAD_INPUT', {
      subject: `name ${JSON.stringify(name)}`,
      reason: 'it names neither a service nor an address',
      remedy: 'Write service, namespace/service, service.namespace.svc, or a virtual IP',
    });
  const port = portWanted(question, found.port);
  const { address, services } = found;
  if (address !== undefined) return { places: placesAt(address, port, question.protocol, sources) };
  const state = services.map((each) => sources.services.state(each)).find((each) => each !== undefined);
  if (state === undefined)
    throw new ServalError('ERR_NOT_FOUND', {
      subject: `service ${services[0] ?? name}`,
      reason: 'this agent knows no ServalService of that name',
      remedy: 'See `serval services`',
    });
  return { state, places: placesOfService(state, port, question) };
}

function portWanted({ name, port }: ResolveQuestion, inName: number | undefined): string | undefined {
  if (inName === undefined || port === undefined || port === String(inName))
    return port ?? (inName === undefined ? undefined : String(inName));
  throw new ServalError('ERR_BAD_INPUT', {
    subject: `name ${JSON.stringify(name)}`,
    reason: `it has port ${inName}, and ${port} is asked for`,
    remedy: 'Name one port',
  });
}

/** Each virtual IP with each port, in the order of the resource. */
function placesOfService(
  { service, problems }: ServiceState,
  wanted: string | undefined,
  { protocol: only }: ResolveQuestion,
): ServiceAddress[] {
  const virtualIPs = virtualIPsOf(service);
  const { ports } = service.spec;
  const isWanted = (name: string | undefined, port: number, protocol: Protocol): boolean =>
    (wanted === undefined || wanted === name || wanted === String(port)) &&
    (only === undefined || only === protocol);
  const all = ports.map(({ name, port, protocol = 'TCP' }) => ({
    name,
    port,
    protocol: protocol === 'UDP' ? ('udp' as const) : ('tcp' as const),
  }));
  const some = all.filter(({ name, port, protocol }) => isWanted(name, port, protocol));
  if (some.length === 0 && all.length > 0)
    throw new ServalError('ERR_NOT_FOUND', {
      subject: `port ${wanted ?? only ?? ''} of service ${service.metadata.namespace ?? 'default'}/${service.metadata.name}`,
      reason: 'it has no such port',
      remedy: `It has ${all.map(({ port, protocol }) => `${port}/${protocol}`).join(', ')}`,
    });
  const addresses = [...new Set(virtualIPs.map(canonical).filter((each) => each !== undefined))];
  const places = some.flatMap(({ port, protocol }) =>
    addresses.map((address) => ({ address, port, protocol })),
  );
  if (places.length > 0 || problems.length > 0) return places;
  throw new ServalError('ERR_NOT_FOUND', {
    subject: `service ${service.metadata.namespace ?? 'default'}/${service.metadata.name}`,
    reason: 'it has no place where it is served',
    remedy: 'Give it a virtual IP and a port',
  });
}

function placesAt(
  address: string,
  wanted: string | undefined,
  protocol: Protocol | undefined,
  { services, left }: ResolveSources,
): ServiceAddress[] {
  const served = [...services.served()].filter(
    (each) =>
      each.address === address &&
      (protocol === undefined || each.protocol === protocol) &&
      (wanted === undefined || wanted === String(each.port)),
  );
  if (served.length > 0) return served.map(({ port, protocol: its }) => ({ address, port, protocol: its }));
  const port = Number(wanted);
  if (Number.isInteger(port) && port >= 1 && port <= 65_535)
    return [{ address, port, protocol: protocol ?? 'tcp' }];
  const isLeft = left(address) !== undefined;
  throw new ServalError(isLeft || wanted !== undefined ? 'ERR_BAD_INPUT' : 'ERR_NOT_FOUND', {
    subject: `address ${address}`,
    reason: isLeft
      ? 'it is no virtual IP, but an address that a workload has left'
      : 'no service has this virtual IP',
    remedy: 'Name the port as a number from 1 to 65535, or a service',
  });
}

// --- what is there

interface Asking {
  /** of the name; absent where an address is asked for */
  service: string | undefined;
  from: string;
  sources: ResolveSources;
}

function answerAt(place: ServiceAddress, { service, from, sources }: Asking): Lazily<ResolveAnswer> {
  const { address, port, protocol } = place;
  const common = { asked: { address, port }, protocol };
  const nothing = (reason: string): Lazily<ResolveAnswer> => ({
    ...common,
    outcome: 'asItIs',
    fails: false,
    reason,
  });
  const { client } = sources;
  if (client === undefined) return nothing(answerReasons.noClient(from));
  const served = sources.services.at(place, protocol);
  if (served === undefined) return leftOr(place, common, nothing, sources);
  const rule = served.port.rules.find((each) => each.address === address);
  const id = rule && sources.idOf(rule);
  if (rule === undefined || id === undefined) return nothing(answerReasons.notInTable(served.name));
  const { name: portName } = served.port.port;
  const count = sources.count(rule);
  const choice = choiceOf({ rule, id, client, count, draw: sources.draw() });
  return {
    ...common,
    service: served.name,
    ...(portName === undefined ? {} : { portName }),
    rule: rule.rule,
    ...(choice === undefined
      ? withoutReplica(served, rule)
      : withReplica(choice, rule, served, client, sources)),
    ...(service === undefined || service === served.name
      ? {}
      : { note: answerReasons.ofAnother(served.name, service) }),
  };
}

function leftOr(
  { address, port }: ServiceAddress,
  common: Pick<ResolveAnswer, 'asked' | 'protocol'>,
  nothing: (reason: string) => Lazily<ResolveAnswer>,
  { left }: ResolveSources,
): Lazily<ResolveAnswer> {
  const now = left(address);
  if (now === undefined) return nothing(answerReasons.nobody(address));
  return {
    ...common,
    outcome: 'moved',
    fails: false,
    replica: { port, ...now },
    reason: answerReasons.left(address, now.address),
  };
}

type Outcome = Pick<ResolveAnswer, 'outcome' | 'fails' | 'reason'> & Partial<Lazily<ResolveAnswer>>;

function withoutReplica({ policy, port }: ServedPort, { rule, protocol }: ServiceRule): Outcome {
  const { replicas } = port.planned.plan;
  const waits = rule === 'DELAY' && protocol === 'tcp';
  return {
    outcome: waits ? 'waits' : 'refused',
    fails: !waits,
    reason: answerReasons.nobodyTakes(rule, protocol, replicas, policy),
  };
}

function withReplica(
  choice: Choice,
  rule: ServiceRule,
  { policy, port }: ServedPort,
  client: Client,
  { seen }: ResolveSources,
): Outcome {
  const { replicas } = port.planned.plan;
  const replica = replicas[choice.replica] as WeightedReplica;
  const isDrawn = choice.by === 'chance' || choice.by === 'turn';
  return {
    outcome: 'replica',
    fails: false,
    by: choice.by,
    replica: replicaView(replica, seen([rule])(replica)),
    ...(isDrawn ? { chances: chancesOf(rule, replicas) } : {}),
    reason: answerReasons.chosen(choice, rule, policy, client),
  };
}

function* chancesOf(rule: ServiceRule, replicas: readonly WeightedReplica[]): Generator<ReplicaChance> {
  for (const [i, chance] of shares(rule).entries()) {
    if (chance === 0) continue;
    const { address, port, node, ring, health, reason } = replicas[i] as WeightedReplica;
    yield { address, port, ...(node === undefined ? {} : { node }), ring, health, chance, reason };
  }
}
