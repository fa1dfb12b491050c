/** JSON schemas of the resources, as long as there are no CRDs to take them from. */
import { kinds, movers, type Kind } from '@serval/api';
import { formatted, list, metadata, object, text, whole } from './schema-parts.js';
import { endpointSlice, serviceMetadata, serviceSpec } from './service-schemas.js';
import { sliceProblems, serviceProblems } from './service-rules.js';
import { compile, quoted, type FieldProblem, type Validator } from './validate.js';

const mover = { type: 'string', enum: movers };

type KindWithSpec = Exclude<Kind, 'EndpointSlice'>;

const specs: Record<KindWithSpec, object> = {
  ServalNode: object(
    {
      address: formatted('hostPort'),
      hostAddresses: list(formatted('address')),
      podCIDRs: list(formatted('cidr')),
      zone: text,
      region: text,
    },
    ['address', 'hostAddresses', 'podCIDRs'],
  ),
  ServalPod: object(
    {
      node: formatted('name'),
      netns: formatted('absolutePath'),
      interfaces: list({ ...text, maxLength: 15 }, { minItems: 1, default: ['eth0'] }),
      addresses: list(formatted('address'), { minItems: 1 }),
      hostNetwork: { type: 'boolean' },
      trackUdp: { type: 'boolean' },
      guests: { type: 'boolean' },
      mover,
      uid: text,
      process: object({ pausePid: whole(1), pid: whole(1), cgroup: formatted('absolutePath') }, [
        'pausePid',
        'pid',
        'cgroup',
      ]),
      identityAddresses: list(formatted('address')),
      epoch: whole(0),
    },
    ['node', 'netns', 'addresses'],
  ),
  ServalMigration: object({ workload: formatted('namespacedName'), targetNode: formatted('name'), mover }, [
    'workload',
    'targetNode',
  ]),
  ServalService: serviceSpec,
};

const condition = object(
  {
    type: text,
    status: { type: 'string', enum: ['True', 'False', 'Unknown'] },
    reason: text,
    message: { type: 'string' },
    lastTransitionTime: text,
  },
  ['type', 'status', 'reason', 'message', 'lastTransitionTime'],
);
const milliseconds = { type: 'number', minimum: 0 };
const phase = object(
  { name: text, startMs: { type: 'number' }, durationMs: milliseconds, frozen: { type: 'boolean' } },
  ['name', 'startMs', 'durationMs', 'frozen'],
);

/** Nothing is required: a status grows. */
const statuses: Record<KindWithSpec, object> = {
  ServalNode: { type: 'object' },
  ServalPod: { type: 'object' },
  ServalMigration: object(
    {
      phase: text,
      migration: { type: 'string', pattern: '^[0-9a-f]{16}$' },
      reason: { type: 'string' },
      startedAt: text,
      finishedAt: text,
      timeline: list(phase),
      flows: whole(0),
      lost: { type: 'object', additionalProperties: whole(0) },
      freezeMs: milliseconds,
      switchMs: milliseconds,
      replayed: whole(0),
      conditions: list(condition),
    },
    [],
  ),
  ServalService: object({ conditions: list(condition) }, []),
};

/** Kinds whose spec never changes. */
export const immutableSpec: ReadonlySet<Kind> = new Set<Kind>(['ServalMigration']);

function withSpec(kind: KindWithSpec, meta: object = metadata): object {
  return object(
    {
      apiVersion: { const: kinds[kind].apiVersion },
      kind: { const: kind },
      metadata: meta,
      spec: specs[kind],
      status: { type: 'object' },
    },
    ['apiVersion', 'kind', 'metadata', 'spec'],
  );
}

/** A right kind of another version has other fields: then its version is the one problem. Rules see what the schema let through. */
function resource(kind: Kind, schema: object, rules: Validator = () => []): Validator {
  const validate = compile(schema);
  return (value) => {
    const version = otherVersion(kind, value);
    if (version !== undefined) return [version];
    const problems = validate(value);
    return problems.length > 0 ? problems : rules(value);
  };
}

function otherVersion(kind: Kind, value: unknown): FieldProblem | undefined {
  const { apiVersion: found } = value as { apiVersion?: unknown };
  const { apiVersion: right } = kinds[kind];
  if (found === undefined || found === right) return undefined;
  return {
    field: 'apiVersion',
    reason: `${kind} is read in ${right}, not in ${quoted(found)}`,
    remedy: `Write apiVersion: ${right}, and the fields as they are there`,
  };
}

/** Of whole objects; their status is looked at by `statusValidators` alone. */
export const validators: Readonly<Record<Kind, Validator>> = {
  ServalNode: resource('ServalNode', withSpec('ServalNode')),
  ServalPod: resource('ServalPod', withSpec('ServalPod')),
  ServalMigration: resource('ServalMigration', withSpec('ServalMigration')),
  ServalService: resource('ServalService', withSpec('ServalService', serviceMetadata), serviceProblems),
  EndpointSlice: resource('EndpointSlice', endpointSlice, sliceProblems),
};

export const statusValidators: Readonly<Record<Kind, Validator>> = {
  ServalNode: compile(statuses.ServalNode),
  ServalPod: compile(statuses.ServalPod),
  ServalMigration: compile(statuses.ServalMigration),
  ServalService: compile(statuses.ServalService),
  EndpointSlice: () => [
    { field: '', reason: 'an EndpointSlice has no status', remedy: 'Apply it whole instead' },
  ],
};
