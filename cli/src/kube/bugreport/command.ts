/** The command `bugreport`. */
import { writeFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { ServalError } from '@serval/api';
import { exitCode, printLines } from '../../surroundings.js';
import type { Session } from '../session.js';
import { collect, contents } from './collect.js';
import { planPieces, type Bounds } from './pieces.js';
import { tarOf, type TarFile } from './tar.js';

export interface BugReportOptions extends Bounds {
  output?: string;
}

/** Where something could not be collected it is still written, and says so. */
export async function writeBugReport(session: Session, options: BugReportOptions): Promise<number> {
  const { screen } = session.around;
  const now = new Date();
  const stamp = now.toISOString().replaceAll(/[-:]|\.\d+/g, '');
  const file = options.output ?? `serval-bugreport-${stamp}.tar.gz`;
  // An unreachable server is told at once, not by thirty errors in an archive.
  await session.cluster.request({ path: '/version' });
  const { pieces, notes } = await planPieces(session, options);
  const collected = await collect(pieces);
  const { files, errors } = collected;
  const all: TarFile[] = [
    { name: 'README.txt', content: contents(pieces, collected, notes) },
    ...files,
    ...(errors.length === 0 ? [] : [{ name: 'errors.txt', content: `${errors.join('\n')}\n` }]),
  ];
  const folder = `serval-bugreport-${stamp}`;
  const archive = tarOf(
    all.map(({ name, content }) => ({ name: `${folder}/${name}`.slice(0, 100), content })),
    now.getTime() / 1_000,
  );
  write(file, gzipSync(archive));
  printLines(screen, [
    ...all.map(({ name, content }) => `${name}  ${Buffer.byteLength(content)} bytes`),
    ...errors.map((error) => `NOT COLLECTED  ${error}`),
    `${file}: ${all.length} files, ${errors.length} could not be collected. No Secrets were read and nothing was blacked out; ` +
      'README.txt in it says what there is. Look at it before you hand it on.',
  ]);
  return exitCode.done;
}

function write(file: string, content: Buffer): void {
  try {
    // Names and addresses of a cluster are nobody else's business.
    writeFileSync(file, content, { mode: 0o600 });
  } catch (cause) {
    throw new ServalError('ERR_NO_PERMISSION', {
      subject: file,
      reason: `it can not be written (${(cause as Error).message})`,
      remedy: 'Name another file with -o',
      cause,
    });
  }
}
