import { execFile } from 'node:child_process';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { ServalError } from '@serval/api';

/** Where everything that the guest needs and that does not change is kept between runs. */
export function cacheFolder(): string {
  return join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'serval');
}

/** What a program of the host printed; a program that fails or is absent is a ServalError with this remedy. */
export function output(program: string, args: string[], remedy: string, cwd?: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { cwd, env: { ...process.env, LC_ALL: 'C' }, maxBuffer: 64 << 20 };
    execFile(program, args, options, (failure, stdout, stderr) => {
      if (failure === null) {
        resolve(stdout);
        return;
      }
      reject(
        new ServalError('ERR_UNSUPPORTED', {
          subject: [program, ...args].join(' '),
          reason: stderr.trim().split('\n').slice(-3).join('; ') || failure.message,
          remedy,
          cause: failure,
          details: { exitCode: failure.code },
        }),
      );
    });
  });
}
