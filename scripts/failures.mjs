/**
 * Tell which tests failed, and with what words.
 *
 * usage: failures.mjs out/test-results.json
 */
import { readFileSync } from 'node:fs';

const { suites } = JSON.parse(readFileSync(process.argv[2], 'utf8'));
for (const { suite, failed, failures = [] } of suites) {
  if (failed > 0) console.log(`\n${suite}: ${failed} failed`);
  for (const { file, test, words } of failures) console.log(`\n✕ ${file}: ${test}\n${words}`);
}
