/** ServalServices as the cluster has them: lists, and one with its replicas. */
import { serviceNameLabel, type EndpointSlice, type ServalService } from '@serval/api';
import { exitCode, isForPrograms, print, type Output } from '../surroundings.js';
import { list, one, paths } from './cluster.js';
import { serviceDetail, serviceLines } from './describe-services.js';
import { scopeOf, scopeText, type Session } from './session.js';

export async function showServices(
  session: Session,
  name: string | undefined,
  output: Output,
): Promise<number> {
  const { cluster, around } = session;
  if (name !== undefined) return showService(session, name, output);
  const services = await list<ServalService>(cluster, paths.services(scopeOf(session)));
  print(around.screen, output, services, (all, text) =>
    all.length === 0 ? [`No ServalServices ${scopeText(session)}.`] : serviceLines(all, text),
  );
  return exitCode.done;
}

async function showService({ cluster, around }: Session, name: string, output: Output): Promise<number> {
  const { namespace } = cluster;
  const service = await cluster.request<ServalService>({ path: one(paths.services(namespace), name) });
  const labelSelector = `${serviceNameLabel}=${name}`;
  const slices = await list<EndpointSlice>(cluster, paths.slices(namespace), { labelSelector });
  if (isForPrograms(output)) print(around.screen, output, { ...service, endpointSlices: slices }, () => []);
  else print(around.screen, output, service, (it, text) => serviceDetail(it, slices, text));
  return exitCode.done;
}
