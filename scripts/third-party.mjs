/** Which packages of others are in a bundle, and the licences that they come under. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Unable } from './commands.mjs';

const rule = '='.repeat(100);
const isLicence = (name) => /^((un)?licen[cs]e|copying|notice)/i.test(name);

/**
 * @param root what the metafile's paths begin at
 * @param metafile esbuild's, which tells how much of each file is in the bundle
 * @returns {string} a section for each package, by name
 * @throws Unable where a package has no licence
 */
export function thirdParty(root, metafile) {
  const bundled = Object.values(metafile.outputs).flatMap(({ inputs }) =>
    Object.entries(inputs).flatMap(([path, { bytesInOutput }]) => (bytesInOutput > 0 ? [path] : [])),
  );
  const folders = new Set(bundled.filter((path) => path.includes('node_modules/')).map(packageFolder(root)));
  const sections = [...folders].map((folder) => section(folder)).sort();
  const head = `${sections.length} packages of others are part of this program. Their names, and their licences:\n`;
  return [head, ...sections].join(`\n${rule}\n`);
}

/** The nearest folder whose package.json has a name: some packages have more of these inside. */
const packageFolder = (root) => (path) => {
  for (let folder = dirname(join(root, path)); ; folder = dirname(folder)) {
    const file = join(folder, 'package.json');
    if (existsSync(file) && JSON.parse(readFileSync(file, 'utf8')).name !== undefined) return folder;
  }
};

function section(folder) {
  const { name, version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  const texts = readdirSync(folder)
    .filter(isLicence)
    .map((file) => readFileSync(join(folder, file), 'utf8').trim());
  if (typeof license !== 'string' || texts.length === 0)
    throw new Unable(
      `${name} ${version} has no licence in ${folder}. Ask its authors for one, or do without it: it can't be shipped.`,
    );
  return [`${name} ${version} (${license})`, ...texts].join('\n\n') + '\n';
}
