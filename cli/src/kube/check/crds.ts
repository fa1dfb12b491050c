/** Pure: whether the CRDs of a cluster are those of this version. */
import type { OwnCrds } from '../cluster.js';
import type { Crd, Schema } from '../types.js';
import { fail, ok, someOf, warn, type Finding } from './finding.js';

const version = 'v1alpha1';
const upgrade =
  'helm upgrade with this version of the chart (crds.install=true), or kubectl apply --server-side -f crds/';

/** @param found by name; undefined: it is not there */
export function installedFindings(own: OwnCrds, found: ReadonlyMap<string, Crd>): Finding[] {
  return Object.values(own).map(({ plural, spec, status }) => {
    const name = `CRD ${plural}.serval.io`;
    const crd = found.get(`${plural}.serval.io`);
    if (crd === undefined) return fail(name, 'it is not installed', `Install the chart: ${upgrade}`);
    if (!isEstablished(crd))
      return fail(name, 'the API server does not serve it', `See kubectl describe crd ${plural}.serval.io`);
    const differences = differencesOf(crd, { spec, status });
    if (differences === undefined) return fail(name, `it has no version ${version}`, upgrade);
    if (differences.missing.length > 0)
      return fail(name, `it is of an older version: it lacks ${someOf(differences.missing)}`, upgrade);
    if (differences.more.length > 0)
      return warn(
        name,
        `it is of a newer version: it also has ${someOf(differences.more)}`,
        'Use the kubectl-serval of that version',
      );
    return ok(name, 'it is there, and of this version');
  });
}

/** What stands in the way of installing. */
export function obstacleFindings(own: OwnCrds, found: ReadonlyMap<string, Crd>): Finding[] {
  const there = Object.values(own).filter(({ plural }) => found.has(`${plural}.serval.io`));
  if (there.length === 0) return [ok('CRDs', 'none of serval.io is there yet; the chart brings them')];
  return there.map((each) => obstacle(each, found.get(`${each.plural}.serval.io`)));
}

function obstacle({ plural, spec, status }: OwnCrds[string], crd: Crd | undefined): Finding {
  const name = `CRD ${plural}.serval.io`;
  const { labels = {}, annotations = {} } = crd?.metadata ?? {};
  if (labels['app.kubernetes.io/managed-by'] !== 'Helm')
    return fail(
      name,
      'it is there already, and Helm did not make it: helm install will refuse to take it over',
      'Install with --set crds.install=false, or with --take-ownership (Helm 3.17 and later)',
    );
  const release = annotations['meta.helm.sh/release-name'] ?? '?';
  const differences = crd === undefined ? undefined : differencesOf(crd, { spec, status });
  const isSame = differences?.missing.length === 0 && differences.more.length === 0;
  return isSame
    ? ok(name, `it is there, and of this version (Helm's release ${release})`)
    : warn(
        name,
        `it is there, of another version (Helm's release ${release})`,
        `Upgrade that release, or install under its name: the chart then changes it`,
      );
}

/** Fields and enum values of ours that it lacks, and that it has more; undefined where it has not our version. */
function differencesOf(
  crd: Crd,
  own: { spec: unknown; status: unknown },
): { missing: string[]; more: string[] } | undefined {
  const schema = crd.spec?.versions?.find(({ name, served }) => name === version && served)?.schema;
  const theirs = schema?.openAPIV3Schema?.properties;
  if (theirs === undefined) return undefined;
  const [ours, others] = [own, theirs].map(
    (each) =>
      new Set(
        (['spec', 'status'] as const).flatMap((part) => fieldsOf(part, each[part] as Schema | undefined)),
      ),
  ) as [Set<string>, Set<string>];
  return {
    missing: [...ours].filter((field) => !others.has(field)),
    more: [...others].filter((field) => !ours.has(field)),
  };
}

function fieldsOf(path: string, schema: Schema | undefined): string[] {
  if (schema === undefined) return [];
  const inner = Object.entries(schema.properties ?? {}).flatMap(([name, value]) =>
    fieldsOf(`${path}.${name}`, value),
  );
  return [
    path,
    ...(schema.enum ?? []).map((value) => `${path}=${String(value)}`),
    ...inner,
    ...fieldsOf(`${path}[]`, schema.items),
  ];
}

function isEstablished({ status }: Crd): boolean {
  return status?.conditions?.some((each) => each.type === 'Established' && each.status === 'True') ?? false;
}
