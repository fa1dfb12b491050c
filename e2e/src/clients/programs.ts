/** The programs of others that the clients and servers are, as the distribution has them. */
import { existsSync } from 'node:fs';
import { ServalError } from '@serval/api';

/** For the tests: it brings what the demo needs as well. */
const bootstrap = 'Run: node scripts/bootstrap.mjs --for test';

const places = {
  curl: '/usr/bin/curl',
  dig: '/usr/bin/dig',
  dnsmasq: '/usr/sbin/dnsmasq',
  java: '/usr/bin/java',
  nginx: '/usr/sbin/nginx',
  psql: '/usr/bin/psql',
  'redis-cli': '/usr/bin/redis-cli',
  'redis-server': '/usr/bin/redis-server',
};

/**
 * Absolute path of a program.
 * @throws ServalError ERR_UNSUPPORTED when it is not installed
 */
export function installed(name: keyof typeof places): string {
  return present(places[name]);
}

/** Our own Go program, static: see go/main.go for what it can do. */
export function whoProgram(): string {
  return present(new URL('../../build/who', import.meta.url).pathname);
}

/** The folder of our own Java program's classes. */
export function javaClasses(): string {
  return present(new URL('../../build/java', import.meta.url).pathname);
}

/** @throws ServalError ERR_UNSUPPORTED when there is no such file */
export function present(path: string): string {
  if (existsSync(path)) return path;
  throw new ServalError('ERR_UNSUPPORTED', {
    subject: path,
    reason: 'it is not there',
    remedy: bootstrap,
  });
}

/** Nothing of what the tests themselves run in: proxies, locales and defaults of a user's own would change what a program does. */
export const environment = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', HOME: '/', LANG: 'C.UTF-8' };
