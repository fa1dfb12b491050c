/**
 * From crds/*.yaml to what is made of them: types and the values of enums (api), the schemas as directory mode checks them
 * with (kube-runtime), the chart's templates. The CRDs are the only source; whoever changes one runs this.
 *
 * usage: generate-crd-types.mjs [--check] [--help]
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import prettier from 'prettier';

const root = new URL('..', import.meta.url).pathname;
const folder = join(root, 'crds');
const templates = 'charts/serval/templates/crds';
const help = `usage: node scripts/generate-crd-types.mjs [--check]

  --check  write nothing: fail where the generated files are not what the CRDs say

Exit codes: 0 done, 1 stale (--check) or a schema that it does not understand, 2 wrong usage.`;

const head = '/** Made from crds/ by scripts/generate-crd-types.mjs. Do not edit. */\n';
/** What a schema of ours may have; anything else would get lost silently. */
const understood = new Set([
  ...[
    'type',
    'description',
    'required',
    'properties',
    'additionalProperties',
    'items',
    'enum',
    'default',
    'format',
  ],
  ...['pattern', 'minimum', 'maximum', 'minLength', 'maxLength', 'minItems', 'maxItems', 'maxProperties'],
  ...['x-kubernetes-validations', 'x-kubernetes-list-type', 'x-kubernetes-list-map-keys'],
  'x-kubernetes-int-or-string',
]);

function readCrd(file) {
  const { spec } = parse(readFileSync(join(folder, file), 'utf8'));
  const [version, ...others] = spec.versions;
  if (others.length > 0) throw new Error(`${file}: types are made of one version, and there are more`);
  const { spec: wanted, status } = version.schema.openAPIV3Schema.properties;
  const { kind, plural } = spec.names;
  const apiVersion = `${spec.group}/${version.name}`;
  return { kind, plural, apiVersion, namespaced: spec.scope === 'Namespaced', spec: wanted, status };
}

// --- types

const indent = (depth) => '  '.repeat(depth);
const comment = (text, depth) => (text === undefined ? '' : `${indent(depth)}/** ${text.trim()} */\n`);

function typeOf(schema, path, depth = 0) {
  const odd = Object.keys(schema).find((key) => !understood.has(key));
  if (odd !== undefined) throw new Error(`${path}: "${odd}" is not understood`);
  if (schema['x-kubernetes-int-or-string']) return 'number | string';
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(' | ');
  if (schema.type === 'array') return `Array<${typeOf(schema.items, `${path}[]`, depth)}>`;
  if (schema.type === 'object') return objectType(schema, path, depth);
  if (schema.type === 'integer') return 'number';
  if (['string', 'number', 'boolean'].includes(schema.type)) return schema.type;
  throw new Error(`${path}: type "${schema.type}" is not understood`);
}

function objectType({ properties, additionalProperties, required = [] }, path, depth) {
  if (additionalProperties !== undefined)
    return `Record<string, ${typeOf(additionalProperties, `${path}.*`, depth)}>`;
  const fields = Object.entries(properties).map(([name, schema]) => {
    const mark = required.includes(name) ? '' : '?';
    const type = typeOf(schema, `${path}.${name}`, depth + 1);
    return `${comment(schema.description, depth + 1)}${indent(depth + 1)}${name}${mark}: ${type};\n`;
  });
  return `{\n${fields.join('')}${indent(depth)}}`;
}

/** Lists of what may be chosen, by the field's name: commands and tests go through them. */
function enumsOf(schema, found = new Map()) {
  for (const [name, field] of Object.entries(schema.properties ?? {})) {
    if (field.enum) found.set(`${name}Values`, field.enum);
    enumsOf(field, found);
    if (field.items) enumsOf(field.items, found);
  }
  return found;
}

function types(crds) {
  const enums = new Map(crds.flatMap(({ spec }) => [...enumsOf(spec)]));
  return [
    head,
    ...[...enums].map(([name, values]) => `export const ${name} = ${JSON.stringify(values)} as const;\n`),
    ...crds.flatMap(({ kind, spec, status }) =>
      [
        ['Spec', spec],
        ['Status', status],
      ].map(
        ([part, schema]) =>
          `\n${comment(schema.description, 0)}export interface ${kind}${part} ${typeOf(schema, `${kind}.${part}`)}\n`,
      ),
    ),
  ].join('');
}

// --- schemas

/** As JSON schema has it; words for people and what only the API server evaluates are left out. */
function jsonSchema(schema) {
  const result = {};
  for (const [key, value] of Object.entries(schema)) {
    if (key === 'properties') result.properties = mapValues(value, jsonSchema);
    else if (key === 'items' || key === 'additionalProperties') result[key] = jsonSchema(value);
    else if (key === 'x-kubernetes-int-or-string') result.type = ['integer', 'string'];
    else if (!['description', 'default', 'format'].includes(key) && !key.startsWith('x-'))
      result[key] = value;
  }
  if (result.properties)
    Object.assign(result, { additionalProperties: false, required: schema.required ?? [] });
  return result;
}

const mapValues = (object, change) =>
  Object.fromEntries(Object.entries(object).map(([key, value]) => [key, change(value)]));

function schemas(crds) {
  const entries = crds.map(({ kind, plural, apiVersion, namespaced, spec, status }) => [
    kind,
    { plural, apiVersion, namespaced, spec: jsonSchema(spec), status: jsonSchema(status) },
  ]);
  return `${head}\nexport const crds = ${JSON.stringify(Object.fromEntries(entries))} as const;\n`;
}

// --- the chart

/** A template that is the CRD as it stands, but for braces that are Helm's, and for what keeps it when the release goes. */
function template(file) {
  const text = readFileSync(join(folder, file), 'utf8').replaceAll('{{', '{{ "{{" }}');
  const kept = text.replace(
    /^metadata:\n {2}name: .*\n/m,
    (lines) =>
      `${lines}  annotations:\n    helm.sh/resource-policy: keep\n  labels: {{- include "serval.labels" . | nindent 4 }}\n`,
  );
  return `{{- /* Made from crds/${file} by scripts/generate-crd-types.mjs. Do not edit. */ -}}\n{{- if .Values.crds.install }}\n${kept}{{- end }}\n`;
}

// --- files

async function formatted(file, text) {
  return prettier.format(text, { ...(await prettier.resolveConfig(join(root, file))), parser: 'typescript' });
}

async function main([option, ...more]) {
  if (option === '--help') return console.log(help);
  if (more.length > 0 || (option !== undefined && option !== '--check')) {
    console.error(`generate-crd-types: it does not know "${[option, ...more].join(' ')}"\n\n${help}`);
    process.exit(2);
  }
  const files = readdirSync(folder)
    .filter((file) => file.endsWith('.yaml'))
    .sort();
  const crds = files.map(readCrd);
  const made = [
    ['api/src/crds.generated.ts', await formatted('api/src/crds.generated.ts', types(crds))],
    [
      'kube-runtime/src/crds.generated.ts',
      await formatted('kube-runtime/src/crds.generated.ts', schemas(crds)),
    ],
    ...files.map((file) => [`${templates}/${file}`, template(file)]),
  ];
  for (const [file, wanted] of made) {
    const path = join(root, file);
    if (option !== '--check') writeFileSync(path, wanted);
    else if (!existsSync(path) || readFileSync(path, 'utf8') !== wanted)
      throw new Error(
        `${file} is not what crds/ says. Run node scripts/generate-crd-types.mjs and commit it.`,
      );
  }
}

await main(process.argv.slice(2)).catch((error) => {
  console.error(`generate-crd-types: ${error.message}`);
  process.exit(1);
});
