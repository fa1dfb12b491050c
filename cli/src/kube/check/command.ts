/** The command `check`. */
import { exitCode, print, type Output } from '../../surroundings.js';
import { usualNamespace } from '../components.js';
import type { Session } from '../session.js';
import { checkAfter } from './after.js';
import { checkBefore } from './before.js';
import { reportLines, reportOf, type Report } from './finding.js';

export async function runCheck(
  session: Session,
  { pre = false, output }: { pre?: boolean; output?: Output },
): Promise<number> {
  const report = await gatherChecks(session, pre);
  print(session.around.screen, output, report, reportLines);
  return report.ok ? exitCode.done : exitCode.failed;
}

export async function gatherChecks(
  { cluster, around, isNamespaceGiven }: Session,
  pre: boolean,
): Promise<Report> {
  const namespace = isNamespaceGiven ? cluster.namespace : usualNamespace;
  const now = Date.now();
  return reportOf(await (pre ? checkBefore(cluster, namespace) : checkAfter(cluster, around.version, now)));
}
