/**
 * Pure: what is kept of an EndpointSlice. There may be 100,000 endpoints, so that all that many have in common (conditions,
 * ports, names of nodes and zones) is there once, and what is not used here is not kept.
 */
import { discoveryVersion, type EndpointSlice, type ObjectMeta } from '@serval/api';

type Endpoint = EndpointSlice['endpoints'][number];
type Conditions = NonNullable<Endpoint['conditions']>;
type Ports = NonNullable<EndpointSlice['ports']>;

/** As files and Kubernetes have it: what isn't there may be null. */
type OrNull<Value> = { [Key in keyof Value]: Value[Key] | null };
type RawEndpoint = Pick<Endpoint, 'addresses'> &
  OrNull<Omit<Endpoint, 'addresses' | 'conditions'>> & { conditions?: OrNull<Conditions> | null };
type RawSlice = Pick<EndpointSlice, 'addressType'> & {
  metadata: ObjectMeta;
  endpoints: RawEndpoint[] | null;
  ports?: Array<OrNull<Ports[number]>> | null;
};

/** Values that come up again and again, each kept once. So many at most: then it begins anew. */
class Shared<Value> {
  private readonly known = new Map<string, Value>();
  constructor(private readonly most: number) {}

  get(key: string, make: () => Value): Value {
    const known = this.known.get(key);
    if (known !== undefined) return known;
    if (this.known.size >= this.most) this.known.clear();
    const made = make();
    this.known.set(key, made);
    return made;
  }
}

const sharedTexts = new Shared<string>(50_000);
const sharedConditions = new Shared<Conditions>(27);
const sharedPorts = new Shared<Ports>(10_000);

const shared = (text: string): string => sharedTexts.get(text, () => text);
const sharedIfThere = (text: string | null | undefined): string | undefined =>
  text ? shared(text) : undefined;

/** What it gives is not frozen yet, but for what is shared. @param slice one that is valid */
export function usedOf(slice: unknown, namespace: string): EndpointSlice {
  const { metadata, addressType, endpoints, ports } = slice as RawSlice;
  return {
    apiVersion: discoveryVersion,
    kind: 'EndpointSlice',
    metadata: metadataOf(metadata, namespace),
    addressType,
    endpoints: (endpoints ?? []).map(endpointOf),
    ...(ports === undefined || ports === null ? {} : { ports: portsOf(ports) }),
  };
}

function metadataOf(metadata: ObjectMeta, namespace: string): ObjectMeta {
  const { name, uid, labels, annotations, creationTimestamp } = metadata as OrNull<ObjectMeta> & ObjectMeta;
  return present({ name, namespace: shared(namespace), uid, labels, annotations, creationTimestamp });
}

/** All fields in one go where all are there: added one by one they take 64 bytes more. */
function endpointOf({ addresses, ...more }: RawEndpoint): Endpoint {
  const conditions = more.conditions ? conditionsOf(more.conditions) : undefined;
  const nodeName = sharedIfThere(more.nodeName);
  const zone = sharedIfThere(more.zone);
  const targetRef = more.targetRef ? targetOf(more.targetRef) : undefined;
  if (conditions && nodeName && zone)
    return targetRef
      ? { addresses, conditions, nodeName, zone, targetRef }
      : { addresses, conditions, nodeName, zone };
  return present({ addresses, conditions, nodeName, zone, targetRef });
}

function targetOf(target: NonNullable<Endpoint['targetRef']>): NonNullable<Endpoint['targetRef']> {
  const kind = sharedIfThere(target.kind);
  const namespace = sharedIfThere(target.namespace);
  const { name, uid } = target;
  return kind && namespace && name && uid
    ? { kind, name, namespace, uid }
    : present({ kind, name, namespace, uid });
}

function conditionsOf({ ready, serving, terminating }: OrNull<Conditions>): Conditions {
  const key = `${ready} ${serving} ${terminating}`;
  return sharedConditions.get(key, () => Object.freeze(present({ ready, serving, terminating })));
}

function portsOf(ports: NonNullable<RawSlice['ports']>): Ports {
  const used = ports.map(({ name, port, protocol }) => present({ name, port, protocol }));
  return sharedPorts.get(JSON.stringify(used), () => {
    used.forEach((port) => Object.freeze(port));
    return Object.freeze(used) as Ports;
  });
}

type Present<Value> = {
  [
    Key in keyof Value as undefined extends Value[Key] ? never : null extends Value[Key] ? never : Key
  ]: Value[Key];
} & {
  [
    Key in keyof Value as undefined extends Value[Key] ? Key : null extends Value[Key] ? Key : never
  ]?: NonNullable<Value[Key]>;
};

/** Without what is null or undefined. */
function present<Value extends object>(value: Value): Present<Value> {
  const made: Record<string, unknown> = {};
  for (const [key, inner] of Object.entries(value))
    if (inner !== null && inner !== undefined) made[key] = inner;
  return made as Present<Value>;
}
