/** JSON schemas of the resources: those of the CRDs, with words of their own, and what only directory mode has. */
import { kinds, moverValues, type Kind } from '@serval/api';
import { crds } from './crds.generated.js';
import { migrationProblems } from './migration-rules.js';
import { formatted, list, metadata, object, speaking, text, whole } from './schema-parts.js';
import { endpointSlice, serviceMetadata, serviceSpec } from './service-schemas.js';
import { sliceProblems, serviceProblems } from './service-rules.js';
import { compile, quoted, type FieldProblem, type Validator } from './validate.js';

type KindWithSpec = Exclude<Kind, 'EndpointSlice'>;

const specs: Record<KindWithSpec, object> = {
  ServalNode: speaking(crds.ServalNode.spec, {
    address: { format: 'hostPort' },
    'hostAddresses.items': { format: 'address' },
    'podCIDRs.items': { format: 'cidr' },
  }),
  ServalPod: object(
    {
      node: formatted('name'),
      netns: formatted('absolutePath'),
      interfaces: list({ ...text, maxLength: 15 }, { minItems: 1, default: ['eth0'] }),
      addresses: list(formatted('address'), { minItems: 1 }),
      hostNetwork: { type: 'boolean' },
      trackUdp: { type: 'boolean' },
      guests: { type: 'boolean' },
      mover: { type: 'string', enum: moverValues },
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
  ServalMigration: speaking(crds.ServalMigration.spec, {
    'workload.name': { format: 'name' },
    targetNode: { format: 'name' },
  }),
  ServalService: serviceSpec,
};

/** Nothing is required: a status grows. */
const statuses: Record<KindWithSpec, object> = {
  ServalNode: crds.ServalNode.status,
  ServalPod: { type: 'object' },
  ServalMigration: crds.ServalMigration.status,
  ServalService: crds.ServalService.status,
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
  ServalMigration: resource('ServalMigration', withSpec('ServalMigration'), migrationProblems),
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
